// Mistakes of the shared store that were found, each with its story. A platform that runs something at a system call
// brings about the moments that they need.
#include <kvs/detail/pair_layout.hpp>
#include <kvs/kvs.hpp>

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/files.hpp"
#include "../support/processes.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::expect_error;
using kvs_test::TempDir;
using kvs_test::word_at;
using Plain = kvs::Store<16>;
const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};

/// Runs something, once, before the call of which it is told or right behind it; says by which mount files are seen.
struct Hooked : kvs::detail::NativePlatform {
    static inline std::function<void()> at_gate, at_claim, at_joining, at_question, unmapping, closing;
    static inline std::function<void()> opened, mapped;  // behind the call
    static inline std::uint64_t mount = 0;

    static void run(std::function<void()>& hook) {
        if (hook) std::exchange(hook, nullptr)();
    }
    static int lock(File file, std::uint64_t byte, Lock mode, bool wait) noexcept {
        if (byte == kvs::detail::layout::gate_lock && mode == Lock::exclusive) run(at_gate);
        if (byte == kvs::detail::layout::presence_lock) run(mode == Lock::exclusive ? at_claim : at_joining);
        return kvs::detail::NativePlatform::lock(file, byte, mode, wait);
    }
    static int lock_of_others(File file, std::uint64_t byte, Lock& mode) noexcept {
        run(at_question);
        return kvs::detail::NativePlatform::lock_of_others(file, byte, mode);
    }
    static int open(const char* path, Access access, Creation creation, unsigned permissions, File& file) noexcept {
        const int e = kvs::detail::NativePlatform::open(path, access, creation, permissions, file);
        run(opened);
        return e;
    }
    static int close(File file) noexcept {
        run(closing);
        return kvs::detail::NativePlatform::close(file);
    }
    static int map(File file, std::size_t bytes, Access access, std::byte*& base) noexcept {
        const int e = kvs::detail::NativePlatform::map(file, bytes, access, base);
        run(mapped);
        return e;
    }
    static int unmap(std::byte* base, std::size_t bytes) noexcept {
        run(unmapping);
        return kvs::detail::NativePlatform::unmap(base, bytes);
    }
    static int mount_id(File, std::uint64_t& id) noexcept {
        id = mount;
        return 0;
    }
};
using Store = kvs::Store<16, Hooked>;

/// Runs `body` in a child, which then dies with everything open.
template <class Body>
void die_after(Body body) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        body();
        ::_exit(0);
    }
    REQUIRE(::waitpid(child, nullptr, 0) == child);
}

/// Whether this process has a file open or mapped. For the child of a fork, where what other threads had locked stays
/// locked: takes no memory.
bool has_open_or_mapped(const struct stat& file, std::string_view path) {
    struct stat other;
    for (int i = 3; i < 64; ++i)
        if (::fstat(i, &other) == 0 && other.st_dev == file.st_dev && other.st_ino == file.st_ino) return true;
    static char maps[1 << 20];
    std::size_t bytes = 0;
    const int list = ::open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    for (ssize_t n = 1; n > 0; bytes += static_cast<std::size_t>(n)) {
        n = ::read(list, maps + bytes, sizeof maps - bytes);
        if (n < 0) return true;
    }
    return bytes == sizeof maps || std::string_view(maps, bytes).find(path) != std::string_view::npos;
}

}  // namespace

// The handle had looked at an empty file, so it had no stamps to look at, and died by SIGSEGV at its first read; or it
// called the file one of the seed format.
TEST_CASE("a read-only handle is opened while the store is created", "[shared][regression]") {
    TempDir dir;
    for (const bool still_open : {false, true}) {
        INFO(still_open);
        const std::string path = dir.file(still_open ? "open" : "closed");
        std::ofstream(path).close();
        std::optional<Plain> creator;
        Hooked::at_question = [&] {
            creator.emplace(path, manual);
            creator->set("k", 1);
            if (!still_open) creator.reset();
        };
        const Store reader(path, reading);
        CHECK(reader.get<int>("k") == 1);
        CHECK(reader.size() == 1);
    }
}

// The file had been created by this open, but before it got to the gate somebody else had made a store of it. What went
// wrong then was thought to have gone wrong with a file of its own, which was removed.
TEST_CASE("an open that fails does not remove the store that another handle made meanwhile", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    Hooked::at_gate = [&] { kvs::Store<64>(path, manual).set("precious", 1); };
    expect_error(kvs::errc::key_length_mismatch, {path}, [&] { Store s(path, manual); });
    REQUIRE(std::filesystem::exists(path));
    CHECK(kvs::Store<64>(path, manual).get<int>("precious") == 1);

    const std::string other = dir.file("other");
    Hooked::at_gate = [&] { Plain(other, manual).set("precious", 1); };
    expect_error(kvs::errc::already_exists, {other}, [&] { Store s(other, {.mode = kvs::Mode::create_new}); });
    CHECK(Plain(other, manual).get<int>("precious") == 1);
}

