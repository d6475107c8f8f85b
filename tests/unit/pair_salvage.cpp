// [salvage] Stores all of whose superblocks are damaged. That salvage can be cut short anywhere shows
// crash/pair_salvage.cpp.
#include <kvs/detail/pair_layout.hpp>
#include <kvs/kvs.hpp>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "../catch.hpp"
#include "../support/expect_error.hpp"
#include "../support/files.hpp"
#include "../support/machine.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::change_file;
using kvs_test::contents_of;
using kvs_test::die_after;
using kvs_test::expect_error;
using kvs_test::flip;
using kvs_test::Machine;
using kvs_test::TempDir;
using kvs_test::write_file;
namespace pair_layout = kvs::detail::pair_layout;

using Store = kvs::Store<16, Machine>;
const kvs::Options manual{.sync = kvs::sync_manual};

void lose_superblocks(const std::string& path) {
    for (unsigned page = 0; page < 4; ++page) flip(path, pair_layout::superblock_page(page) + 40);
}
kvs::Options salvaging() {
    kvs::Options options = manual;
    options.salvage = true;
    return options;
}
std::uint64_t index_slot_of(const char* key, unsigned length) {
    return kvs::detail::layout::slot_offset(kvs::detail::Geometry().bucket(kvs::Key<16>(key).hash(), length));
}

}  // namespace

// What `clear` had made void came back with its superblock, also of keys that had been set again: they had two records
// or more, iteration yielded each, and an answer was of whichever was met first. Found by fuzzing.
TEST_CASE("salvage: of a key that was cleared and set again only the last value is back",
          "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store store(path, manual);
        store.set("k", 1);
        store.set("cleared", 5);
        store.clear();
        store.set("k", std::int64_t{2});
        store.clear();
        store.set("k", "the last one");
    }
    lose_superblocks(path);
    kvs::Options options = salvaging();
    const auto look = [&](const Store& store) {
        CHECK(store.get<std::string>("k") == "the last one");
        CHECK(store.type("k") == kvs::Type::ascii);
        CHECK(store.get<int>("cleared") == 5);
        CHECK(store.size() == 2);
        CHECK(std::distance(store.begin(), store.end()) == 2);
        CHECK(store.verify().ok());
    };
    {
        const std::string broken = contents_of(path);
        options.mode = kvs::Mode::read_only;
        look(Store(path, options));
        CHECK(contents_of(path) == broken);
    }
    options.mode = kvs::Mode::open_existing;
    look(Store(path, options));
    look(Store(path, manual));
}

// The older value was kept where the newer one had a damaged slot beside it, or where the chain of a third length could
// not be followed, before that of the newer value was.
TEST_CASE("salvage: the last value of a key is the only one that is back, whatever else of it is damaged",
          "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store store(path, manual);
        store.set("k", 1);
        store.set("another", true);
        store.clear();
        store.set("k", "the last one");
    }
    const std::string file = contents_of(path);
    const std::uint64_t record = file.rfind("k", file.find("the last one"));
    const unsigned length = static_cast<unsigned char>(file.at(record + Store::key_length)) & 0x1f;
    SECTION("its other slot") { flip(path, record + pair_layout::slot_offset(Store::key_length, length, 1)); }
    SECTION("the chain of a length that it never had") { flip(path, index_slot_of("k", 0)); }
    lose_superblocks(path);
    const auto is_last = [](const Store& store) {
        CHECK(store.get<std::string>("k") == "the last one");
        CHECK(store.type("k") == kvs::Type::ascii);
        std::error_code error;
        std::size_t values = 0;
        for (auto it = store.begin(error); it != store.end(); it.increment(error))
            if (!error && it->key() == "k") ++values;
        CHECK(values == 1);
    };
    is_last(Store(path, salvaging()));
    Store store(path, manual);
    is_last(store);
    (void)store.repair();
    is_last(store);
}

// A deletion bears the place of its record, and no key. Where it was taken for one of the key that the record bears
// now, salvage deleted the value that was there all the time.
TEST_CASE("salvage: a deletion in a record that was another key's takes nothing away", "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file(), before = dir.path() / "before";
    const char* const first = "k";
    std::string second;  // whose value of 8 bytes would lie in the same chain
    for (int i = 0; second.empty(); ++i)
        if (const std::string key = std::to_string(i); index_slot_of(key.c_str(), 3) == index_slot_of(first, 3))
            second = key;
    {
        Store store(path, manual);
        store.set(second, 1);
        store.set(first, std::int64_t{1});
        store.sync();
        store.erase(first);
        store.sync();
    }
    {
        // The power fails where this is half on the device: the record is the other key's, and its value is not.
        Store store(path, manual);
        const std::string old = contents_of(path);
        store.set(second, std::int64_t{2});
        const std::string now = contents_of(path);
        const std::uint64_t record = old.find(std::string(first) + '\0', pair_layout::records_offset);
        REQUIRE(now.compare(record, second.size(), second) == 0);
        std::string mixed = old;
        mixed.replace(record, Store::key_length, now, record, Store::key_length);
        write_file(before, mixed);
    }
    CHECK(Store(before, manual).get<int>(second) == 1);
    lose_superblocks(before);
    CHECK(Store(before, salvaging()).get<int>(second) == 1);
}

