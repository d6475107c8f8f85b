// Telling of changes and changing together: version, wait_for_change, watch, watch_all, view, read_modify_write,
// set_if_absent; across handles, threads and processes.
#include <kvs/kvs.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/processes.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::expect_error;
using kvs_test::in_child;
using kvs_test::Process;
using kvs_test::TempDir;
using namespace std::chrono_literals;
using Store = kvs::Store<16>;

const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};

/// What callbacks told, for a test to wait for.
class Told {
public:
    void add(const kvs::Change& change) {
        const std::lock_guard guard(mutex_);
        ++calls_;
        if (change.after)
            last_[std::string(change.key)] = *change.after;
        else
            last_.erase(std::string(change.key));
        const auto text = [](const std::optional<kvs::Value>& value) {
            return value ? std::string(kvs::to_string(value->type())) : std::string("-");
        };
        text_ += std::string(change.key) + ":" + text(change.before) + ">" + text(change.after) + " ";
    }
    bool has(const std::string& key, const kvs::Value& value) const {
        const std::lock_guard guard(mutex_);
        const auto found = last_.find(key);
        return found != last_.end() && found->second == value;
    }
    bool lacks(const std::string& key) const {
        const std::lock_guard guard(mutex_);
        return last_.count(key) == 0;
    }
    int calls() const {
        const std::lock_guard guard(mutex_);
        return calls_;
    }
    std::string text() const {
        const std::lock_guard guard(mutex_);
        return text_;
    }

private:
    mutable std::mutex mutex_;
    int calls_ = 0;
    std::map<std::string, kvs::Value> last_;
    std::string text_;
};

/// Waits as long as it takes.
template <class Condition>
void until(Condition condition) {
    while (!condition()) std::this_thread::sleep_for(100us);
}

int next_of(std::optional<int> n) { return n.value_or(0) + 1; }

}  // namespace

TEST_CASE("every change raises the version for all handles, and a sync or a read does not", "[shared][watch]") {
    TempDir dir;
    const std::string path = dir.file();
    Store a(path, manual), b(path, manual);
    a.set("x", 0);
    const Store r(path, reading);
    std::uint64_t last = a.version();
    const auto rises = [&](auto change) {
        change();
        const std::uint64_t now = a.version();
        CHECK(now > last);
        CHECK(b.version() == now);
        CHECK(r.version() == now);
        last = now;
    };
    rises([&] { a.set("x", 1); });
    rises([&] { b.set("x", 1); });
    rises([&] { b.set("new", std::string(300, 'x')); });
    rises([&] { a.erase("x"); });
    rises([&] { a.batch([](auto& batch) { batch.set("x", 1), batch.set("y", 2); }); });
    rises([&] { b.set_if_absent("z", 1); });
    rises([&] { b.read_modify_write("z", next_of); });
    rises([&] { b.clear(); });
    a.sync();
    a.verify();
    CHECK(!a.get<int>("x"));
    CHECK(!a.erase("x"));
    a.set("x", 1);
    last = a.version();
    CHECK(!b.set_if_absent("x", 2));
    a.sync();
    CHECK(r.version() == last);
    kvs::Store<16, kvs::Unshared> alone(dir.file("alone"), manual);
    const std::uint64_t before = alone.version();
    alone.set("x", 1);
    CHECK(alone.version() > before);
}

TEST_CASE("waiting for a change ends with the change, of whoever, or with the time", "[shared][watch]") {
    TempDir dir;
    const std::string path = dir.file();
    Store s(path, manual);
    s.set("x", 0);
    const Store r(path, reading);
    const std::uint64_t seen = s.version();
    CHECK(s.wait_for_change(seen, 0s) == seen);
    CHECK(s.wait_for_change(seen, 3ms) == seen);
    CHECK(r.wait_for_change(seen, 15ms) == seen);
    CHECK(s.wait_for_change(seen - 1, 1h) == seen);
    for (int i = 0; i < 20; ++i) {
        const std::uint64_t before = s.version();
        std::thread of_reader([&] { r.wait_for_change(before, 1h); });
        std::thread of_writer([&] { s.wait_for_change(before, 1h); });
        CHECK(in_child([&] {
                  Store other(path, manual);
                  other.set("x", i);
                  return std::string();
              }) == "");
        of_reader.join();
        of_writer.join();
        CHECK(s.version() > before);
    }
    // The other way round: the child waits.
    const std::uint64_t before = s.version();
    Process child([&](Process& me) {
        Store other(path, manual);
        me.tell();
        return std::string(other.wait_for_change(before, 1h) > before ? "" : "it did not wait");
    });
    REQUIRE(child.wait());
    s.set("x", 100);
    CHECK(child.end() == "");
}

