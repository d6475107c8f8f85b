// What happens to a store that processes share when one of them forks, stops, dies, or is late.
#include <kvs/kvs.hpp>

#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/files.hpp"
#include "../support/processes.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::change_file;
using kvs_test::Complaints;
using kvs_test::contents_of;
using kvs_test::expect_error;
using kvs_test::in_child;
using kvs_test::Process;
using kvs_test::raw;
using kvs_test::TempDir;
using kvs_test::word_at;
using Outcome = kvs::Recovery::Outcome;
using Store = kvs::Store<16>;
using Alone = kvs::Store<16, kvs::SharedThreads>;
using OfOneThread = kvs::Store<16, kvs::Unshared>;

const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};
const std::error_code forked = kvs::make_error_code(kvs::errc::forked);
const std::error_code not_durable = kvs::make_error_code(kvs::errc::not_durable);

/// A machine on which this process stops itself in the middle: before a flush, or at a store to the file.
struct Stopping : kvs::detail::NativePlatform {
    static inline bool at_flush = false;
    static inline int at_store = 0;  // the how many-th from now; 0 = none
    static inline int flush_error = 0;
    static int flush(File file) noexcept {
        if (std::exchange(at_flush, false)) ::raise(SIGSTOP);
        return flush_error != 0 ? flush_error : kvs::detail::NativePlatform::flush(file);
    }
    static void on_store(const std::byte*, std::size_t) noexcept {
        if (at_store != 0 && --at_store == 0) ::raise(SIGSTOP);
    }
};
using Stoppable = kvs::Store<16, Stopping>;

template <class Use>
std::error_code error_of(Use use) {
    std::error_code error;
    use(error);
    return error;
}

/// Everything that a child of a fork may try with its parent's handle.
template <class S>
void expect_forked(S& s, Complaints& complaints) {
    const auto expect = [&](const char* what, const std::error_code& error) {
        complaints.unless(error == forked, std::string(what) + ": " + error.message());
    };
    expect("get", error_of([&](auto& e) { s.template get<int>("n", e); }));
    expect("get of text", error_of([&](auto& e) { s.template get<std::string>("t", e); }));
    expect("contains", error_of([&](auto& e) { s.contains("n", e); }));
    expect("begin", error_of([&](auto& e) { s.begin(e); }));
    expect("set", error_of([&](auto& e) { s.set("n", 2, e); }));
    expect("erase", error_of([&](auto& e) { s.erase("n", e); }));
    expect("batch", error_of([&](auto& e) { s.batch([](auto& b) { b.set("n", 2); }, e); }));
    expect("clear", error_of([&](auto& e) { s.clear(e); }));
    expect("sync", error_of([&](auto& e) { s.sync(e); }));
    expect("set_if_absent", error_of([&](auto& e) { s.set_if_absent("n", 2, e); }));
    expect("read_modify_write", error_of([&](auto& e) {
               s.read_modify_write(
                   "n", [](std::optional<int>) { return 3; }, e);
           }));
    expect("verify", error_of([&](auto& e) { s.verify(e); }));
    expect("repair", error_of([&](auto& e) { s.repair(e); }));
    expect("copy_to", error_of([&](auto& e) { s.copy_to("/nowhere", e); }));
    for (int what = 0; what < 5; ++what) {
        std::error_code error;
        try {
            if (what == 0) s.version();
            if (what == 1) s.wait_for_change(0, std::chrono::seconds(0));
            if (what == 2) s.view([](const auto& v) { return v.template get<int>("n"); });
            if (what == 3) (void)s.watch("n", [](const kvs::Change&) {});
            if (what == 4) (void)s.template get<int>("n");
        } catch (const kvs::Error& e) {
            error = e.code();
        }
        constexpr const char* names[] = {"version", "wait", "view", "watch", "get that throws"};
        expect(names[what], error);
    }
}

}  // namespace