// A process killed in the middle of a change of length leaves both values in one epoch, and salvage has no journal.
TEST_CASE("salvage: of two values of one epoch one is back", "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file(), half = dir.path() / "half";
    {
        Store store(path, manual);
        store.set("another", true);
        store.sync();
        store.set("k", 1);
        const std::string first = contents_of(path);
        store.set("k", "a text");
        std::string mixed = contents_of(path);
        const std::uint64_t record = first.find(std::string("k") + '\0', pair_layout::records_offset);
        const std::uint64_t bytes = pair_layout::record_bytes(Store::key_length, 2);
        REQUIRE(mixed.compare(record, bytes, first, record, bytes) != 0);
        mixed.replace(record, bytes, first, record, bytes);
        write_file(half, mixed);
    }
    lose_superblocks(half);
    const auto look = [](const Store& store) {
        CHECK(store.get<std::string>("k") == "a text");
        CHECK(std::distance(store.begin(), store.end()) == 2);
        CHECK(store.size() == 2);
        CHECK(store.verify().ok());
    };
    Machine::boot = 2;
    {
        Store store(half, salvaging());
        CHECK(store.repair().ok());
        look(store);
    }
    die_after<Store>(half, [](Store&) {});
    Machine::boot = 3;
    look(Store(half, manual));
}

// The newest slot of a file, damaged, was taken for one that was never synced: salvage emptied it and said nothing.
TEST_CASE("salvage: a damaged newest value is damage", "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store store(path, manual);
        store.set("k", "the older one");
        store.sync();
        store.set("k", "the newer one");
    }
    flip(path, contents_of(path).find("the newer one"));
    lose_superblocks(path);
    Store store(path, salvaging());
    CHECK(store.recovery().damaged_records == 1);
    CHECK(store.get<std::string>("k") == "the older one");
    CHECK_FALSE(store.verify().ok());
}

/// A key that a test leads astray, and one that it leaves alone.
void make_two(const std::string& path) {
    Store store(path, manual);
    store.set("another", true);
    store.set("k", 1);
}
void expect_damaged(const Store& store) {
    CHECK(store.recovery().damaged_chains == 1);
    std::error_code error;
    CHECK_FALSE(store.get<int>("k", error));
    CHECK(error == kvs::errc::corrupt);
    CHECK_FALSE(store.verify().ok());
}

// With fewer records counted than there are, the next recovery took half an index slot for one that was torn, and the
// key was absent.
TEST_CASE("a key behind half an index slot is not absent, however often the power fails",
          "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    make_two(path);
    change_file(path, index_slot_of("k", 2), std::string(2, '\0'));
    const bool is_lost = GENERATE(true, false);
    if (is_lost) lose_superblocks(path);
    for (int cut = 0; cut < 3; ++cut) {
        INFO((is_lost ? "salvaged, " : "") << "cut " << cut);
        ++Machine::boot;
        if (cut != 0 || !is_lost) {
            die_after<Store>(path, [](Store& store) { store.set("another", false); });
            ++Machine::boot;
        }
        Store store(path, salvaging());
        CHECK(store.recovery().lost_records == 1);
        expect_damaged(store);
    }
}

// It was taken for one that was stored after the last sync, by salvage or by the recovery after it.
TEST_CASE("salvage: a link that leads behind all that was reached is damage, and stays that",
          "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    make_two(path);
    flip(path, index_slot_of("k", 2), 6);
    lose_superblocks(path);
    for (int cut = 0; cut < 3; ++cut) {
        INFO("cut " << cut);
        {
            Store store(path, salvaging());
            CHECK(store.recovery().salvaged == (cut == 0));
            expect_damaged(store);
        }
        die_after<Store>(path, [](Store& dying) { dying.set("another", false); });
        ++Machine::boot;
    }
}

// With what is missing of the record, it was there again when the file had grown, across records of then.
TEST_CASE("salvage: a record that the end of the file cuts is made whole", "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store store(path, manual);
        store.set("first", std::string(1000, 'f'));
        store.set("last", std::string(1000, 'l'));
    }
    const std::uint64_t value = contents_of(path).find(std::string(1000, 'l'));
    std::filesystem::resize_file(path, value + 1200);  // within its second slot
    lose_superblocks(path);
    const auto expect = [](const Store& store) {
        CHECK(store.get<std::string>("first") == std::string(1000, 'f'));
        CHECK(store.get<std::string>("last") == std::string(1000, 'l'));
        for (int i = 0; i < 100; ++i) CHECK(store.get<int>(std::to_string(i)) == i);
        CHECK(store.verify().ok());
    };
    {
        Store store(path, salvaging());
        for (int i = 0; i < 100; ++i) store.set(std::to_string(i), i);
        store.set("last", std::string(1000, 'x'));
        store.sync();
        store.set("last", std::string(1000, 'l'));
        (void)store.repair();
        expect(store);
    }
    expect(Store(path, manual));
}