TEST_CASE("a watch tells what a key was and is, whoever changes it", "[shared][watch]") {
    TempDir dir;
    const std::string path = dir.file();
    Store s(path, manual), other(path, manual);
    const Store r(path, reading);
    s.set("k", 1);
    Told here, there, of_reader, all;
    kvs::Watch w1 = s.watch("k", [&](const kvs::Change& c) { here.add(c); });
    kvs::Watch w2 = other.watch("k", [&](const kvs::Change& c) { there.add(c); });
    kvs::Watch w3 = const_cast<Store&>(r).watch("k", [&](const kvs::Change& c) { of_reader.add(c); });
    kvs::Watch w4 = s.watch_all([&](const kvs::Change& c) { all.add(c); });
    const auto all_have = [&](const kvs::Value& value) {
        for (Told* told : {&here, &there, &of_reader, &all}) until([&] { return told->has("k", value); });
    };
    s.set("k", 2);
    all_have(kvs::Value(2));
    other.set("k", "text");
    all_have(kvs::Value("text"));
    CHECK(in_child([&] {
              Store child(path, manual);
              child.set("k", std::string(500, 'c'));
              child.set("of child", 7);
              return std::string();
          }) == "");
    all_have(kvs::Value(std::string(500, 'c')));
    until([&] { return all.has("of child", kvs::Value(7)); });
    s.erase("k");
    for (Told* told : {&here, &there, &of_reader, &all}) until([&] { return told->lacks("k"); });
    s.batch([](auto& b) { b.set("k", 5), b.set("l", 6); });
    all_have(kvs::Value(5));
    until([&] { return all.has("l", kvs::Value(6)); });
    CHECK(here.lacks("l"));
    s.clear();
    for (Told* told : {&here, &there, &of_reader, &all}) until([&] { return told->lacks("k"); });
    until([&] { return all.lacks("l") && all.lacks("of child"); });
    CHECK(here.text().find("k:i32>i32 k:i32>ascii k:ascii>ascii k:ascii>- k:->i32 k:i32>- ") == 0);
    // What is set to what it was is no change.
    const int calls = here.calls();
    s.set("k", 1);
    until([&] { return here.has("k", kvs::Value(1)); });
    s.set("k", 1);
    s.set("other", 1);
    until([&] { return all.has("other", kvs::Value(1)); });
    CHECK(here.calls() == calls + 1);
}

