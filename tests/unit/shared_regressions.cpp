// Mistakes of the shared store that were found, each with its story.
#include <kvs/detail/pair_layout.hpp>
#include <kvs/kvs.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/files.hpp"
#include "../support/processes.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::contents_of;
using kvs_test::expect_error;
using kvs_test::TempDir;
const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};

/// Runs something at one of the stores to mapped bytes, counted from when it was told.
struct Meddled : kvs::detail::NativePlatform {
    static inline int countdown = 0;
    static inline std::function<void()> meanwhile;
    static inline bool fails = false;  // reads of the journal, and flushes

    static int read(File file, void* to, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        done = 0;
        namespace shared = kvs::detail::pair_layout::shared;
        const bool is_journal =
            offset >= shared::journal ||
            (offset >= shared::small_journal && offset < shared::small_journal + shared::small_journal_bytes);
        return fails && is_journal ? EIO : kvs::detail::NativePlatform::read(file, to, bytes, offset, done);
    }
    static int flush(File file) noexcept { return fails ? EIO : kvs::detail::NativePlatform::flush(file); }
    static void on_store(const std::byte*, std::size_t) noexcept {
        if (countdown > 0 && --countdown == 0) meanwhile();
    }
};

/// The first question whether a writer is dead is answered when two threads have asked it, and the mapping that is made
/// next fails.
struct Crowded : kvs::detail::NativePlatform {
    static inline std::atomic<int> to_come = 0;
    static inline std::atomic<bool> fails = false;

    static int lock_of_others(File file, std::uint64_t byte, Lock& mode) noexcept {
        if (byte > kvs::detail::pair_layout::owner_locks && to_come > 0) {
            --to_come;
            while (to_come > 0) std::this_thread::yield();
        }
        return kvs::detail::NativePlatform::lock_of_others(file, byte, mode);
    }
    static int map_again(File file, std::size_t bytes, bool is_private, std::byte* base) noexcept {
        if (fails.exchange(false)) return ENOMEM;
        return kvs::detail::NativePlatform::map_again(file, bytes, is_private, base);
    }
};

/// Does something at the first look at a page of a private mapping, in the middle of the operation that looks.
struct Watched : kvs::detail::NativePlatform {
    static inline std::byte* base = nullptr;  // of the last private mapping
    static inline std::byte* page = nullptr;
    static inline std::function<void()> at_first_look;
    static constexpr std::size_t page_bytes = 4096;

    static int map_private(File file, std::size_t bytes, std::byte*& mapped) noexcept {
        const int error = kvs::detail::NativePlatform::map_private(file, bytes, mapped);
        base = mapped;
        return error;
    }
    /// For the page that an offset of the file lies in.
    static void watch(std::uint64_t offset, std::function<void()> then) {
        at_first_look = std::move(then);
        page = base + offset / page_bytes * page_bytes;
        struct sigaction action {};
        action.sa_handler = [](int) {
            ::mprotect(page, page_bytes, PROT_READ | PROT_WRITE);
            std::exchange(at_first_look, nullptr)();
        };
        action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
        ::sigaction(SIGSEGV, &action, nullptr);
        ::mprotect(page, page_bytes, PROT_NONE);
    }
};

/// More than is read of a journal at a time.
void set_long_values(auto& batch, const auto& value) {
    for (int i = 0; i < 20; ++i) batch.set("long" + std::to_string(i), value);
}
/// Words that look like the heads of images, far behind the end of the file.
std::vector<std::byte> heads() {
    constexpr std::uint64_t head = std::uint64_t{1} << 62 | 8;
    std::vector<std::byte> all(290);
    for (std::size_t at = 0; at + 8 <= all.size(); at += 8) std::memcpy(all.data() + at, &head, 8);
    return all;
}

