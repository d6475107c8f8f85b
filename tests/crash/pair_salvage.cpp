// [recover] Salvage rebuilds a store whose superblocks are all damaged from what its records say. It is cut at every
// store, as by a kill, and by power cuts, which leave every word of what it stored in any version; whoever opens the
// file next salvages it again, or finds the superblock that counts, and finds the same: of a key that was cleared and
// set again, the last value and no other. The laboratory (lab/lab.hpp) says how, and how a failure is replayed.
#include <kvs/kvs.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/files.hpp"
#include "../support/recording_platform.hpp"
#include "../support/temp_dir.hpp"
#include "lab/lab.hpp"
#include "lab/workloads.hpp"

namespace {

using namespace kvs_test::lab;
using kvs_test::Campaign;
using kvs_test::lab::sync;  // not the one of unistd.h
namespace word = kvs::detail::pair_layout::superblock;

Effort salvages(unsigned damaged_word) {
    Effort effort;
    effort.damaged_byte = word::offset_of(damaged_word);
    effort.images_per_window = kvs_test::is_long() ? 400 : 150;
    effort.depth = kvs_test::is_long() ? 3 : 2;
    effort.nest_one_in = 50;
    effort.nested_images = 20;
    return effort;
}

/// What was cleared and not set again comes back: so everything is set again, some of it in another length, and nothing
/// is erased then, for the record that says so can become another key's.
Ops random_ops(Campaign& campaign, std::size_t keys) {
    Ops ops;
    bool has_cleared = false;
    for (std::size_t i = 1 + campaign.pick(20); i-- != 0;) {
        const Op op = random_op(campaign, keys);
        const bool erases = op.kind == Op::Kind::erase || op.kind == Op::Kind::batch;
        if (!has_cleared || !erases) ops.push_back(op);
        if (op.kind != Op::Kind::clear) continue;
        has_cleared = true;
        for (unsigned key = 0; key < keys; ++key) ops.push_back(set(key, static_cast<unsigned>(campaign.pick(4))));
    }
    return ops;
}

void salvage_all(Lab<kvs::Store<8, LabPlatform>>& lab) {
    try {
        const Ops both{set(0, 0), set(1, 1), clear, set(0, 1), set(1, 0)};
        const Ops twice{set(0, 0), set(1, 0), clear, set(0, 1), set(1, 0), clear, set(0, 2), set(1, 3)};
        lab.all_of("empty", lab.prepare({}), {});
        lab.all_of("plain", lab.prepare({set(0, 0), set(1, 1), sync, erase(1), set(2, 0), set(0, 1)}), {});
        lab.all_of("both", lab.prepare(both), {});
        lab.all_of("twice", lab.prepare(twice), {});
        lab.all_of("twice", lab.prepare(twice), {set(0, 0), sync, erase(0), clear, set(1, 1)});
        const std::uint64_t count = kvs_test::rounds(10, 300);
        for (std::uint64_t i = 0; i < count; ++i) {
            Campaign campaign(5000 + i);
            lab.all_of("random" + std::to_string(i), lab.prepare(random_ops(campaign, lab.key_count())), {});
        }
    } catch (const Abort&) {
        // Five failures are kept in the laboratory.
    }
    lab.print("salvage");
    INFO((lab.failures.empty() ? std::string() : lab.failures.front()));
    CHECK(lab.failures.empty());
    CHECK(lab.figures.kills > 1000);
    CHECK(lab.figures.power.back() > 1000);
}

void damage_superblocks(std::string& file) {
    namespace pair_layout = kvs::detail::pair_layout;
    for (unsigned page = 0; page < pair_layout::superblock_copies * pair_layout::superblock_twins; ++page)
        file.at(pair_layout::superblock_page(page) + word::offset_of(word::durable_end)) ^= 1;
}

/// Makes one file of the other, as a process does that dies without a flush.
void change_unflushed(const std::string& path, const std::string& from, const std::string& to) {
    using Platform = kvs_test::RecordingPlatform;
    Platform::File file{};
    REQUIRE(Platform::open(path.c_str(), Platform::Access::write, Platform::Creation::never, 0, file) == 0);
    REQUIRE(Platform::resize(file, to.size()) == 0);
    for (std::size_t at = 0, done = 0; at < to.size(); at += 8)
        if (from.compare(at < from.size() ? at : from.size(), 8, to, at, 8) != 0)
            REQUIRE(Platform::write(file, to.data() + at, to.size() - at < 8 ? to.size() - at : 8, at, done) == 0);
    Platform::close(file);
}

}  // namespace

// A process that dies leaves a newer value in memory that is not on the device, and salvage deletes the older one.
TEST_CASE("salvage deletes an older value when the newer one is on the device", "[pair_salvage]") {
    kvs_test::TempDir dir;
    const std::string path = dir.file(), left = dir.file("left");
    const kvs::Options manual{.sync = kvs::sync_manual};
    std::string durable, in_memory;
    {
        kvs::Store<8> store(path, manual);
        store.set("k", 1);
        store.sync();
        durable = kvs_test::contents_of(path);
        store.clear();
        store.set("k", "another length");
        in_memory = kvs_test::contents_of(path);
    }
    damage_superblocks(durable);
    damage_superblocks(in_memory);
    kvs_test::write_file(path, durable);
    kvs::Options salvaging = manual;
    salvaging.salvage = true;

    kvs_test::Recording recording;
    change_unflushed(path, durable, in_memory);
    const std::size_t opened = recording.log.size();
    CHECK(kvs::Store<8, kvs_test::RecordingPlatform>(path, salvaging).get<std::string>("k") == "another length");
    recording.stop();
    CHECK(recording.log.violations.empty());

    Campaign campaign(31261);
    INFO(campaign.replay());
    std::size_t windows = 0, older = 0, newer = 0;
    for (std::size_t n = opened; n < recording.log.size(); ++n) {
        if (recording.log.events[n].kind != kvs_test::Event::Kind::flush_end) continue;
        ++windows;
        const kvs_test::Mixture mixture = recording.log.mixture_after(n, 8);
        for (std::uint64_t i = 0; i < kvs_test::rounds(150, 5000); ++i) {
            const auto pick = [&](std::uint64_t, std::size_t versions) { return campaign.pick(versions); };
            kvs_test::write_file(left, mixture.image(mixture.largest, pick));
            std::error_code error;
            const kvs::Store<8> store(left, salvaging);
            const std::optional<kvs::Value> value = store.value("k", error);
            INFO("window " << windows << ", image " << i);
            REQUIRE((value || error));
            if (!value) continue;
            if (value->type() == kvs::Type::i32) ++older;
            if (value->type() == kvs::Type::ascii) ++newer;
            REQUIRE((value == kvs::Value(1) || value == kvs::Value("another length")));
        }
    }
    CHECK(windows >= 4);
    CHECK(older > 0);
    CHECK(newer > 0);
}

TEST_CASE("salvage cut at any store is done again: a damaged checksum", "[pair_salvage]") {
    Lab<kvs::Store<8, LabPlatform>> lab("8checksum", chosen_keys<8>(3, 1), salvages(word::checksum));
    salvage_all(lab);
}

// Written right, this word makes whole again what was there before, if nothing else of the new superblock lasts.
TEST_CASE("salvage cut at any store is done again: a damaged end", "[pair_salvage]") {
    Lab<kvs::Store<8, LabPlatform>> lab("8end", chosen_keys<8>(4, 3), salvages(word::durable_end));
    salvage_all(lab);
}