TEST_CASE("the child of a fork is told so, opens its own handle, and leaves the parent's alone", "[shared][fork]") {
    TempDir dir;
    const std::string path = dir.file();
    auto store = std::make_unique<Store>(path, kvs::Options{.sync = kvs::sync_every(std::chrono::milliseconds(1))});
    std::atomic<int> told{0};
    auto all = store->watch_all([&](const kvs::Change&) { ++told; });
    auto one = store->watch("n", [&](const kvs::Change&) { ++told; });
    store->set("n", 1);
    store->set("t", "text");
    auto reader = std::make_unique<Store>(path, reading);
    CHECK(reader->get<int>("n") == 1);
    for (int round = 0; round < 10; ++round) {
        store->set("n", 1);
        CHECK(in_child([&] {
                  Complaints complaints;
                  expect_forked(*store, complaints);
                  complaints.unless(error_of([&](auto& e) { reader->get<int>("n", e); }) == forked, "reader");
                  Store own(path, manual);
                  complaints.unless(own.recovery().attached, "the child was alone");
                  complaints.unless(own.get<int>("n") == 1, "n");
                  own.set("n", 5 + round);
                  // In any order, and the parent goes on.
                  if (round % 2 == 0) all.stop();
                  store.reset();
                  reader.reset();
                  own.set("child", round);
                  return complaints.text();
              }) == "");
        CHECK(store->get<int>("n") == 5 + round);
        CHECK(reader->get<int>("child") == round);
    }
    store->sync();
    CHECK(store->verify().ok());
    while (told == 0) std::this_thread::yield();
    all.stop();
    store.reset();
    CHECK(Store(path, manual).recovery().outcome == Outcome::clean);
}

// It closed its copies of the descriptors, but kept the mapping, and the kernel frees a lock of an open file
// description only when nothing holds that any more, a mapping included.
TEST_CASE("a child does not keep the locks of a parent that died", "[shared][fork]") {
    TempDir dir;
    const std::string path = dir.file();
    kvs_test::Pipe alive;
    Process parent([&](Process& me) {
        Store s(path, manual);
        s.set("n", 1);
        const pid_t child = ::fork();
        if (child == 0) {
            alive.close_writing();
            me.tell();
            alive.wait();  // until the test closes its end
            ::_exit(0);
        }
        me.wait();
        return std::string();
    });
    REQUIRE(parent.wait());
    parent.kill();
    // Nobody may have it but who is alone: the grandchild is still there.
    const Alone s(path, manual);
    CHECK(s.recovery().outcome == Outcome::killed);
    CHECK(s.get<int>("n") == 1);
}

TEST_CASE("a program that is executed does not inherit the file", "[shared][fork]") {
    if (!std::filesystem::exists("/proc/self/fd")) return;
    TempDir dir;
    const Store s(dir.file(), manual);
    const Store reader(dir.file(), reading);
    // popen does not run the handlers of fork.
    FILE* list = ::popen("ls -l /proc/self/fd", "r");
    REQUIRE(list != nullptr);
    std::string text;
    for (char piece[256]; std::fgets(piece, sizeof piece, list) != nullptr;) text += piece;
    ::pclose(list);
    CHECK(text.find("->") != std::string::npos);
    CHECK(text.find(dir.file()) == std::string::npos);
}

TEST_CASE("two handles of one process share the file like two processes do", "[shared]") {
    TempDir dir;
    const std::string path = dir.file();
    Store a(path, manual);
    Store b(path, {.sync = kvs::sync_each});
    const Store r(path, reading);
    CHECK(!a.recovery().attached);
    CHECK(b.recovery().attached);
    a.set("n", 1);
    CHECK(b.get<int>("n") == 1);
    CHECK(r.get<int>("n") == 1);
    b.set("n", std::string(100, 'n'));
    CHECK(a.get<std::string>("n") == std::string(100, 'n'));
    CHECK(r.get<std::string>("n") == std::string(100, 'n'));
    b.batch([](auto& batch) {
        batch.erase("n");
        batch.set("m", 2);
    });
    CHECK(!a.contains("n"));
    CHECK(r.size() == 1);
    {
        const Store moved(std::move(a));
        CHECK(!a.is_open());
        expect_error(kvs::errc::not_found, {}, [&] { a.set("n", 1); });
        CHECK(moved.get<int>("m") == 2);
    }
    CHECK(b.get<int>("m") == 2);
    b.set("after", 3);
    CHECK(r.get<int>("after") == 3);
    CHECK(b.verify().ok());
    CHECK(r.verify().ok());
    b.clear();
    CHECK(r.empty());
}