TEST_CASE("a watch ends with its object: moved, stopped, in its callback, before or after the store",
          "[shared][watch]") {
    TempDir dir;
    auto s = std::make_unique<Store>(dir.file(), manual);
    Told told, kept;
    kvs::Watch watch = s->watch("k", [&](const kvs::Change& c) { told.add(c); });
    kvs::Watch other = s->watch("k", [&](const kvs::Change& c) { kept.add(c); });
    s->set("k", 1);
    until([&] { return told.calls() == 1; });
    kvs::Watch moved(std::move(watch));
    watch.stop();  // holds none any more
    s->set("k", 2);
    until([&] { return told.calls() == 2; });
    moved = s->watch("other", [](const kvs::Change&) {});  // ends the first one
    s->set("k", 3);
    until([&] { return kept.has("k", kvs::Value(3)); });
    CHECK(told.calls() == 2);
    moved.stop();
    moved.stop();

    // In its callback, and so that the callback's own object goes.
    std::atomic<int> calls{0};
    std::unique_ptr<kvs::Watch> self = std::make_unique<kvs::Watch>();
    std::atomic<bool> is_set{false};
    *self = s->watch("k", [&](const kvs::Change&) {
        until([&] { return is_set.load(); });
        ++calls;
        self.reset();
    });
    is_set = true;
    s->set("k", 4);
    until([&] { return calls == 1 && kept.has("k", kvs::Value(4)); });
    s->set("k", 5);
    until([&] { return kept.has("k", kvs::Value(5)); });
    CHECK(calls == 1);

    // A callback may use the store, also change it and watch more of it.
    kvs::Watch more;
    Told of_more;
    kvs::Watch using_store = s->watch("k", [&](const kvs::Change& c) {
        s->set("copy", *c.after);
        if (c.after->get<int>() == 6) more = s->watch("later", [&](const kvs::Change& d) { of_more.add(d); });
    });
    s->set("k", 6);
    until([&] { return s->get<int>("copy") == 6; });
    until([&] {
        s->read_modify_write("later", next_of);
        return of_more.calls() > 0;
    });

    // Longer than the store.
    const int before = kept.calls();
    s.reset();
    Store again(dir.file(), manual);
    again.set("k", 7);
    CHECK(kept.calls() == before);
    other.stop();
    using_store = {};
}

TEST_CASE("a store with watches is moved and closed at any time", "[shared][watch][threads]") {
    TempDir dir;
    const std::string path = dir.file();
    Store writer(path, manual);
    std::atomic<bool> done{false};
    std::thread thread([&] {
        for (int i = 0; !done; ++i) writer.set("k" + std::to_string(i % 10), i);
    });
    for (int i = 0; i < 50; ++i) {
        std::optional<Store> s(std::in_place, path, manual);
        std::atomic<int> calls{0};
        kvs::Watch one = s->watch("k1", [&](const kvs::Change&) { ++calls; });
        kvs::Watch all = s->watch_all([&](const kvs::Change&) { ++calls; });
        Store moved(std::move(*s));
        if (i % 3 == 0) until([&] { return calls > 0; });
        if (i % 2 == 0) all.stop();
        s.reset();
        CHECK(!moved.empty());
    }
    done = true;
    thread.join();
}

TEST_CASE("watch fails with the key's errors, and in no store", "[shared][watch]") {
    TempDir dir;
    Store s(dir.file(), manual);
    const auto nothing = [](const kvs::Change&) {};
    expect_error(kvs::errc::key_empty, {}, [&] { (void)s.watch(std::string(), nothing); });
    expect_error(kvs::errc::key_too_long, {}, [&] { (void)s.watch(std::string(17, 'k'), nothing); });
    Store moved(std::move(s));
    expect_error(kvs::errc::not_found, {}, [&] { (void)s.watch("k", nothing); });
    expect_error(kvs::errc::not_found, {}, [&] { s.version(); });
    expect_error(kvs::errc::not_found, {}, [&] { s.wait_for_change(0, 1h); });
    expect_error(kvs::errc::not_found, {}, [&] { s.view([](const auto&) { return 0; }); });
    expect_error(kvs::errc::not_found, {}, [&] { s.set_if_absent("k", 1); });
    expect_error(kvs::errc::not_found, {}, [&] { s.read_modify_write("k", next_of); });
}

