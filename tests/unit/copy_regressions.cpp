// Mistakes of copies that were found, each with its story.
#include <kvs/kvs.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/files.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::change_file;
using kvs_test::contents_of;
using kvs_test::expect_error;
using kvs_test::TempDir;
using Plain = kvs::Store<16>;
const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};

/// At each flush, how others find the copy locked that is being made.
struct LockWatch : kvs::detail::PosixPlatform {
    static inline std::filesystem::path directory;
    static inline std::vector<Lock> found;

    static int flush(File file) noexcept {
        for (const auto& entry : std::filesystem::directory_iterator(directory)) {
            if (entry.path().extension() != ".tmp") continue;
            File copy = file;
            auto lock = Lock::none;
            if (open(entry.path().c_str(), Access::read, Creation::never, 0, copy) != 0) continue;
            if (lock_of_others(copy, kvs::detail::layout::presence_lock, lock) == 0) found.push_back(lock);
            close(copy);
        }
        return PosixPlatform::flush(file);
    }
};

}  // namespace

// Whoever joined it would keep it from being closed cleanly, and could write to it.
TEST_CASE("nobody can join a copy that is being made", "[copy]") {
    using Watched = kvs::Store<16, LockWatch>;
    TempDir dir;
    LockWatch::directory = dir.path();
    LockWatch::found.clear();
    Watched store(dir.file(), manual);
    store.set("k", 1);
    store.compact_to(dir.path() / "copy");
    CHECK(LockWatch::found.size() >= 3);  // two of the creation, those of the last sync
    for (const LockWatch::Lock lock : LockWatch::found) CHECK(lock == LockWatch::Lock::exclusive);
    CHECK(Plain(dir.path() / "copy", manual).get<int>("k") == 1);
}

TEST_CASE("a read-only store is not copied over itself", "[copy][regression]") {
    // It holds no lock that the copy could have met. Writers that came later wrote to the copy, which it did not see.
    TempDir dir;
    const std::string path = dir.file(), link = dir.path() / "link";
    Plain(path, manual).set("k", 1);
    std::filesystem::create_hard_link(path, link);
    const Plain store(path, reading);
    for (const std::string& target : {path, link}) {
        expect_error(kvs::errc::in_use, {target}, [&] { store.copy_to(target); });
        expect_error(kvs::errc::in_use, {target}, [&] { store.compact_to(target); });
    }
    Plain(path, manual).set("k", 2);
    CHECK(store.get<int>("k") == 2);
}

TEST_CASE("compact_to tells which values it took from older copies", "[copy][damage][regression]") {
    // It made a sound copy of the older value, and nobody was told that there had been a newer one.
    TempDir dir;
    const std::string path = dir.file();
    {
        Plain store(path, manual);
        store.set("k", "the older value");
        store.sync();
        store.set("k", "the newer value");
    }
    change_file(path, contents_of(path).find("the newer value"), "#");
    std::string told;
    kvs::Options options = manual;
    options.on_damage = [&](const kvs::Damage& damage) { told += damage.key; };
    const Plain store(path, options);
    store.compact_to(dir.path() / "copy");
    CHECK(told == "k");
    CHECK(Plain(dir.path() / "copy", reading).get<std::string>("k") == "the older value");
}

TEST_CASE("a copy may have any name that a store may have", "[copy][regression]") {
    // The temporary name was longer than the final one by more than file systems allow.
    TempDir dir;
    const Plain store(dir.file(), manual);
    for (const std::size_t length : {199u, 200u, 201u, 230u, 255u}) {
        const std::string target = dir.path() / std::string(length, 'n');
        store.copy_to(target);
        CHECK_NOTHROW(Plain(target, manual));
        store.compact_to(target);
        CHECK_NOTHROW(Plain(target, manual));
    }
    const std::string too_long = dir.path() / std::string(256, 'n');
    expect_error(kvs::errc::io_error, {too_long}, [&] { store.copy_to(too_long); });
}

TEST_CASE("a copy that may not be written is replaced by the next one", "[copy][regression]") {
    // A copy has the permissions of its source, and the second copy of a store that may only be read was refused.
    TempDir dir;
    const std::string target = dir.path() / "target";
    Plain(dir.file(), manual).set("k", 1);
    REQUIRE(::chmod(dir.path().c_str(), 0777) == 0);
    REQUIRE(::chmod(dir.file().c_str(), 0444) == 0);
    const std::string problem = kvs_test::in_child([&]() -> std::string {
        if (::geteuid() == 0 && ::setuid(65534) != 0) return "cannot be another user";
        const Plain store(dir.file(), reading);
        std::error_code error;
        store.copy_to(target, error);
        if (error) return "the first: " + error.message();
        if (::access(target.c_str(), W_OK) == 0) return "the copy may be written";
        store.copy_to(target, error);
        if (error) return "the second: " + error.message();
        return {};
    });
    CHECK(problem == "");
    CHECK(Plain(target, reading).get<int>("k") == 1);
}

TEST_CASE("a copy of a seed store that was cut short says so", "[copy][regression]") {
    // "Bad address", as the system calls it to write from a mapping behind the end of its file.
    TempDir dir;
    kvs::SeedStore<16> store(dir.file(), manual);
    for (int i = 0; i < 1000; ++i) store.set("k" + std::to_string(i), i);
    REQUIRE(::truncate(dir.file().c_str(), 262154) == 0);
    expect_error(kvs::errc::io_error, {"cut the file short"}, [&] { store.copy_to(dir.path() / "copy"); });
}

// A store whose header was damaged was copied with it. Without a record the copy was no store: with its first bytes NUL
// it looked like one whose creation had not been finished. Found by the fuzz target.
TEST_CASE("a copy of a store whose header is damaged has a right one", "[copy][damage]") {
    for (const bool has_key : {false, true}) {
        TempDir dir;
        const std::string path = dir.file(), copy = dir.file("copy");
        kvs::Store<16> store(path, {.sync = kvs::sync_manual});
        if (has_key) store.set("k", 1);
        kvs_test::change_file(path, 0, std::string(8, '\0'));
        store.copy_to(copy);
        const kvs::Store<16> other(copy, {.mode = kvs::Mode::open_existing});
        CHECK_FALSE(other.recovery().damaged());
        CHECK(other.size() == (has_key ? 1 : 0));
        CHECK(other.verify().ok());
    }
}
