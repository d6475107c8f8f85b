// [one-flush] Which writes one flush makes durable, what the superblock says of them, and what is made of a slot that
// is not what it says. What power cuts and deaths do is in crash/pair_power.cpp and crash/pair_kill.cpp.
#include <kvs/detail/pair_layout.hpp>
#include <kvs/kvs.hpp>

#include <cstdint>
#include <functional>
#include <string>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/files.hpp"
#include "../support/pair_walker.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::change_file;
using kvs_test::contents_of;
using kvs_test::expect_error;
using kvs_test::raw;
using kvs_test::TempDir;
using kvs_test::word_at;
using kvs_test::write_file;
namespace pair_layout = kvs::detail::pair_layout;
namespace superblock = pair_layout::superblock;
namespace shared = pair_layout::shared;
using Outcome = kvs::Recovery::Outcome;

/// Counts flushes.
struct Machine : kvs::detail::NativePlatform {
    static inline int flushes = 0;
    static int flush(File file) noexcept {
        ++flushes;
        return kvs::detail::NativePlatform::flush(file);
    }
};
using Store = kvs::Store<16, Machine>;
const kvs::Options each{.sync = kvs::sync_each};
const kvs::Options manual{.sync = kvs::sync_manual};

int flushes_of(const std::function<void()>& use) {
    const int before = Machine::flushes;
    use();
    return Machine::flushes - before;
}

std::string big_endian(std::uint64_t n) {
    std::string s(8, '\0');
    for (unsigned i = 0; i < 8; ++i) s[i] = static_cast<char>(n >> 8 * (7 - i));
    return s;
}
/// A word of a superblock in all four pages, under right checksums.
std::string forged(std::string file, unsigned field, std::uint64_t n) {
    for (unsigned page = 0; page < 4; ++page) {
        const std::uint64_t at = pair_layout::superblock_page(page);
        file.replace(at + 8 * field, 8, big_endian(n));
        file.replace(at + 8 * superblock::checksum, 8,
                     big_endian(kvs_test::PairWalker::crc32c(file.substr(at, 8 * superblock::checksum))));
    }
    return file;
}
std::string flipped(std::string file, std::uint64_t offset) {
    file.at(offset) = static_cast<char>(file.at(offset) ^ 4);
    return file;
}
/// Where the slot is whose value is this text, found once.
std::uint64_t slot_of(const std::string& file, const std::string& text) {
    const std::size_t at = file.find(text, pair_layout::records_offset);
    REQUIRE(at != std::string::npos);
    REQUIRE(file.find(text, at + 1) == std::string::npos);
    return at - pair_layout::slot_header_bytes;
}

}  // namespace

TEST_CASE("sync_each takes one flush for a value in place of a durable one, and two for all else", "[pairs][sync]") {
    TempDir dir;
    const std::string path = dir.file();
    Store store(path, each);
    store.set("a", 1);
    CHECK(flushes_of([&] { store.set("b", 1); }) == 2);  // a new record
    for (int i = 2; i < 5; ++i) {
        CHECK(flushes_of([&] { store.set("a", i); }) == 1);
        CHECK(flushes_of([&] { store.set("b", i); }) == 1);
        CHECK(flushes_of([&] { store.set(std::string("a"), i + 100); }) == 1);
    }
    CHECK(flushes_of([&] { store.set("a", 7u); }) == 1);                // another type of the same length
    CHECK(flushes_of([&] { store.set("a", std::uint64_t{1}); }) == 2);  // of another length
    CHECK(flushes_of([&] { store.set("a", std::uint64_t{2}); }) == 1);
    CHECK(flushes_of([&] { store.erase("b"); }) == 2);
    CHECK(flushes_of([&] { store.set("b", 1); }) == 2);  // its deleted record
    CHECK(flushes_of([&] { store.set("b", 2); }) == 1);
    CHECK(flushes_of([&] { store.batch([](auto& batch) { batch.set("b", 3); }); }) == 2);
    CHECK(flushes_of([&] { store.batch([](auto& batch) { batch.set("a", 3), batch.set("b", 4); }); }) == 2);
    CHECK(flushes_of([&] { store.clear(); }) >= 2);
    CHECK(flushes_of([&] { store.set("b", 1); }) == 2);  // a void one
    CHECK(flushes_of([&] { store.set("b", 2); }) == 1);
    CHECK(flushes_of([&] { store.sync(); }) == 0);
    CHECK(store.repair().ok());
    CHECK(flushes_of([&] { store.set("b", 3); }) == 1);
    CHECK(store.verify().ok());

    // What another handle changed counts too.
    Store another(path, each), unsynced(path, manual);
    CHECK(flushes_of([&] { another.set("b", 4); }) == 1);
    CHECK(flushes_of([&] { store.set("b", 5); }) == 1);
    unsynced.set("b", 6);
    CHECK(flushes_of([&] { store.set("b", 7); }) == 2);
    unsynced.set("b", 8);
    CHECK(flushes_of([&] { another.set("a", std::uint64_t{4}); }) == 2);
    CHECK(flushes_of([&] { another.set("a", std::uint64_t{5}); }) == 1);

    Store by_hand(dir.file("manual"), manual);
    by_hand.set("a", 1);
    by_hand.sync();
    by_hand.set("a", 2);
    CHECK(flushes_of([&] { by_hand.sync(); }) == 3);  // one of them before the lock
}

