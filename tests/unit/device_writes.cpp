// What the device has to write is what was stored, and not more because of how the file was used before.
#include <kvs/kvs.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "../catch.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::TempDir;

struct Machine : kvs::detail::NativePlatform {
    static inline int questions = 0;
    static inline std::size_t longest_write = 0;

    static int status(File file, FileStatus& status) noexcept {
        ++questions;
        return kvs::detail::NativePlatform::status(file, status);
    }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        longest_write = std::max(longest_write, bytes);
        return kvs::detail::NativePlatform::write(file, from, bytes, offset, done);
    }
};
const kvs::Options each{.sync = kvs::sync_each};

}  // namespace

// Linux gives a file finer times at its next change if somebody asked for them, and writes them with the next flush:
// one page more for each sync, and 180 us in place of 110.
TEMPLATE_TEST_CASE("a sync does not ask for the times of the file", "[device]", (kvs::Store<16, Machine>),
                   (kvs::Store<16, kvs::NoBackup, kvs::SharedThreads, kvs::ChainIndex, Machine>)) {
    TempDir dir;
    TestType store(dir.file(), each);
    store.set("k", 0);
    Machine::questions = 0;
    for (int i = 1; i < 5; ++i) store.set("k", i);
    store.set("new", 1);
    store.sync();
    CHECK(Machine::questions == 0);
}

// What was written in one piece can lie in the system's cache in one piece, and is written anew as a whole when a byte
// of it changes through a mapping: of a copy of 1 MB, each sync of a number wrote 400 KB.
TEMPLATE_TEST_CASE("copies are written page by page", "[device]", (kvs::Store<16, Machine>),
                   (kvs::Store<16, kvs::NoBackup, kvs::SharedThreads, kvs::ChainIndex, Machine>)) {
    TempDir dir;
    TestType store(dir.file(), {.sync = kvs::sync_manual});
    for (int i = 0; i < 1000; ++i) store.set("key" + std::to_string(i), i);
    Machine::longest_write = 0;
    store.copy_to(dir.file("copy"));
    store.compact_to(dir.file("compact"));
    CHECK(Machine::longest_write == 4096);
    CHECK(TestType(dir.file("copy"), each).size() == 1000);
    CHECK(TestType(dir.file("compact"), each).size() == 1000);
}