TEST_CASE("threads on three handles of one process raise a counter and miss nothing", "[shared][threads]") {
    TempDir dir;
    const std::string path = dir.file();
    Store a(path, {.sync = kvs::sync_every(std::chrono::microseconds(300))});
    Store b(path, manual);
    const Store r(path, reading);
    a.set("n", 0);
    constexpr int each = 3000;
    std::atomic<bool> done{false}, wrong{false};
    std::vector<std::thread> writers;
    for (int t = 0; t < 4; ++t)
        writers.emplace_back([&, t] {
            Store& mine = t % 2 == 0 ? a : b;
            for (int i = 0; i < each; ++i) {
                mine.read_modify_write("n", [](std::optional<int> n) { return *n + 1; });
                mine.set("t" + std::to_string(t), std::string(static_cast<std::size_t>(i % 200), 'x'));
            }
        });
    std::thread reader([&] {
        for (int last = 0; !done;) {
            const int n = r.get<int>("n").value();
            if (n < last) wrong = true;
            last = n;
        }
    });
    for (std::thread& t : writers) t.join();
    done = true;
    reader.join();
    CHECK(!wrong);
    CHECK(r.get<int>("n") == 4 * each);
    CHECK(a.verify().ok());
}

TEST_CASE("a file that is renamed, replaced or deleted stays the open handles' own", "[shared]") {
    TempDir dir;
    const std::string path = dir.file(), other = dir.file("other"), moved = dir.file("moved");
    Store(other, manual).set("who", "other");
    Store s(path, manual);
    s.set("who", "old");
    std::filesystem::rename(path, moved);
    s.set("n", 1);
    s.sync();
    CHECK(Store(moved, manual).get<int>("n") == 1);

    std::filesystem::rename(moved, path);
    std::filesystem::rename(other, path);  // replaces it
    s.set("n", 2);
    s.sync();
    const Store reader(path, reading);
    CHECK(s.get<std::string>("who") == "old");
    CHECK(reader.get<std::string>("who") == "other");
    Store fresh(path, manual);
    CHECK(!fresh.recovery().attached);
    CHECK(fresh.get<std::string>("who") == "other");

    std::filesystem::remove(path);
    fresh.set("n", 3);
    fresh.sync();
    CHECK(fresh.get<int>("n") == 3);
    CHECK(fresh.verify().ok());
    const Store created(path, manual);
    CHECK(created.recovery().outcome == Outcome::created);
    CHECK(created.empty());
    expect_error(kvs::errc::in_use, {path}, [&] { Alone alone(path, manual); });
}

TEST_CASE("a copy made by other means while the file is in use opens as after a power cut, or says what is wrong",
          "[shared][threads]") {
    TempDir dir;
    const std::string path = dir.file(), copy = dir.file("copy");
    Store s(path, {.sync = kvs::sync_every(std::chrono::microseconds(200))});
    s.set("k1", "x");
    s.sync();  // no superblock of before says any more that the file was closed
    std::atomic<bool> done{false};
    std::thread writer([&] {
        for (unsigned i = 0; !done; ++i) {
            const std::string key = "k" + std::to_string(i % 300);
            if (i % 7 == 0)
                s.erase(key);
            else if (i % 2 == 0)
                s.set(key, i);
            else
                s.set(key, std::string(i % 3000, 'x'));
        }
    });
    // The texts of odd keys and the numbers of even ones say when they were set.
    const auto was_value = [](std::string_view key, const kvs::Value& value) {
        const std::uint64_t number = std::stoull(std::string(key.substr(1)));
        if (kvs::is_text(value.type()))
            return number % 2 == 1 && value.text().size() % 300 == number &&
                   value.text().find_first_not_of('x') == std::string_view::npos;
        const unsigned set = value.get<unsigned>();
        return number % 2 == 0 && set % 300 == number && set % 7 != 0;
    };
    int sound = 0;
    for (std::uint64_t i = 0; i < kvs_test::rounds(40, 1000); ++i) {
        std::filesystem::copy_file(path, copy, std::filesystem::copy_options::overwrite_existing);
        std::error_code error;
        const Store look(copy, i % 2 == 0 ? reading : manual, error);
        if (error) {
            CHECK(error.category() == kvs::error_category());
            continue;
        }
        CHECK(!look.recovery().attached);
        CHECK(look.recovery().outcome == Outcome::power_loss);
        const kvs::Report report = look.verify(error);
        CHECK(!error);
        std::size_t entries = 0, damaged = 0;
        for (auto it = look.begin(error); it != look.end(); it.increment(error)) {
            if (error) {
                ++damaged;
                continue;
            }
            ++entries;
            INFO(it->key());
            CHECK(was_value(it->key(), it->value()));
        }
        // Damage is told of at open and found by verify; without it, all that is there is read.
        if (!report.ok()) {
            CHECK(look.recovery().damaged());
            continue;
        }
        ++sound;
        CHECK(damaged == 0);
        CHECK(entries == look.size());
    }
    done = true;
    writer.join();
    CHECK(sound > 0);
    CHECK(s.verify().ok());
}