/// A process sets many keys at once, and dies where they are written down and none of them is in its place.
void die_with_a_journal(const std::string& path) {
    using kvs::detail::pair_layout::shared::journal_valid;
    const pid_t child = ::fork();
    if (child == 0) {
        kvs::Store<16, Meddled> s(path, manual);
        for (const char* key : {"a", "b", "c"}) s.set(key, 1);  // records, so that the journal has slots
        set_long_values(s, std::string(300, 'o'));
        s.sync();
        const int file = ::open(path.c_str(), O_RDONLY);
        Meddled::meanwhile = [file] {
            std::uint64_t is_valid = 0;
            if (::pread(file, &is_valid, sizeof is_valid, journal_valid) == sizeof is_valid && is_valid == 1)
                ::_exit(0);
            Meddled::countdown = 1;
        };
        Meddled::countdown = 1;
        s.batch([](auto& batch) {
            for (const char* key : {"a", "b", "c"}) batch.set(key, 2);
            set_long_values(batch, std::string(300, 'n'));
        });
        ::_exit(1);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (child < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) throw std::runtime_error("it did not die");
}

/// Where the journal had the heads of images, it has others now.
void write_over_the_journal(kvs::Store<16>& writer) {
    for (const char* key : {"a", "b", "c"}) writer.set(key, 3);
    writer.batch([](auto& batch) { set_long_values(batch, heads()); });
}

/// A read-only handle looks at what a dead writer left, and at one of the stores to its private mapping a writer
/// finishes that and goes on. Says what is wrong, or that there is no such store.
std::string meddle(int store, bool is_open) {
    TempDir dir;
    const std::string path = dir.file();
    kvs::Store<16>(path, manual).set("e", 0);
    std::optional<kvs::Store<16>> writer;
    std::optional<kvs::Store<16, Meddled>> reader;
    if (is_open) {
        writer.emplace(path, manual);
        reader.emplace(path, reading);
    }
    die_with_a_journal(path);
    Meddled::countdown = store;
    Meddled::meanwhile = [&] {
        if (!is_open) writer.emplace(path, manual);
        write_over_the_journal(*writer);
    };
    if (!is_open) reader.emplace(path, reading);
    kvs_test::Complaints wrong;
    const auto first = reader->get<int>("a");
    const bool is_reached = std::exchange(Meddled::countdown, 0) == 0;
    wrong.unless(first == (is_reached ? 3 : 2), "the first read");
    for (const char* key : {"a", "b", "c"})
        wrong.unless(reader->get<int>(key) == (is_reached ? 3 : 2), std::string("key ") + key);
    if (is_reached)
        wrong.unless(reader->get<std::vector<std::byte>>("long19") == heads(), "a long value");
    else
        wrong.unless(reader->get<std::string>("long19") == std::string(300, 'n'), "a long value");
    return wrong.text().empty() && !is_reached ? "no such store" : wrong.text();
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
    const kvs::Store<8, Watched> reader(
        path, {.mode = kvs::Mode::read_only, .on_damage = [&](const kvs::Damage&) { ++reports; }});
    CHECK(reader.get<int>("key") == 2);
    Watched::watch(contents_of(path).find("key"), [&] { change(4); });
    CHECK(reader.value("key") == kvs::Value(4));
    CHECK(Watched::at_first_look == nullptr);
    CHECK(reports == 0);
}

// A read-only handle looked at a dead writer's journal in its private mapping, found it sound, and copied the images to
// their places. Pages of such a mapping that were not written to still are the file's: if a writer came in between and
// finished the work, the handle took what that wrote next for offsets. It died by SIGBUS, once in 40,000 deaths of
// crash/shared_storm.cpp.
TEST_CASE("a read-only handle finishes a dead writer's journal while somebody else does, and goes on",
          "[shared][regression]") {
    const bool is_open = GENERATE(false, true);
    INFO((is_open ? "a writer has it open" : "nobody has it open"));
    int store = 1;
    for (std::string wrong; wrong.empty(); store += store < 30 ? 1 : 7) {
        wrong = kvs_test::in_child([&] { return meddle(store, is_open); });
        INFO("at store " << store << " of the view: " << wrong);
        CHECK((wrong.empty() || wrong == "no such store"));
    }
    CHECK(store > 3);
}

// A read-only handle that could not finish a dead writer's work left the counters odd and the view as it was, and
// waited for the counters for ever.
TEST_CASE("a read-only handle that cannot read a dead writer's journal says so, and reads when it can",
          "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    kvs::Store<16> writer(path, manual);
    writer.set("e", 0);
    const kvs::Store<16, Meddled> reader(path, reading);
    die_with_a_journal(path);
    Meddled::fails = true;
    for (int i = 0; i < 3; ++i)
        expect_error(kvs::errc::io_error, {path, "cannot be read"}, [&] { reader.get<int>("a"); });
    Meddled::fails = false;
    CHECK(reader.get<int>("a") == 2);
    CHECK(writer.get<int>("a") == 2);
    CHECK(reader.get<int>("b") == 2);
}

// Of two threads that waited for a dead writer, one could not make a view of its own and said so. The other saw that
// the view was not live any more and waited in what was there, in which nobody evens the counters.
TEST_CASE("a thread does not wait in a view that another could not make", "[shared][regression][threads]") {
    TempDir dir;
    const std::string path = dir.file();
    kvs::Store<16> writer(path, manual);
    writer.set("e", 0);
    for (int round = 0; round < 20; ++round) {
        const kvs::Store<16, Crowded> reader(path, reading);
        die_with_a_journal(path);
        Crowded::to_come = 2;
        Crowded::fails = true;
        std::atomic<int> values = 0;
        std::atomic<int> errors = 0;
        const auto read = [&] {
            std::error_code error;
            const auto value = reader.get<int>("a", error);
            if (error == kvs::errc::io_error) ++errors;
            if (value == 2) ++values;
        };
        std::thread other(read);
        read();
        other.join();
        CHECK(values + errors == 2);
        CHECK_FALSE(Crowded::fails);
        CHECK(reader.get<int>("a") == 2);
        CHECK(writer.get<int>("a") == 2);
    }
}

// A view that was over, and could not be made anew because another program had the file for itself, was waited in when
// that program died: nobody evened its counters.
TEST_CASE("a read-only handle goes on when who had the file for itself has died", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    kvs::Store<16>(path, manual).set("k", 1);
    for (int store = 1; store < 12; ++store) {
        const kvs::Store<16> reader(path, reading);
        CHECK(reader.get<int>("k").has_value());
        kvs_test::Process other([&](const kvs_test::Process& me) {
            kvs::Store<16, kvs::SharedThreads, Meddled> alone(path, manual);
            for (int i = 0; i < 3; ++i) alone.set("k", i);
            me.tell();
            me.wait();
            Meddled::countdown = store;
            Meddled::meanwhile = [] { ::_exit(0); };
            alone.set("k", 3);
            return std::string("it did not die");
        });
        REQUIRE(other.wait());
        expect_error(kvs::errc::in_use, {path}, [&] { reader.get<int>("k"); });
        other.tell();
        INFO("dead at store " << store);
        CHECK(other.end() == "");
        const int value = reader.get<int>("k").value();
        CHECK((value == 2 || value == 3));
    }
}

// An operation was begun in a view that was over, and repeated when that was noticed behind it. But the records of a
// store that lost what was not synced had been cut off meanwhile, and with them what the view had there.
TEST_CASE("a read-only handle does not look behind the end of a file that became shorter", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    CHECK(kvs_test::in_child([&] {
              kvs::Store<16> s(path, manual);
              s.set("a", 1);
              s.sync();
              for (int i = 0; i < 2000; ++i) s.set("k" + std::to_string(i), i);
              ::_exit(0);
              return std::string();
          }) == "");
    CHECK(kvs_test::in_child([&] {
              const kvs::Store<16> reader(path, reading);
              kvs_test::Complaints wrong;
              wrong.unless(reader.get<int>("k1999") == 1999, "what the dead one wrote");
              {
                  kvs::Store<16, Meddled> unlucky(path, manual);
                  Meddled::fails = true;
                  std::error_code error;
                  unlucky.set("a", 2, error);
                  unlucky.sync(error);
                  wrong.unless(bool(error), "the sync");
              }
              Meddled::fails = false;
              kvs::Store<16>{path, manual};
              wrong.unless(!reader.get<int>("k1999") && reader.get<int>("a") == 1, "what is left");
              wrong.unless(reader.verify().ok(), "verify");
              return wrong.text();
          }) == "");
}

// Recovery changes values and no version counter: by those, nothing had happened to what a file that went back to its
// last sync held before.
TEST_CASE("a read-only handle that watches all keys is told what a failed flush took back", "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        kvs::Store<16> s(path, manual);
        s.set("k", 1);
    }
    kvs::Store<16> reader(path, reading);
    std::atomic<int> last = 1;
    const auto wait_for = [&](int value) {
        while (last != value) std::this_thread::yield();
    };
    const kvs::Watch watch = reader.watch_all([&](const kvs::Change& change) {
        if (change.key == "k") last = change.after->get<int>();
    });
    kvs::Store<16, Meddled> unlucky(path, manual);
    unlucky.set("k", 2);
    wait_for(2);
    Meddled::fails = true;
    std::error_code error;
    unlucky.sync(error);
    CHECK(error == kvs::errc::io_error);
    Meddled::fails = false;
    { const kvs::Store<16, Meddled> closed(std::move(unlucky)); }
    unlucky = kvs::Store<16, Meddled>(path, manual);
    CHECK(unlucky.get<int>("k") == 1);
    wait_for(1);
    CHECK(reader.get<int>("k") == 1);
}