// The destination of a copy was opened, then locked; in between it went to the file of another copy, which somebody
// opened. So what had the lock had no name any more, and what had the name was replaced under who wrote to it.
TEST_CASE("a copy does not replace the store that another copy put there meanwhile", "[shared][copy][regression]") {
    TempDir dir;
    const std::string target = dir.path() / "target";
    Store one(dir.path() / "one", manual);
    Plain two(dir.path() / "two", manual);
    Plain(target, manual).set("from", 0);
    std::optional<Plain> user;
    Hooked::at_claim = [&] {
        two.copy_to(target);
        user.emplace(target, manual);
        user->set("precious", 42);
        user->sync();
    };
    expect_error(kvs::errc::in_use, {target}, [&] { one.copy_to(target); });
    user.reset();
    CHECK(Plain(target, reading).get<int>("precious") == 42);
}

// An open is refused the presence for itself, then the only other handle dies, then it gets the presence shared: it
// joined nobody, and announced itself to nobody. A read-only handle that had looked in between kept its view for ever.
TEST_CASE("who joins a handle that dies in that moment opens the file alone", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    kvs_test::Process other([&](const kvs_test::Process& me) {
        Plain s(path, manual);
        s.set("k", 1);
        s.sync();
        me.tell();
        me.wait();
        return std::string();
    });
    REQUIRE(other.wait());
    std::optional<Plain> reader;
    Hooked::at_joining = [&] {
        other.kill();
        reader.emplace(path, reading);
        CHECK(reader->get<int>("k") == 1);
    };
    Store s(path, manual);
    CHECK(!s.recovery().attached);
    for (int i = 2; i < 6; ++i) {
        s.set("k", i);
        s.set("new" + std::to_string(i), i);
        s.sync();
        s.set("k", i);
        CHECK(reader->get<int>("k") == i);
        CHECK(reader->size() == s.size());
    }
}

// Each handle wrote its own way to the file into the superblock: the one that synced last decided whether the next open
// took a death for a restart of the machine, and what had not been synced was rolled back.
TEST_CASE("handles that see the file through two mounts die, and nothing is lost", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    die_after([&] {
        Hooked::mount = 1;
        Store one(path, manual);
        one.set("k", 1);
        Hooked::mount = 2;
        Store two(path, manual);
        two.set("k", 2);
        two.sync();
        one.set("k", 3);
        ::_exit(0);
    });
    Hooked::mount = 1;
    const Store s(path, manual);
    Hooked::mount = 0;
    CHECK(s.recovery().outcome == kvs::Recovery::Outcome::killed);
    CHECK(s.get<int>("k") == 3);
}

// A place is known by the number of the file system or by that of the mount: not everybody can see both.
TEST_CASE("after a death a file is where it was if the file system or the mount is the same", "[shared][regression]") {
    constexpr std::uint64_t both = std::uint64_t{5} << 32 | 1;
    struct Next {
        std::uint64_t mount;
        bool is_same;
    };
    for (const Next& next : {Next{both, true}, Next{1, true}, Next{std::uint64_t{5} << 32, true},
                             Next{std::uint64_t{5} << 32 | 2, true}, Next{std::uint64_t{6} << 32 | 1, true},
                             Next{std::uint64_t{6} << 32 | 2, false}, Next{2, false}, Next{0, false}}) {
        TempDir dir;
        const std::string path = dir.file();
        Hooked::mount = both;
        Store(path, manual).set("k", 1);
        die_after([&] {
            Store s(path, manual);
            s.set("k", 2);
            ::_exit(0);
        });
        Hooked::mount = next.mount;
        const Store s(path, manual);
        Hooked::mount = 0;
        INFO("mount id " << next.mount);
        CHECK(s.recovery().outcome ==
              (next.is_same ? kvs::Recovery::Outcome::killed : kvs::Recovery::Outcome::power_loss));
        CHECK(s.get<int>("k") == (next.is_same ? 2 : 1));
    }
}

// Each mount namespace has numbers of its own for the same mounts: a service that was killed and started again in a new
// one came back to its last sync.
TEST_CASE("a process killed in one mount namespace and started again in another has lost nothing",
          "[shared][regression]") {
    using kvs::detail::PosixPlatform;
    TempDir dir(std::filesystem::temp_directory_path());
    const std::string path = dir.file();
    kvs::Store<16>(path, manual).set("k", 1);
    const int file = ::open(path.c_str(), O_RDONLY);
    std::uint64_t id = 0;
    REQUIRE(PosixPlatform::mount_id(file, id) == 0);
    ::close(file);
    if (id >> 32 == 0) {
        WARN("the file system is none that has a number of its own");
        return;
    }
    die_after([&] {
        kvs::Store<16>(path, manual).set("k", 2);
        kvs::Store<16> s(path, manual);
        s.set("k", 3);
        ::_exit(0);
    });
    CHECK(kvs_test::in_child([&] {
              kvs_test::Complaints wrong;
              if (::unshare(CLONE_NEWNS) != 0)
                  return std::string();  // for root only; then it is a death like any other
              const kvs::Store<16> s(path, manual);
              wrong.unless(s.recovery().outcome == kvs::Recovery::Outcome::killed, "recovery");
              wrong.unless(s.get<int>("k") == 3, "the value");
              return wrong.text();
          }) == "");
}