TEST_CASE("a slot that was synced alone counts only as the superblock says", "[pairs][damage]") {
    TempDir dir;
    const std::string older(100, 'o'), newer(100, 'n');
    std::string file;
    {
        Store store(dir.file("origin"), each);
        store.set("k", older);
        store.set("k", newer);
        file = contents_of(dir.file("origin"));
        store.copy_to(dir.file("copied"));
    }
    const std::string path = dir.file();
    const std::uint64_t slot = slot_of(file, newer);
    const auto expect = [&](const std::string& bytes, const std::string& value, std::uint64_t rolled_back) {
        write_file(path, bytes);  // another file than it was: as after a power cut
        const kvs_test::PairWalk walk = kvs_test::PairWalker(bytes).walk();
        CHECK(walk.problems == std::vector<std::string>());
        CHECK(walk.entries.at("k").value == value);
        {
            const Store store(path, {.mode = kvs::Mode::read_only});
            CHECK(store.recovery().outcome == Outcome::power_loss);
            CHECK(store.get<std::string>("k") == value);
            CHECK(store.recovery().rolled_back == rolled_back);
        }
        CHECK(contents_of(path) == bytes);
        {
            Store store(path, manual);
            CHECK(store.recovery().outcome == Outcome::power_loss);
            CHECK(store.recovery().rolled_back == rolled_back);
            CHECK_FALSE(store.recovery().damaged());
            CHECK(store.get<std::string>("k") == value);
            CHECK(store.verify().ok());
            // Recovery names nothing, whatever it found.
            CHECK(kvs_test::PairWalker(contents_of(path)).walk().lone_slot == 0);
            store.set("k", "x");
        }
        const Store store(path, manual);
        CHECK(store.get<std::string>("k") == "x");
        CHECK(store.verify().ok());
    };
    const kvs_test::PairWalk named = kvs_test::PairWalker(file).walk();
    REQUIRE(named.lone_slot == slot);
    expect(file, newer, 0);
    expect(flipped(file, slot + 16 + 50), older, 1);  // a word of the value is not there
    expect(flipped(file, slot + 8), older, 1);        // the checksum
    expect(flipped(file, slot + 15), older, 1);       // the byte count
    // A whole slot, but not the one that was synced: left by an earlier power cut.
    expect(forged(file, superblock::lone_content, named.lone_content ^ 1), older, 1);
    // The offset is compared and never followed.
    for (const std::uint64_t n : {std::uint64_t{1}, slot + 8, std::uint64_t{1} << 40, ~std::uint64_t{0}})
        expect(forged(file, superblock::lone_slot, n), newer, 0);

    SECTION("nothing is left if the other copy is damaged too, and that is told") {
        write_file(path, flipped(flipped(file, slot + 20), slot_of(file, older) + 20));
        Store store(path, manual);
        CHECK(store.recovery().damaged_records == 1);
        expect_error(kvs::errc::corrupt, {"k"}, [&] { (void)store.get<std::string>("k"); });
    }
    SECTION("a flipped header is damage, for no power cut tears it") {
        write_file(path, flipped(file, slot + 3));
        Store store(path, manual);
        CHECK(store.recovery().damaged_records == 1);
        CHECK(store.get<std::string>("k") == older);
    }
    SECTION("a file that was closed, and a copy, name nothing") {
        for (const char* name : {"origin", "copied"}) {
            const std::string closed = contents_of(dir.file(name));
            const kvs_test::PairWalk walk = kvs_test::PairWalker(closed).walk();
            CHECK(walk.clean);
            CHECK(walk.lone_slot == 0);
            CHECK(walk.entries.at("k").value == newer);
        }
    }
}

TEST_CASE("what a killed process says it changed alone is believed no further than a slot", "[pairs][sync]") {
    TempDir dir;
    const std::string path = dir.file();
    const std::string problem = kvs_test::in_child([&] {
        auto* store = new Store(path, each);  // never closed
        store->set("a", 1);
        store->set("b", 1);
        store->set("a", 2);
        return std::string();
    });
    REQUIRE(problem == "");
    const std::string file = contents_of(path);
    const std::uint64_t end = word_at(path, shared::live_end);
    for (const std::uint64_t pending : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{8}, shared::pending,
                                        pair_layout::records_offset, pair_layout::records_offset + 3, end - 16, end - 8,
                                        end, end + 8, std::uint64_t{1} << 32, ~std::uint64_t{7}, ~std::uint64_t{0}}) {
        INFO(pending);
        write_file(path, file);
        change_file(path, shared::pending, raw(pending));
        Store store(path, each);
        CHECK(store.recovery().outcome == Outcome::killed);
        CHECK(flushes_of([&] { store.sync(); }) == 2);
        CHECK(flushes_of([&] { store.set("b", 2); }) == 1);
        CHECK(store.get<int>("a") == 2);
        CHECK(store.verify().ok());
    }
}