// The first write to a clean file stores a superblock that says "not clean", and then says so in the shared area. Who
// took over from a handle that died in between, and wrote nothing, closed the file as if it were clean already: the
// next open took it for one whose processes were killed. Found by crash/pair_kill.cpp.
TEST_CASE("who follows a handle that died at any store of its first write closes the file cleanly",
          "[shared][regression]") {
    TempDir dir;
    const std::string path = dir.file();
    int store = 0;
    for (bool is_reached = true; is_reached;) {
        ++store;
        { kvs::Store<16>(path, manual).set("k", 1); }
        kvs::Store<16> survivor(path, manual);
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            kvs::Store<16, Meddled> s(path, manual);
            Meddled::countdown = store;
            Meddled::meanwhile = [] { ::_exit(0); };
            s.set("k", 2);
            ::_exit(1);
        }
        int status = 0;
        REQUIRE(::waitpid(child, &status, 0) == child);
        is_reached = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        INFO("dead at store " << store);
        survivor.sync();
        const auto value = survivor.get<int>("k");
        CHECK((value == 1 || value == 2));
        { const kvs::Store<16> closed = std::move(survivor); }
        const kvs::Store<16> next(path, manual);
        CHECK(next.recovery().outcome == kvs::Recovery::Outcome::clean);
        CHECK(next.get<int>("k") == value);
    }
    CHECK(store > 20);
}
