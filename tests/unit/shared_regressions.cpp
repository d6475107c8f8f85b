// Mistakes of the shared store that were found, each with its story.
#include <kvs/kvs.hpp>

#include <unistd.h>

#include <atomic>
#include <fstream>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::expect_error;
using kvs_test::TempDir;
const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};

std::string contents_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    return bytes.str();
}

}  // namespace

// `NoMappedVersionTable` has functions named as those of its base, which were hidden: the function template was never
// instantiated with `Unshared`.
TEST_CASE("read_modify_write works in a store of one thread", "[shared][regression]") {
    TempDir dir;
    kvs::Store<16, kvs::Unshared> s(dir.file(), manual);
    for (int i = 1; i <= 3; ++i)
        CHECK(s.read_modify_write("n", [](std::optional<int> n) { return n.value_or(0) + 1; }) == i);
}

// The documentation says so, but what the function had returned went with the error.
TEST_CASE("read_modify_write returns a value-initialised value with an error", "[shared][regression]") {
    TempDir dir;
    kvs::Store<16> s(dir.file(), manual);
    std::error_code error;
    CHECK(s.read_modify_write(
              "t", [](std::optional<std::string>) { return std::string(70'000, 't'); }, error) == "");
    CHECK(error == kvs::make_error_code(kvs::errc::value_too_long));
    CHECK(!s.contains("t"));
}

// The copy held what the file still had, under a superblock that promised the rest, and took the place of a good one.
TEST_CASE("a copy of a file that was cut short while it was open is not made", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file(), copy = dir.file("copy");
    kvs::Store<16> s(path, manual);
    for (int i = 0; i < 300; ++i) s.set(std::to_string(i), i);
    s.copy_to(copy);
    const std::string before = contents_of(copy);
    REQUIRE(::truncate(path.c_str(), 385'024) == 0);
    expect_error(kvs::errc::io_error, {"cut the file short"}, [&] { s.copy_to(copy); });
    CHECK(contents_of(copy) == before);
}

// A view that cannot be made anew was tried again and again, and the function with it: `view` hung while another
// program had the file for itself.
TEST_CASE("view of a read-only handle fails while a store of SharedThreads has the file", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    kvs::Store<16>(path, manual).set("k", 1);
    const kvs::Store<16> reader(path, reading);
    const auto look = [&] { return reader.view([](const auto& s) { return s.template get<int>("k"); }); };
    CHECK(look() == 1);
    {
        const kvs::Store<16, kvs::SharedThreads> alone(path, manual);
        expect_error(kvs::errc::in_use, {path}, look);
        expect_error(kvs::errc::in_use, {path}, [&] { reader.view([](const auto&) { return 0; }); });
    }
    CHECK(look() == 1);
}

// The end of a watch waits for a callback that is running. In the child of a fork that callback runs in the parent
// only, and the child waited for ever.
TEST_CASE("a watch whose callback runs while its process forks ends in the child", "[shared][regression][fork]") {
    TempDir dir;
    kvs::Store<16> s(dir.file(), manual);
    std::atomic<bool> is_running{false}, may_end{false};
    kvs::Watch one = s.watch("k", [&](const kvs::Change&) {
        is_running = true;
        while (!may_end) std::this_thread::yield();
    });
    kvs::Watch all = s.watch_all([](const kvs::Change&) {});
    s.set("k", 1);
    while (!is_running) std::this_thread::yield();
    CHECK(kvs_test::in_child([&] {
              one.stop();
              const kvs::Store<16> gone(std::move(s));
              return std::string();
          }) == "");
    may_end = true;
    one.stop();
    CHECK(s.get<int>("k") == 1);
}

// A read-only handle looks at a file at rest through a mapping of its own, in which the pages that it wrote stay as
// they were. When somebody opens the file for writing, its next read mixes those with newer ones: it sees epochs that
// lie ahead, takes them for damage, notices that its view is over and reads again. The value was right, but the damage
// had been reported already. Found by crash/shared_storm.cpp.
TEST_CASE("what a read-only handle sees in a view that is over is not reported as damage", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    const auto change = [&](int value) {
        kvs::Store<8> writer(path, {.sync = kvs::sync_manual});
        writer.set("key", value - 1);
        writer.sync();
        writer.set("key", value);  // into the other slot, with an epoch that the reader's view does not know
    };
    change(2);
    int reports = 0;
    const kvs::Store<8> reader(path,
                               {.mode = kvs::Mode::read_only, .on_damage = [&](const kvs::Damage&) { ++reports; }});
    CHECK(reader.get<int>("key") == 2);
    change(4);
    CHECK(reader.value("key") == kvs::Value(4));
    CHECK(reports == 0);
}