TEST_CASE("processes of another word size or byte order among the living are refused by name", "[shared]") {
    namespace shared = kvs::detail::pair_layout::shared;
    TempDir dir;
    const std::string path = dir.file();
    Store s(path, manual);
    s.set("n", 1);
    const std::uint64_t mine = word_at(path, shared::stamp);
    for (const std::uint64_t theirs : {mine ^ (std::uint64_t{12} << 16), kvs::detail::swap_bytes(mine), mine + 1}) {
        change_file(path, shared::stamp, raw(theirs));
        const std::string wanted = std::to_string(mine), found = std::to_string(theirs);
        expect_error(kvs::errc::in_use, {path, wanted, found}, [&] { Store another(path, manual); });
        expect_error(kvs::errc::in_use, {path, wanted, found}, [&] { Store another(path, reading); });
    }
    change_file(path, shared::stamp, raw(mine));
    CHECK(Store(path, manual).get<int>("n") == 1);
}

TEST_CASE("a process that is stopped with the lock holds up writers only, until it goes on", "[shared]") {
    TempDir dir;
    const std::string path = dir.file();
    Store s(path, manual);
    s.set("other", 1);
    const Store r(path, reading);
    Process holder([&](Process& me) {
        Stoppable mine(path, {.sync = kvs::sync_each});
        Stopping::at_flush = true;
        mine.set("n", 1);
        me.wait();
        return std::string();
    });
    REQUIRE(holder.wait_for_stop());
    std::atomic<bool> done{false};
    std::thread writer([&] {
        s.set("other", 2);
        done = true;
    });
    for (int i = 0; i < 300; ++i) {
        CHECK(s.get<int>("other") == 1);
        CHECK(r.get<int>("other") == 1);
        CHECK(s.get<int>("n") == 1);
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    CHECK(!done);
    holder.send(SIGCONT);
    writer.join();
    CHECK(s.get<int>("other") == 2);
    holder.tell();
    CHECK(holder.end() == "");
    CHECK(s.verify().ok());
}

TEST_CASE("a process that is stopped anywhere in a change and then killed is taken over", "[shared]") {
    TempDir dir;
    // At each store that there is in these changes.
    int at = 0;
    for (bool is_reached = true; is_reached;) {
        ++at;
        INFO("store " << at);
        const std::string path = dir.file(std::to_string(at));
        Store s(path, manual);
        s.set("n", 1);
        s.set("other", 1);
        const Store r(path, reading);
        CHECK(r.get<int>("n") == 1);
        Process writer([&](Process&) {
            Stoppable mine(path, manual);
            Stopping::at_store = at;
            mine.set("n", 2);
            mine.set("n", 3);
            mine.set("n", std::string(40, 'n'));
            mine.erase("n");
            Stopping::at_store = 0;
            std::ofstream(path + " over");  // it was not stopped
            ::raise(SIGSTOP);
            return std::string();
        });
        REQUIRE(writer.wait_for_stop());
        is_reached = !std::filesystem::exists(path + " over");
        writer.kill();
        // Readers first, of both kinds: who died had the key's counter odd, or had not.
        const auto of_reader = r.value("n");
        const auto of_writer = s.value("n");
        CHECK((of_reader.has_value() == of_writer.has_value() && (!of_reader || *of_reader == *of_writer)));
        CHECK(r.get<int>("other") == 1);
        CHECK(r.verify().ok());
        s.set("other", 2);
        CHECK(r.get<int>("other") == 2);
        s.set("n", 9);
        CHECK(r.get<int>("n") == 9);
        s.sync();
        CHECK(s.verify().ok());
        CHECK(r.verify().ok());
        CHECK(r.size() == 2);
    }
    CHECK(at > 80);
}

TEST_CASE("read-only handles see what writers do, and outlive them", "[shared][read-only]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store s(path, manual);
        s.set("n", 0);
    }
    const std::string at_rest = contents_of(path);
    const Store r(path, reading);
    CHECK(r.get<int>("n") == 0);
    CHECK(r.verify().ok());
    for (const auto& entry : r) CHECK(entry.key() == "n");
    CHECK(contents_of(path) == at_rest);
    for (int i = 1; i <= 10; ++i) {
        Process writer([&](Process& me) {
            Store s(path, manual);
            s.set("n", i);
            s.set("t", std::string(static_cast<std::size_t>(100 * i), 't'));
            me.tell();
            me.wait();
            return std::string();
        });
        REQUIRE(writer.wait());
        CHECK(r.get<int>("n") == i);
        CHECK(r.get<std::string>("t")->size() == static_cast<std::size_t>(100 * i));
        if (i % 2 == 0)
            writer.kill();
        else
            CHECK(writer.end() == "");
        CHECK(r.get<int>("n") == i);
        const std::string left = contents_of(path);
        const Store late(path, reading);
        CHECK(late.recovery().outcome == (i % 2 == 0 ? Outcome::killed : Outcome::clean));
        CHECK(late.get<int>("n") == i);
        CHECK(late.verify().ok());
        CHECK(contents_of(path) == left);
        // A writer opens while that one looks at what it recovered for itself.
        Store next(path, manual);
        next.set("n", 100 + i);
        CHECK(late.get<int>("n") == 100 + i);
        CHECK(r.get<int>("n") == 100 + i);
    }
    {
        const Alone alone(path, manual);
        expect_error(kvs::errc::in_use, {path}, [&] { r.get<int>("n"); });
        expect_error(kvs::errc::in_use, {path}, [&] { r.verify(); });
        expect_error(kvs::errc::in_use, {path}, [&] { Store more(path, reading); });
    }
    CHECK(r.get<int>("n") == 110);
    CHECK(r.verify().ok());
}

