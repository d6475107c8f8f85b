// [recover] Salvage rebuilds a store whose superblocks are all damaged from what its records say. It is cut at every
// store, as by a kill, and by power cuts, which leave every word of what it stored in any version; whoever opens the
// file next salvages it again, or finds the superblock that counts, and finds the same: of a key that was cleared and
// set again, the last value and no other. The laboratory (lab/lab.hpp) says how, and how a failure is replayed.
#include <kvs/kvs.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

#include "../catch.hpp"
#include "../support/campaign.hpp"
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

}  // namespace

TEST_CASE("salvage cut at any store is done again: a damaged checksum", "[pair_salvage]") {
    Lab<kvs::Store<8, LabPlatform>> lab("8checksum", chosen_keys<8>(3, 1), salvages(word::checksum));
    salvage_all(lab);
}

// Written right, this word makes whole again what was there before, if nothing else of the new superblock lasts.
TEST_CASE("salvage cut at any store is done again: a damaged end", "[pair_salvage]") {
    Lab<kvs::Store<8, LabPlatform>> lab("8end", chosen_keys<8>(4, 3), salvages(word::durable_end));
    salvage_all(lab);
}
