// Mistakes of watches that were found, each with its story. What watches promise is in shared_watch.cpp.
#include <kvs/kvs.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "../catch.hpp"
#include "../support/files.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::change_file;
using kvs_test::contents_of;
using kvs_test::TempDir;
using namespace std::chrono_literals;
using Store = kvs::Store<16>;
const kvs::Options manual{.sync = kvs::sync_manual};

/// What callbacks told, one line each.
class Told {
public:
    void add(const kvs::Change& change) {
        const auto text = [](const std::optional<kvs::Value>& value) {
            return value ? std::to_string(value->get<int>()) : std::string("-");
        };
        const std::lock_guard guard(mutex_);
        lines_.push_back(std::string(change.key) + " " + text(change.before) + ">" + text(change.after));
    }
    std::vector<std::string> lines() const {
        const std::lock_guard guard(mutex_);
        return lines_;
    }
    /// Waits for a line; all comes in the order of the changes but for keys that change together.
    bool waits_for(const std::string& line) const {
        for (int i = 0; i < 30'000; ++i) {
            for (const std::string& told : lines())
                if (told == line) return true;
            std::this_thread::sleep_for(1ms);
        }
        return false;
    }

private:
    mutable std::mutex mutex_;
    std::vector<std::string> lines_;
};

/// Keys that share the version counter of another one.
std::vector<std::string> neighbours_of(const std::string& key, std::size_t count) {
    const auto low = kvs::Key<16>(key).hash() & 255;
    std::vector<std::string> keys;
    for (int i = 0; keys.size() < count; ++i) {
        const std::string other = "k" + std::to_string(i);
        if ((kvs::Key<16>(other).hash() & 255) == low) keys.push_back(other);
    }
    return keys;
}

/// Changes a byte of the only value that begins so.
void damage(const std::string& path, const std::string& value) {
    const std::size_t at = contents_of(path).find(value);
    REQUIRE(at != std::string::npos);
    change_file(path, at, "#");
}

/// Stops a writer at a store of a counter, when the test says so.
struct Slow : kvs::detail::NativePlatform {
    enum Stage { fast, armed, stopped };
    static inline std::atomic<Stage> stage{fast};
    static void on_store(const std::byte*, std::size_t bytes) noexcept {
        Stage expected = armed;
        if (bytes != 4 || !stage.compare_exchange_strong(expected, stopped)) return;
        while (stage == stopped) std::this_thread::yield();
    }
};

}  // namespace

TEST_CASE("a watch of all keys that its callback ends is not called again", "[watch][threads][regression]") {
    // It was asked whether the watch is going on once for each look, and a look at a batch calls for every key of it.
    TempDir dir;
    Store store(dir.file(), manual);
    std::atomic<int> calls{0};
    kvs::Watch watch;
    Told told;
    const kvs::Watch last = store.watch("last", [&](const kvs::Change& change) { told.add(change); });
    watch = store.watch_all([&](const kvs::Change&) {
        ++calls;
        watch.stop();
    });
    store.batch([](auto& batch) {
        for (int i = 0; i < 1000; ++i) batch.set("k" + std::to_string(i), i);
    });
    store.set("last", 1);
    REQUIRE(told.waits_for("last ->1"));
    store.set("last", 2);
    REQUIRE(told.waits_for("last 1>2"));
    CHECK(calls == 1);
}

TEST_CASE("a damaged key keeps nothing of other keys from a watch of all", "[watch][threads][damage][regression]") {
    // No key was told of that shares its version counter with a damaged one.
    TempDir dir;
    const std::vector<std::string> keys = neighbours_of("damaged", 3);
    {
        Store store(dir.file(), manual);
        store.set("damaged", "XYZZYXYZZY");
        for (const std::string& key : keys) store.set(key, 1);
    }
    damage(dir.file(), "XYZZYXYZZY");
    Store store(dir.file(), manual);
    Told told;
    const kvs::Watch watch = store.watch_all([&](const kvs::Change& change) { told.add(change); });
    for (const std::string& key : keys) {
        store.set(key, 2);
        CHECK(told.waits_for(key + " 1>2"));
    }
    store.set("damaged", 3);
    CHECK(told.waits_for("damaged ->3"));
    CHECK(told.lines().size() == 4);
}

TEST_CASE("the handler of damage that a watch meets may watch something", "[watch][threads][damage][regression]") {
    // It was called under the lock of the list of watches.
    TempDir dir;
    {
        Store store(dir.file(), manual);
        store.set("a", "the older value");
        store.sync();
        store.set("a", "the newer value");
    }
    damage(dir.file(), "the newer value");
    Store* handle = nullptr;
    Told told;
    std::vector<kvs::Watch> watches;
    kvs::Options options = manual;
    options.on_damage = [&](const kvs::Damage&) {
        watches.push_back(handle->watch("b", [&](const kvs::Change& change) { told.add(change); }));
    };
    Store store(dir.file(), options);
    handle = &store;
    const kvs::Watch watch = store.watch("a", [](const kvs::Change&) {});
    REQUIRE(watches.size() == 1);
    store.set("b", 1);
    CHECK(told.waits_for("b ->1"));
}

TEST_CASE("a watch of all that begins amid a change tells of no others", "[watch][threads][regression]") {
    // A counter that is 1 was taken for one that was never looked at, so what was there already was told as new. It is
    // 1 while the first change behind the creation of a file or a copy is made.
    using SlowStore = kvs::Store<16, Slow>;
    TempDir dir;
    const std::string copy = dir.path() / "copy";
    const std::vector<std::string> keys = neighbours_of("first", 3);
    {
        SlowStore store(dir.file(), manual);
        for (const std::string& key : keys) store.set(key, 1);
        store.set("first", 1);
        store.copy_to(copy);
    }
    SlowStore writer(copy, manual), watcher(copy, manual);
    Told told;
    Slow::stage = Slow::armed;
    std::thread slow([&] { writer.set("first", 2); });
    while (Slow::stage == Slow::armed) std::this_thread::yield();
    std::thread release([] {  // for a watch that waits until the change is made
        std::this_thread::sleep_for(50ms);
        Slow::stage = Slow::fast;
    });
    const kvs::Watch watch = watcher.watch_all([&](const kvs::Change& change) { told.add(change); });
    release.join();
    slow.join();
    writer.set("first", 3);
    CHECK((told.waits_for("first 2>3") || told.waits_for("first 1>3")));
    for (const std::string& line : told.lines()) CHECK(line.substr(0, 6) == "first ");
}

TEST_CASE("a want of memory that leaves a callback ends the program", "[watch][threads][regression]") {
    // It was taken for one of the library's own, and the change was never told.
    TempDir dir;
    const ::pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        std::freopen("/dev/null", "w", stderr);
        std::signal(SIGABRT, SIG_DFL);
        Store store(dir.file(), manual);
        const kvs::Watch watch = store.watch("k", [](const kvs::Change&) { throw std::bad_alloc(); });
        store.set("k", 1);
        ::sleep(30);
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
}