TEST_CASE("stores of SharedThreads and Unshared have the file for themselves", "[shared]") {
    TempDir dir;
    const std::string path = dir.file();
    const auto refused = [&] {
        expect_error(kvs::errc::in_use, {path}, [&] { Store s(path, manual); });
        expect_error(kvs::errc::in_use, {path}, [&] { Alone s(path, manual); });
        expect_error(kvs::errc::in_use, {path}, [&] { OfOneThread s(path, manual); });
        CHECK(in_child([&] {
                  std::error_code error;
                  const Store s(path, manual, error);
                  return std::string(error == kvs::make_error_code(kvs::errc::in_use) ? "" : "not in use");
              }) == "");
    };
    {
        const Alone alone(path, manual);
        refused();
    }
    {
        const OfOneThread alone(path, manual);
        refused();
    }
    const Store shared(path, manual);
    expect_error(kvs::errc::in_use, {path}, [&] { Alone s(path, manual); });
    expect_error(kvs::errc::in_use, {path}, [&] { OfOneThread s(path, manual); });
    CHECK(Store(path, manual).recovery().attached);
}

TEST_CASE("many processes open and close at the same time: no error, and clean in the end", "[shared]") {
    TempDir dir;
    const std::string path = dir.file();
    const auto rounds = static_cast<int>(kvs_test::rounds(150, 5000));
    std::deque<Process> processes;
    for (int p = 0; p < 4; ++p)
        processes.emplace_back([&](Process&) {
            Complaints complaints;
            for (int i = 0; i < rounds; ++i) {
                std::error_code error;
                if (p == 3 && i % 2 == 0) {
                    const Store s(path, reading, error);
                    complaints.unless(!error || error == kvs::make_error_code(kvs::errc::not_found) ||
                                          error == kvs::make_error_code(kvs::errc::not_a_store),
                                      "read-only: " + error.message());
                    continue;
                }
                Store s(path, i % 3 == 0 ? kvs::Options{} : manual, error);
                complaints.unless(!error, "open: " + error.message());
                if (error) break;
                complaints.unless(s.recovery().attached || s.recovery().outcome == Outcome::clean ||
                                      s.recovery().outcome == Outcome::created,
                                  "it was not closed cleanly");
                s.read_modify_write(
                    "n", [](std::optional<int> n) { return n.value_or(0) + 1; }, error);
                complaints.unless(!error, "set: " + error.message());
                if (i % 10 == 0) s.set("p" + std::to_string(p), std::string(static_cast<std::size_t>(i), 'x'), error);
                complaints.unless(!error, "set: " + error.message());
            }
            return complaints.text();
        });
    for (Process& process : processes) CHECK(process.end() == "");
    const Store s(path, manual);
    CHECK(s.recovery().outcome == Outcome::clean);
    CHECK(s.get<int>("n") == 3 * rounds + rounds / 2);
    CHECK(s.verify().ok());
}