// Recovery took a damaged slot two epochs above D for one that was being written when D had reached the one between.
TEST_CASE("salvage: a damaged newest value stays damage, also where epochs were skipped",
          "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store store(path, manual);
        store.set("another", 1);
        store.set("k", "the older one");
        store.sync();
        for (int i = 0; i < 3; ++i) (void)store.repair();
        store.set("k", "the newer one");
    }
    flip(path, contents_of(path).find("the newer one"));
    lose_superblocks(path);
    for (int cut = 0; cut < 12; ++cut) {
        INFO("cut " << cut);
        {
            Store store(path, salvaging());
            CHECK(store.recovery().damaged_records == 1);
            CHECK_FALSE(store.verify().ok());
        }
        die_after<Store>(path, [&](Store& dying) {
            dying.set("another", cut);
            dying.sync();
        });
        ++Machine::boot;
    }
}

// Salvage by a store of another checksum found no whole slot, and left a store without values that the right one
// refused.
TEST_CASE("salvage: a file of other policies is refused by name, and left alone", "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    Store(path, manual).set("k", 1);
    lose_superblocks(path);
    const std::string broken = contents_of(path);
    expect_error(kvs::errc::policy_mismatch, {path, "kvs::Xxh3", "kvs::Crc32c"}, [&] {
        kvs::Store<16, kvs::Xxh3, Machine>{path, salvaging()};
    });
    expect_error(kvs::errc::key_length_mismatch, {path, "17 bytes", "16 bytes"}, [&] {
        kvs::Store<17, Machine>{path, salvaging()};
    });
    CHECK(contents_of(path) == broken);
    flip(path, kvs::detail::layout::weights_offset);
    const std::string worse = contents_of(path);
    expect_error(kvs::errc::corrupt, {path}, [&] { Store{path, salvaging()}; });
    CHECK(contents_of(path) == worse);
    flip(path, kvs::detail::layout::weights_offset);
    CHECK(Store(path, salvaging()).get<int>("k") == 1);
}

// Without its magic, a file was taken for one of the seed format, and not salvaged.
TEST_CASE("salvage: of superblocks nothing need be left", "[pairs][damage][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store store(path, manual);
        store.set("k", 1);
        store.set("erased", "text");
        store.erase("erased");
    }
    for (unsigned page = 0; page < 4; ++page)
        change_file(path, pair_layout::superblock_page(page), std::string(pair_layout::page_bytes, '\0'));
    const std::string broken = contents_of(path);
    expect_error(kvs::errc::corrupt, {path, "Options::salvage"}, [&] { Store{path, manual}; });
    expect_error(kvs::errc::policy_mismatch, {path}, [&] { kvs::Store<16, kvs::Xxh3, Machine>{path, salvaging()}; });
    CHECK(contents_of(path) == broken);
    const auto look = [](const Store& store) {
        CHECK(store.get<int>("k") == 1);
        CHECK(store.size() == 1);
    };
    {
        const Store store(path, salvaging());
        CHECK(store.recovery().salvaged);
        look(store);
    }
    look(Store(path, manual));
}

/// Counts, at each flush, the pages of the file that were stored to.
struct Watched : Machine {
    static inline const std::byte* base = nullptr;
    static inline std::set<std::uint64_t> pages;
    static inline std::vector<std::size_t> flushed;
    static int map(File file, std::size_t bytes, Access access, std::byte*& at) noexcept {
        const int error = Machine::map(file, bytes, access, at);
        base = at;
        return error;
    }
    static void on_store(const std::byte* at, std::size_t) noexcept {
        pages.insert(static_cast<std::uint64_t>(at - base) / pair_layout::page_bytes);
    }
    static int flush(File file) noexcept {
        flushed.push_back(pages.size());
        return Machine::flush(file);
    }
};

// The device may lack pages that the kernel calls clean since a flush failed. Salvage vouched for them.
TEST_CASE("salvage: after a failed flush all pages are stored to before anything relies on them",
          "[pairs][damage][failed][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    { Store(path, manual).set("k", std::string(20'000, 'x')); }
    die_after<Store>(path, [](Store& store) {
        std::error_code error;
        store.set("k", "another value");
        Machine::flush_error = EIO;
        store.sync(error);
    });
    lose_superblocks(path);
    const std::size_t pages = std::filesystem::file_size(path) / pair_layout::page_bytes;
    const kvs::Store<16, Watched> store(path, salvaging());
    CHECK(store.get<std::string>("k") == "another value");
    REQUIRE(Watched::flushed.size() > 1);
    CHECK(Watched::flushed.front() >= pages);
}