TEST_CASE("view, version, wait_for_change and watches have twins that do not throw", "[shared][watch][view]") {
    using namespace std::chrono_literals;
    TempDir dir;
    kvs::Store<16> store(dir.file(), manual);
    store.set("x", 1);
    std::error_code error = kvs::errc::corrupt;
    CHECK(store.view([](const auto& s) { return s.template get_or<int>("x", 0); }, error) == 1);
    CHECK_FALSE(error);
    store.view([](const auto&) {}, error);
    CHECK_FALSE(error);
    const std::uint64_t version = store.version(error);
    CHECK(version == store.version());
    store.set("x", 2);
    CHECK(store.wait_for_change(version, 1h, error) == store.version());
    CHECK_FALSE(error);
    std::atomic<int> told = 0;
    const kvs::Watch one = store.watch(
        "x", [&](const kvs::Change&) { ++told; }, error);
    CHECK_FALSE(error);
    const kvs::Watch all = store.watch_all([&](const kvs::Change&) { ++told; }, error);
    CHECK_FALSE(error);
    store.set("x", 3);
    while (told != 2) std::this_thread::yield();

    CHECK(store.view([](const auto&) -> int { throw std::runtime_error("mine"); }, error) == 0);
    CHECK(error == std::errc::operation_canceled);
    CHECK(store.view([](const auto&) -> int { throw std::bad_alloc(); }, error) == 0);
    CHECK(error == std::errc::not_enough_memory);
    CHECK(store.view([](const auto& s) { return s.template get<std::string>("x").has_value(); }, error) == false);
    CHECK(error == kvs::errc::type_mismatch);
    static_cast<void>(store.watch(
        std::string(99, 'k'), [](const kvs::Change&) {}, error));
    CHECK(error == kvs::errc::key_too_long);

    kvs::Store<16> gone(std::move(store));
    CHECK(store.view([](const auto&) { return 7; }, error) == 0);
    CHECK(error == kvs::errc::not_found);
    CHECK(store.version(error) == 0);
    CHECK(error == kvs::errc::not_found);
    CHECK(store.wait_for_change(0, 1h, error) == 0);
    CHECK(error == kvs::errc::not_found);
    static_cast<void>(store.watch(
        "x", [](const kvs::Change&) {}, error));
    CHECK(error == kvs::errc::not_found);
    static_cast<void>(store.watch_all([](const kvs::Change&) {}, error));
    CHECK(error == kvs::errc::not_found);
    gone.batch([](auto&) { throw std::system_error(kvs::errc::store_full); }, error);
    CHECK(error == kvs::errc::store_full);
    static_assert(noexcept(store.version(error))&& noexcept(store.view([](const auto&) {}, error)));
}

TEST_CASE("a view is of one moment, whoever writes", "[shared][view][threads]") {
    TempDir dir;
    const std::string path = dir.file();
    Store a(path, manual);
    const Store r(path, reading);
    a.batch([](auto& b) { b.set("x", 0), b.set("y", 0); });
    Process child([&](Process& me) {
        Store mine(path, manual);
        me.tell();
        for (int i = 1; i < 4000; ++i) {
            mine.batch([&](auto& b) { b.set("x", i), b.set("y", std::string(static_cast<std::size_t>(i % 50), 'y')); });
            mine.batch([&](auto& b) { b.set("x", i), b.set("y", -i); });
            if (i % 8 == 0) std::this_thread::yield();
        }
        mine.batch([](auto& b) { b.set("x", -1), b.set("y", 1); });
        return std::string();
    });
    REQUIRE(child.wait());
    int views = 0, busy = 0;
    for (bool last = false; !last;) {
        const Store& s = views++ % 2 == 0 ? a : r;
        try {
            const auto [x, y] = s.view([](const auto& v) {
                const int first = v.template get<int>("x").value();
                const auto second = v.value("y").value();
                return std::pair(first, second);
            });
            const bool fits = y.type() == kvs::Type::i32 ? y.template get<int>() == -x
                                                         : y.text().size() == static_cast<std::size_t>(x % 50);
            CHECK(fits);
            last = x == -1;
        } catch (const kvs::Error& error) {
            CHECK(error.code() == kvs::make_error_code(kvs::errc::in_use));
            ++busy;
        }
    }
    CHECK(child.end() == "");
    CHECK(busy <= views / 2);
}