TEST_CASE("255 handles have a file open for writing, and not one more", "[shared]") {
    TempDir dir;
    const std::string path = dir.file();
    std::deque<Store> handles;
    for (int i = 0; i < 255; ++i) handles.emplace_back(path, manual);
    expect_error(kvs::errc::in_use, {path}, [&] { Store s(path, manual); });
    const Store r(path, reading);
    handles.front().set("n", 1);
    handles.back().set("n", 2);
    CHECK(r.get<int>("n") == 2);
    handles.erase(handles.begin() + 100);
    Store s(path, manual);
    s.set("n", 3);
    CHECK(handles.front().get<int>("n") == 3);
    expect_error(kvs::errc::in_use, {path}, [&] { Store more(path, manual); });
    handles.clear();
    CHECK(s.verify().ok());
}

TEST_CASE("after one handle's flush failed, none claims that anything is durable until all have closed",
          "[shared][failed]") {
    TempDir dir;
    const std::string path = dir.file();
    {
        Store other(path, manual);
        other.set("n", 1);
        other.sync();
        Process late([&](Process& me) {
            Complaints complaints;
            Store s(path, {.sync = kvs::sync_every(std::chrono::milliseconds(1))});
            me.tell();
            me.wait();
            complaints.unless(error_of([&](auto& e) { s.sync(e); }) == not_durable, "sync of another process");
            complaints.unless(error_of([&](auto& e) { s.set("n", 4, e); }) == not_durable, "set of another process");
            complaints.unless(s.get<int>("n") == 2, "get of another process");
            return complaints.text();
        });
        REQUIRE(late.wait());
        {
            Stoppable failing(path, manual);
            failing.set("n", 2);
            Stopping::flush_error = EIO;
            expect_error(kvs::errc::io_error, {path}, [&] { failing.sync(); });
            Stopping::flush_error = 0;
            expect_error(kvs::errc::not_durable, {path}, [&] { failing.sync(); });
            expect_error(kvs::errc::not_durable, {path}, [&] { failing.set("n", 3); });
        }
        late.tell();
        CHECK(late.end() == "");
        expect_error(kvs::errc::not_durable, {path}, [&] { other.sync(); });
        expect_error(kvs::errc::not_durable, {path}, [&] { other.set("n", 3); });
        expect_error(kvs::errc::not_durable, {path}, [&] { other.batch([](auto& b) { b.set("n", 3); }); });
        expect_error(kvs::errc::not_durable, {path}, [&] { other.erase("n"); });
        expect_error(kvs::errc::not_durable, {path}, [&] { other.clear(); });
        expect_error(kvs::errc::not_durable, {path}, [&] { other.repair(); });
        CHECK(other.get<int>("n") == 2);
        // Who joins finds the same.
        Store joined(path, manual);
        expect_error(kvs::errc::not_durable, {path}, [&] { joined.set("n", 3); });
        expect_error(kvs::errc::not_durable, {path}, [&] { joined.sync(); });
    }
    Store s(path, manual);
    CHECK(s.recovery().outcome == Outcome::power_loss);
    CHECK(s.get<int>("n") == 1);
    s.set("n", 5);
    s.sync();
}