// Between the opening of a file and the note of it, a fork in another thread gave the child a descriptor that it did
// not know of: it kept the locks of a parent that died. So does a mapping.
TEST_CASE("a child that is forked while another thread opens or closes a store has nothing of it",
          "[shared][regression][fork]") {
    const std::string moment = GENERATE("opened", "mapped", "unmapping", "closing");
    INFO(moment);
    TempDir dir;
    const std::string path = dir.file();
    Plain(path, manual).set("k", 1);
    struct stat file;
    REQUIRE(::stat(path.c_str(), &file) == 0);

    std::atomic<bool> is_there{false}, is_forked{false};
    const auto stay = [&] {
        is_there = true;  // A fork that does not have to wait until this moment is over happens now.
        for (int i = 0; i < 100 && !is_forked; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    };
    std::thread other([&] {
        if (moment == "opened") Hooked::opened = stay;
        if (moment == "mapped") Hooked::mapped = stay;
        const Store store(path, manual);
        if (moment == "unmapping") Hooked::unmapping = stay;
        if (moment == "closing") Hooked::closing = stay;
    });
    while (!is_there) std::this_thread::yield();
    const pid_t child = ::fork();
    if (child == 0) ::_exit(has_open_or_mapped(file, path) ? 1 : 0);
    is_forked = true;
    int status = 0;
    const bool is_over = ::waitpid(child, &status, 0) == child;
    other.join();
    REQUIRE(is_over);
    CHECK(status == 0);
}

// Under `sync_every` each handle synced what it had written itself; what a dead one had acknowledged in its last second
// stayed in memory as long as the others lived.
TEST_CASE("what a dead process wrote is synced by those that go on", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    Plain s(path, {.sync = kvs::sync_every(std::chrono::milliseconds(1))});
    s.set("mine", 1);
    const auto is_pending = [&] { return word_at(path, kvs::detail::pair_layout::shared::pending) != 0; };
    const auto await_sync = [&] {
        for (int i = 0; i < 30000 && is_pending(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        return !is_pending();
    };
    REQUIRE(await_sync());
    die_after([&] { Plain(path, manual).set("theirs", 1), ::_exit(0); });
    CHECK(await_sync());
    CHECK(s.get<int>("theirs") == 1);
}

// A batch raises all version counters, and the function's own was taken for somebody else's change of the key.
TEST_CASE("the function of read_modify_write may write a batch", "[shared][regression]") {
    TempDir dir;
    Plain s(dir.file(), manual);
    for (int i = 1; i <= 3; ++i) {
        const int now = s.read_modify_write("n", [&](std::optional<int> n) {
            s.batch([&](auto& b) { b.set("other", i); });
            return n.value_or(0) + 1;
        });
        CHECK(now == i);
    }
    // Its own change of the key is one, though.
    int runs = 0;
    s.read_modify_write("n", [&](std::optional<int> n) {
        if (++runs == 1) s.set("n", 10);
        return n.value_or(0) + 1;
    });
    CHECK(runs == 2);
    CHECK(s.get<int>("n") == 11);
}

// After some disturbed attempts `view` takes the writers' lock, and functions that take it themselves waited for it.
TEST_CASE("a view under the lock can be verified, counted and copied", "[shared][regression]") {
    TempDir dir;
    Plain s(dir.file(), manual), other(dir.file(), manual);
    s.set("k", 1);
    int runs = 0;
    const bool ok = s.view([&](const auto& view) {
        if (++runs <= 16) other.set("k", runs);
        view.copy_to(dir.file("copy"));
        return view.verify().ok() && view.stats().keys == 1;
    });
    CHECK(ok);
    CHECK(runs == 17);
}

// The buckets of a key's lengths were read one after the other, and a value that moved meanwhile was found twice; the
// next look then told that the key was gone.
TEST_CASE("watch_all tells no key gone that only changed its length", "[shared][regression]") {
    TempDir dir;
    Plain s(dir.file(), manual);
    s.set("k", 1);
    std::atomic<int> gone{0}, told{0};
    const kvs::Watch watch = s.watch_all([&](const kvs::Change& change) {
        ++told;
        if (!change.after) ++gone;
    });
    for (int i = 0; i < 20000 || told == 0; ++i) {
        if (i % 2 == 0)
            s.set("k", std::string(200, 'x'));
        else
            s.set("k", i);
    }
    CHECK(gone == 0);
}