TEST_CASE("what a view's function throws or returns comes through", "[shared][view]") {
    TempDir dir;
    Store s(dir.file(), manual);
    s.set("x", 1);
    const Store r(dir.file(), reading);
    for (const Store* one : {&std::as_const(s), &r}) {
        CHECK_THROWS_AS(one->view([](const auto&) -> int { throw std::runtime_error("mine"); }), std::runtime_error);
        expect_error(kvs::errc::type_mismatch, {"x"},
                     [&] { one->view([](const auto& v) { return v.template get<std::string>("x"); }); });
        int calls = 0;
        one->view([&](const auto&) { ++calls; });
        CHECK(calls == 1);
        CHECK(one->view([](const auto& v) { return v.size(); }) == 1);
        // One view in another.
        CHECK(one->view([](const auto& v) { return v.view([](const auto& w) { return w.get_or("x", 0); }); }) == 1);
    }
    // After a function that threw, and one that was disturbed each time and so ran under the lock, writing goes on.
    Store other(dir.file(), manual);
    int runs = 0;
    CHECK_THROWS_AS(s.view([&](const auto&) -> int {
        if (runs++ < 16) other.set("x", runs);
        throw std::runtime_error("mine");
    }),
                    std::runtime_error);
    CHECK(runs == 17);
    other.set("x", 2);
    s.set("x", 3);
    CHECK(r.get<int>("x") == 3);
    const kvs::Store<16, kvs::Unshared> alone(dir.file("alone"), manual);
    CHECK_THROWS_AS(alone.view([](const auto&) -> int { throw std::runtime_error("mine"); }), std::runtime_error);
}

TEST_CASE("a view whose function writes to its own store ends the program, and does not wait for ever",
          "[shared][view]") {
    TempDir dir;
    const pid_t child = ::fork();
    if (child == 0) {
        static_cast<void>(std::freopen("/dev/null", "w", stderr));
        kvs::Store<16> store(dir.file(), manual);
        std::signal(SIGABRT, SIG_DFL);
        store.view([&](const auto&) { store.set("k", 1); });
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(child > 0);
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT));
}

TEST_CASE("read_modify_write of threads and processes misses nothing", "[shared][rmw][threads]") {
    TempDir dir;
    const std::string path = dir.file();
    constexpr int each = 2000;
    Store s(path, manual);
    const auto work = [&](Store& mine, unsigned seed) {
        for (int i = 0; i < each; ++i) {
            mine.read_modify_write("n", next_of);
            // Erased in between, and set by who finds it absent: no step of another is done twice.
            if (seed % 2 == 0)
                mine.read_modify_write("erased", next_of);
            else if (i % 5 == 0)
                mine.erase("erased");
            mine.set("t" + std::to_string(seed), std::string(static_cast<std::size_t>(i % 90), 't'));
        }
    };
    std::deque<Process> processes;
    for (unsigned p = 0; p < 2; ++p)
        processes.emplace_back([&, p](Process& me) {
            Store mine(path, manual);
            me.tell();
            me.wait();
            work(mine, p);
            return std::string();
        });
    for (Process& p : processes) REQUIRE(p.wait());
    for (Process& p : processes) p.tell();
    std::vector<std::thread> threads;
    for (unsigned t = 2; t < 4; ++t) threads.emplace_back([&, t] { work(s, t); });
    for (std::thread& t : threads) t.join();
    for (Process& p : processes) CHECK(p.end() == "");
    CHECK(s.get<int>("n") == 4 * each);
    CHECK(s.get_or("erased", 0) <= 2 * each);
    CHECK(s.verify().ok());
}

TEST_CASE("read_modify_write: absent keys, other types, exceptions, and changes by its own function", "[shared][rmw]") {
    TempDir dir;
    Store s(dir.file(), manual);
    Store other(dir.file(), manual);
    CHECK(s.read_modify_write("n", next_of) == 1);
    CHECK(s.read_modify_write<int>("n", [](auto n) { return *n + 1; }) == 2);
    CHECK(s.read_modify_write("text", [](std::optional<std::string> t) { return t.value_or("") + "a"; }) == "a");
    CHECK(s.read_modify_write("text", [](std::optional<std::string> t) { return *t + std::string(300, 'b'); }).size() ==
          301);

    s.set("n", "text");
    expect_error(kvs::errc::type_mismatch, {"n"}, [&] { s.read_modify_write("n", next_of); });
    std::error_code error;
    CHECK(s.read_modify_write("n", next_of, error) == 0);
    CHECK(error == kvs::make_error_code(kvs::errc::type_mismatch));
    CHECK(s.get<std::string>("n") == "text");
    CHECK(s.read_modify_write(std::string(17, 'k'), next_of, error) == 0);
    CHECK(error == kvs::make_error_code(kvs::errc::key_too_long));

    const std::uint64_t version = s.version();
    CHECK_THROWS_AS(s.read_modify_write("m", [](std::optional<int>) -> int { throw std::runtime_error("mine"); }),
                    std::runtime_error);
    CHECK(!s.contains("m"));
    CHECK(s.version() == version);
    s.read_modify_write(
        "m", [](std::optional<int>) -> int { throw std::runtime_error("mine"); }, error);
    CHECK(error);
    CHECK(s.read_modify_write("m", next_of, error) == 1);
    CHECK(!error);

    // Disturbed three times, by a set, an erase, and a value of another length.
    int runs = 0;
    const int result = s.read_modify_write("m", [&](std::optional<int> n) {
        ++runs;
        if (runs == 1) other.set("m", 10);
        if (runs == 2) other.erase("m");
        if (runs == 3) other.set("m", std::uint64_t{20});
        return n.value_or(0) + 1;
    });
    CHECK(runs == 4);
    CHECK(result == 21);
    CHECK(other.get<int>("m") == 21);

    Store r(dir.file(), reading);
    expect_error(kvs::errc::read_only, {}, [&] { r.read_modify_write("m", next_of); });
    expect_error(kvs::errc::read_only, {}, [&] { r.set_if_absent("m", 1); });
    CHECK(r.get<int>("m") == 21);

    kvs::SeedStore<16> seed(dir.file("seed"), manual);
    CHECK(seed.read_modify_write("n", next_of) == 1);
    CHECK(seed.read_modify_write("n", next_of) == 2);
}

TEST_CASE("of many that set an absent key, one is told that it did", "[shared][rmw][threads]") {
    TempDir dir;
    const std::string path = dir.file();
    Store s(path, manual);
    constexpr int keys = 300;
    const auto claim = [&](Store& mine, int who) {
        int won = 0;
        for (int k = 0; k < keys; ++k) won += mine.set_if_absent("k" + std::to_string(k), who) ? 1 : 0;
        return won;
    };
    std::deque<Process> processes;
    for (int p = 0; p < 2; ++p)
        processes.emplace_back([&, p](Process& me) {
            Store mine(path, manual);
            me.tell();
            me.wait();
            mine.set("won by " + std::to_string(p), claim(mine, p));
            return std::string();
        });
    for (Process& p : processes) REQUIRE(p.wait());
    for (Process& p : processes) p.tell();
    std::atomic<int> won{0};
    std::vector<std::thread> threads;
    for (int t = 2; t < 4; ++t) threads.emplace_back([&, t] { won += claim(s, t); });
    for (std::thread& t : threads) t.join();
    for (Process& p : processes) CHECK(p.end() == "");
    CHECK(won + s.get_or("won by 0", -1000) + s.get_or("won by 1", -1000) == keys);
}

TEST_CASE("set_if_absent: defaults do not count, a value stays, and its twin", "[shared][rmw]") {
    TempDir dir;
    Store s(dir.file(), manual);
    s.register_defaults({{"k", 5}});
    CHECK(s.set_if_absent("k", 1));
    CHECK(!s.set_if_absent("k", "text"));
    CHECK(s.get<int>("k") == 1);
    s.erase("k");
    std::error_code error;
    CHECK(s.set_if_absent("k", std::string(70, 'k'), error));
    CHECK(!error);
    CHECK(!s.set_if_absent("k", 2, error));
    CHECK(!error);
    CHECK(!s.set_if_absent("new", std::string(70'000, 'k'), error));
    CHECK(error == kvs::make_error_code(kvs::errc::value_too_long));
    CHECK(!s.set_if_absent(std::string(), 1, error));
    CHECK(error == kvs::make_error_code(kvs::errc::key_empty));
    CHECK(s.get<std::string>("k") == std::string(70, 'k'));
    kvs::Store<16, kvs::Unshared> alone(dir.file("alone"), manual);
    CHECK(alone.set_if_absent("k", 1));
    CHECK(!alone.set_if_absent("k", 2));
}
