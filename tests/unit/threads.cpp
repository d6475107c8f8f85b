// [readers] [hints] Several threads in one store: whoever reads, in whatever way, sees each operation whole or not
// at all. And the thread of `sync_every`.
//
// Every value tells which key it belongs to and repeats itself, so that a torn one, or another key's, is known at
// sight. Each test does a bounded number of writes; readers go on until the writers are done. What threads find is
// collected there and checked here. The build with ThreadSanitizer (CMakePresets.json, tsan) runs the same tests and
// has to be silent without suppressions.
#include <kvs/kvs.hpp>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/seed_image.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs::errc;
using kvs_test::Complaints;
using kvs_test::rounds;
using kvs_test::SeedImage;
using kvs_test::TempDir;

using Store = kvs::SeedStore<8>;
const kvs::Options quiet{.sync = kvs::sync_manual};

/// Threads that all begin at once; what is wrong in any of them is told by `join`.
class Crew {
public:
    explicit Crew(std::uint64_t seed) : campaign_(seed) {}
    ~Crew() { join(); }

    /// A thread that works until it is done. `work(complaints, random)`.
    template <class Work>
    void writer(Work work) {
        ++writers_;
        start([this, work](Complaints& complaints, std::mt19937_64& random) {
            work(complaints, random);
            --writers_;
        });
    }
    /// A thread that repeats its work until all writers are done, and at least once.
    template <class Work>
    void reader(Work work) {
        start([this, work](Complaints& complaints, std::mt19937_64& random) {
            do {
                work(complaints, random);
                ++reads_;
            } while (writers_ != 0 && complaints.text().empty());
        });
    }

    /// Lets them go, waits for all, and tells what is wrong.
    std::string join() {
        go_ = true;
        go_.notify_all();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
        std::string text;
        for (const auto& complaints : complaints_)
            if (!complaints->text().empty()) text += complaints->text() + "\n";
        return text;
    }
    std::string replay() const { return campaign_.replay(); }
    std::uint64_t reads() const { return reads_; }

private:
    template <class Work>
    void start(Work work) {
        complaints_.push_back(std::make_unique<Complaints>());
        threads_.emplace_back([this, work, complaints = complaints_.back().get(), seed = campaign_.random()()] {
            go_.wait(false);
            std::mt19937_64 random(seed);
            work(*complaints, random);
        });
    }

    kvs_test::Campaign campaign_;
    std::vector<std::unique_ptr<Complaints>> complaints_;
    std::vector<std::thread> threads_;
    std::atomic<bool> go_{false};
    std::atomic<int> writers_{0};
    std::atomic<std::uint64_t> reads_{0};
};

/// The value number `n` of a key: every number stands for a type, and every byte for the key.
kvs::Value value_of(unsigned key, std::uint64_t n) {
    const auto mark = static_cast<std::uint8_t>(key + 1);
    std::uint64_t repeated = 0x0101010101010101u * mark;
    const auto letter = static_cast<char>('a' + key);
    switch (n % 10) {
        case 0: return repeated;
        case 1: return static_cast<std::int64_t>(repeated);
        case 2: return std::bit_cast<double>(repeated);
        case 3: return static_cast<std::uint32_t>(repeated);
        case 4: return static_cast<std::int32_t>(repeated);
        case 5: return mark;
        case 6: return std::string(5 + n / 10 % 8, letter);
        case 7: return std::string(40 + n / 10 % 20, letter);
        case 8: return std::string(200 + n / 10 % 50, letter);
        default: return std::vector<std::byte>(1 + n / 10 % 14, static_cast<std::byte>(mark));
    }
}

/// "" if the value is one of that key's, whole.
std::string what_is_wrong(unsigned key, const kvs::Value& value) {
    const auto mark = static_cast<std::uint8_t>(key + 1);
    const std::uint64_t repeated = 0x0101010101010101u * mark;
    const auto letter = static_cast<char>('a' + key);
    const std::string_view text = value.text();
    bool right = false;
    switch (value.type()) {
        case kvs::Type::u64: right = value.get<std::uint64_t>() == repeated; break;
        case kvs::Type::i64: right = value.get<std::int64_t>() == static_cast<std::int64_t>(repeated); break;
        case kvs::Type::f64: right = std::bit_cast<std::uint64_t>(value.get<double>()) == repeated; break;
        case kvs::Type::u32: right = value.get<std::uint32_t>() == static_cast<std::uint32_t>(repeated); break;
        case kvs::Type::i32: right = value.get<std::int32_t>() == static_cast<std::int32_t>(repeated); break;
        case kvs::Type::u8: right = value.get<std::uint8_t>() == mark; break;
        case kvs::Type::ascii:
            right = text.find_first_not_of(letter) == std::string_view::npos &&
                    ((text.size() >= 5 && text.size() < 13) || (text.size() >= 40 && text.size() < 60) ||
                     (text.size() >= 200 && text.size() < 250));
            break;
        case kvs::Type::bytes: {
            right = !value.bytes().empty() && value.bytes().size() < 15;
            for (const std::byte byte : value.bytes()) right = right && byte == static_cast<std::byte>(mark);
            break;
        }
        default: break;
    }
    if (right) return "";
    std::string seen = "key " + std::to_string(key) + " is read as a " + kvs::to_string(value.type());
    if (is_text(value.type())) seen += " \"" + std::string(text) + "\"";
    return seen + " that it never was";
}

/// Keys in one chain of every value length, followed by others.
std::vector<std::string> keys_of_one_chain(std::size_t count) {
    std::vector<std::string> keys = SeedImage(8).keys_beside("first", 8, count - 1);
    keys.insert(keys.begin(), "first");
    return keys;
}

/// One read of any kind; `present` if the key is never absent.
void read_somehow(const Store& s, const std::string& key, unsigned number, bool present, std::uint64_t how,
                  Complaints& complaints) {
    std::error_code error;
    const std::uint64_t repeated = 0x0101010101010101u * (number + 1);
    switch (how % 7) {
        case 0: {
            const auto value = s.value(key, error);
            complaints.unless(!error, "value: " + error.message());
            complaints.unless(value || !present, key + " is absent");
            if (value)
                complaints.unless(what_is_wrong(number, *value).empty(), "value: " + what_is_wrong(number, *value));
            break;
        }
        case 1: {
            const auto n = s.get<std::uint64_t>(key, error);
            complaints.unless(!error || error == errc::type_mismatch, "get<u64>: " + error.message());
            complaints.unless(n || error || !present, key + " is absent for get<u64>");
            if (n) {
                // A smaller type is read as u64 too.
                const std::uint64_t whole[] = {repeated, repeated & 0xffffffff, repeated & 0xff};
                complaints.unless(*n == whole[0] || *n == whole[1] || *n == whole[2],
                                  "get<u64> of " + key + ": " + std::to_string(*n));
            }
            break;
        }
        case 2: {
            const auto text = s.get<std::string>(key, error);
            complaints.unless(!error || error == errc::type_mismatch, "get<string>: " + error.message());
            complaints.unless(text || error || !present, key + " is absent for get<string>");
            if (text)
                complaints.unless(what_is_wrong(number, kvs::Value(*text)).empty(),
                                  "get<string>: " + what_is_wrong(number, kvs::Value(*text)));
            break;
        }
        case 3: {
            std::array<std::byte, 256> buffer{};
            const auto bytes = s.get_into(key, buffer, error);
            complaints.unless(!error || error == errc::type_mismatch, "get_into: " + error.message());
            complaints.unless(bytes || error || !present, key + " is absent for get_into");
            for (std::size_t i = 1; bytes && i < *bytes; ++i)
                complaints.unless(buffer[i] == buffer[0], "get_into of " + key + " is torn");
            break;
        }
        case 4: {
            const bool found = s.contains(key, error);
            complaints.unless(!error, "contains: " + error.message());
            complaints.unless(found || !present, key + " is absent for contains");
            break;
        }
        case 5: {
            const auto type = s.type(key, error);
            complaints.unless(!error, "type: " + error.message());
            complaints.unless(type || !present, key + " has no type");
            break;
        }
        default: {
            const auto n = s.get_or(key, std::uint64_t{0}, error);
            complaints.unless(!error, "get_or: " + error.message());
            complaints.unless(n == 0 || n == repeated || n == (repeated & 0xffffffff) || n == (repeated & 0xff),
                              "get_or of " + key + ": " + std::to_string(n));
            break;
        }
    }
}

}  // namespace

// ---- readers -------------------------------------------------------------------------------------------------------

TEST_CASE("readers see whole values of the right key while types and lengths change", "[threads]") {
    TempDir dir;
    Store s{dir.file(), quiet};
    const auto keys = keys_of_one_chain(6);
    for (unsigned i = 0; i < keys.size(); ++i) s.set(keys[i], value_of(i, i));
    Crew crew(1);
    INFO(crew.replay());
    for (int writer = 0; writer < 2; ++writer)
        crew.writer([&](Complaints& complaints, std::mt19937_64& random) {
            std::error_code error;
            for (std::uint64_t i = 0; i < rounds(15'000, 1'000'000); ++i) {
                const auto key = static_cast<unsigned>(random() % keys.size());
                s.set(keys[key], value_of(key, random()), error);
                complaints.unless(!error, "set: " + error.message());
            }
        });
    for (int reader = 0; reader < 3; ++reader)
        crew.reader([&](Complaints& complaints, std::mt19937_64& random) {
            const auto key = static_cast<unsigned>(random() % keys.size());
            read_somehow(s, keys[key], key, true, random(), complaints);
        });
    CHECK(crew.join() == "");
    CHECK(s.size() == keys.size());
    CHECK(s.verify().ok());
}

TEST_CASE("a record used again by another key is not read as the one before", "[threads][hints]") {
    TempDir dir;
    Store s{dir.file(), quiet};
    const auto keys = keys_of_one_chain(3);
    s.set(keys[0], value_of(0, 0));  // stays, so that the chain has a beginning
    s.set(keys[1], value_of(1, 0));
    Crew crew(2);
    INFO(crew.replay());
    crew.writer([&](Complaints& complaints, std::mt19937_64& random) {
        for (std::uint64_t i = 0; i < rounds(15'000, 1'000'000); ++i) {
            const auto out = static_cast<unsigned>(1 + i % 2);
            const auto in = 3 - out;
            complaints.unless(s.erase(keys[out]), "nothing to erase");
            // Numbers of 8 bytes of three types, so that only the key can tell them apart.
            s.set(keys[in], value_of(in, random() % 3));
        }
    });
    for (int reader = 0; reader < 3; ++reader)
        crew.reader([&](Complaints& complaints, std::mt19937_64& random) {
            const auto key = static_cast<unsigned>(random() % 3);
            std::error_code error;
            const std::uint64_t repeated = 0x0101010101010101u * (key + 1);
            if (random() % 4 == 0) {
                read_somehow(s, keys[key], key, key == 0, random(), complaints);
            } else if (const auto n = s.get<std::uint64_t>(keys[key], error)) {  // by the shortest way
                complaints.unless(*n == repeated, keys[key] + " is " + std::to_string(*n));
            } else {
                complaints.unless(!error || error == errc::type_mismatch, "get: " + error.message());
                complaints.unless(error || key != 0, keys[key] + " is absent");
            }
        });
    CHECK(crew.join() == "");
    CHECK(s.size() == 2);
    CHECK(s.stats().keys + s.stats().deleted_records == 2);  // it was used again each time
    CHECK(s.verify().ok());
}

TEST_CASE("clear while others read and write", "[threads][hints]") {
    TempDir dir;
    Store s{dir.file(), quiet};
    auto keys = keys_of_one_chain(4);
    for (int i = 0; i < 6; ++i) keys.push_back("k" + std::to_string(i));
    Crew crew(3);
    INFO(crew.replay());
    for (int writer = 0; writer < 2; ++writer)
        crew.writer([&, writer](Complaints& complaints, std::mt19937_64& random) {
            std::error_code error;
            for (std::uint64_t i = 0; i < rounds(8'000, 500'000); ++i) {
                const auto key = static_cast<unsigned>(random() % keys.size());
                // After a clear the same places get records of other keys and lengths.
                if (writer == 0 && i % 40 == 39)
                    s.clear(error);
                else if (random() % 8 == 0)
                    s.erase(keys[key], error);
                else
                    s.set(keys[key], value_of(key, random()), error);
                complaints.unless(!error, "write: " + error.message());
            }
        });
    for (int reader = 0; reader < 2; ++reader)
        crew.reader([&](Complaints& complaints, std::mt19937_64& random) {
            const auto key = static_cast<unsigned>(random() % keys.size());
            read_somehow(s, keys[key], key, false, random(), complaints);
        });
    crew.reader([&](Complaints& complaints, std::mt19937_64&) {
        std::error_code error;
        std::size_t seen = 0;
        for (auto it = s.begin(error); it != s.end(); it.increment(error)) {
            complaints.unless(!error, "iteration: " + error.message());
            if (error) break;
            ++seen;
            const auto value = it->value(error);
            complaints.unless(!error, "entry: " + error.message());
            bool known = false;
            for (unsigned key = 0; key < keys.size(); ++key) {
                if (keys[key] != it->key()) continue;
                known = true;
                complaints.unless(what_is_wrong(key, value).empty(), "iteration: " + what_is_wrong(key, value));
            }
            complaints.unless(known, "a key that nobody set: " + std::string(it->key()));
        }
        complaints.unless(seen <= 10 * keys.size(), "iteration yields " + std::to_string(seen) + " entries");
    });
    CHECK(crew.join() == "");
    CHECK(s.verify().ok());
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : s) ++entries;
    CHECK(entries == s.size());
}

// ---- iteration -----------------------------------------------------------------------------------------------------

TEST_CASE("iteration beside writers sees every key that stays, once, and each entry whole", "[threads]") {
    TempDir dir;
    Store s{dir.file(), quiet};
    // Keys 0 to 5 change their value within its length; 6 to 11 come, go and change their length, in the same chains.
    const auto keys = keys_of_one_chain(12);
    for (unsigned i = 0; i < keys.size(); ++i) s.set(keys[i], value_of(i, 0));
    Crew crew(4);
    INFO(crew.replay());
    for (int writer = 0; writer < 2; ++writer)
        crew.writer([&](Complaints& complaints, std::mt19937_64& random) {
            std::error_code error;
            for (std::uint64_t i = 0; i < rounds(15'000, 1'000'000); ++i) {
                const auto key = static_cast<unsigned>(random() % keys.size());
                if (key < 6)
                    s.set(keys[key], value_of(key, random() % 3), error);
                else if (random() % 3 == 0)
                    s.erase(keys[key], error);
                else
                    s.set(keys[key], value_of(key, random()), error);
                complaints.unless(!error, "write: " + error.message());
            }
        });
    for (int reader = 0; reader < 2; ++reader)
        crew.reader([&](Complaints& complaints, std::mt19937_64&) {
            std::array<int, 12> seen{};
            std::error_code error;
            for (auto it = s.begin(error); it != s.end(); it.increment(error)) {
                complaints.unless(!error, "iteration: " + error.message());
                if (error) break;
                for (unsigned key = 0; key < keys.size(); ++key) {
                    if (keys[key] != it->key()) continue;
                    ++seen[key];
                    const auto value = it->value(error);
                    complaints.unless(!error, "entry: " + error.message());
                    complaints.unless(what_is_wrong(key, value).empty(), "iteration: " + what_is_wrong(key, value));
                }
            }
            for (unsigned key = 0; key < 6; ++key)
                complaints.unless(seen[key] == 1, keys[key] + " is seen " + std::to_string(seen[key]) + " times");
        });
    CHECK(crew.join() == "");
    CHECK(s.verify().ok());
}

// ---- the whole file beside writers ---------------------------------------------------------------------------------

TEST_CASE("checks, figures and copies are of one moment while others write", "[threads]") {
    TempDir dir;
    Store s{dir.file(), {.sync = kvs::sync_every(std::chrono::microseconds(50))}};
    const auto keys = keys_of_one_chain(6);
    for (unsigned i = 0; i < keys.size(); ++i) s.set(keys[i], value_of(i, i));
    Crew crew(5);
    INFO(crew.replay());
    for (int writer = 0; writer < 2; ++writer)
        crew.writer([&](Complaints& complaints, std::mt19937_64& random) {
            std::error_code error;
            for (std::uint64_t i = 0; i < rounds(4'000, 200'000); ++i) {
                const auto key = static_cast<unsigned>(random() % keys.size());
                s.set(keys[key], value_of(key, random()), error);
                complaints.unless(!error, "set: " + error.message());
                if (i % 500 == 0) s.sync(error);
                complaints.unless(!error, "sync: " + error.message());
            }
        });
    crew.reader([&](Complaints& complaints, std::mt19937_64& random) {
        std::error_code error;
        const kvs::Report report = s.verify(error);
        complaints.unless(!error && report.ok(), "verify is not content");
        complaints.unless(report.keys == keys.size(), "verify counts " + std::to_string(report.keys));
        complaints.unless(s.stats(error).keys == keys.size() && !error, "stats counts otherwise");
        complaints.unless(s.size() == keys.size(), "size is " + std::to_string(s.size()));
        const std::string copy = dir.file("copy");
        if (random() % 2 == 0)
            s.copy_to(copy, error);
        else
            s.compact_to(copy, error);
        complaints.unless(!error, "copy: " + error.message());
        const Store copied(copy, {.mode = kvs::Mode::read_only}, error);
        complaints.unless(!error && copied.verify(error).ok(), "the copy is damaged");
        for (unsigned key = 0; key < keys.size() && !error; ++key)
            read_somehow(copied, keys[key], key, true, 0, complaints);
    });
    crew.reader([&](Complaints& complaints, std::mt19937_64& random) {
        const auto key = static_cast<unsigned>(random() % keys.size());
        read_somehow(s, keys[key], key, true, random(), complaints);
    });
    CHECK(crew.join() == "");
}

TEST_CASE("defaults are registered while others read", "[threads]") {
    TempDir dir;
    Store s{dir.file(), quiet};
    s.register_defaults({{"d0", 0}});
    Crew crew(6);
    crew.writer([&](Complaints&, std::mt19937_64&) {
        for (int i = 0; i < 200; ++i) {
            const std::string key = "d" + std::to_string(i % 20);
            s.register_defaults({{key, i}, {"text", std::string(static_cast<std::size_t>(30 + i), 'd')}});
        }
    });
    for (int reader = 0; reader < 2; ++reader)
        crew.reader([&](Complaints& complaints, std::mt19937_64& random) {
            complaints.unless(s.get<int>("d0").has_value(), "a default is gone");
            const std::string key = "d" + std::to_string(random() % 20);
            const int n = s.get_or(key, -1);
            complaints.unless(n == -1 || "d" + std::to_string(n % 20) == key, key + " is " + std::to_string(n));
            const std::string text = s.get_or("text", "");
            complaints.unless(text.find_first_not_of('d') == std::string::npos, "text is torn");
        });
    CHECK(crew.join() == "");
}

// ---- when things are flushed ---------------------------------------------------------------------------------------

namespace {

/// Counts flushes, and lets a test be the clock of the thread that syncs: `wait_for` returns when the test says that
/// the interval is over, or when the store wakes the thread.
struct ClockPlatform : kvs::detail::PosixPlatform {
    struct Shared {
        std::mutex mutex;
        std::condition_variable changed;
        int flushes = 0;
        int flushing = 0;              // within the call
        bool hold_flush = false;       // a flush waits until the test lets it go
        int intervals = 0;             // how often it began to wait out an interval
        bool asleep_idle = false;      // with nothing to do
        bool asleep_interval = false;  // until the interval is over
        bool interval_over = false;
        std::uint64_t nanoseconds = 0;
        int started = 0;
        int joined = 0;
    };
    static inline std::unique_ptr<Shared> shared;

    static int flush(File file) noexcept {
        std::unique_lock lock(shared->mutex);
        ++shared->flushes;
        ++shared->flushing;
        shared->changed.notify_all();
        shared->changed.wait(lock, [] { return !shared->hold_flush; });
        --shared->flushing;
        return PosixPlatform::flush(file);
    }

    class Condition : public PosixPlatform::Condition {
    public:
        void wait(Mutex& held) noexcept {
            note([](Shared& s) { s.asleep_idle = true; });
            PosixPlatform::Condition::wait(held);
            note([](Shared& s) { s.asleep_idle = false; });
        }
        void wait_for(Mutex& held, std::uint64_t nanoseconds) noexcept {
            woken_ = false;  // who wakes the thread before it sleeps wakes nobody
            note([&](Shared& s) {
                ++s.intervals;
                s.asleep_interval = true;
                s.nanoseconds = nanoseconds;
                mutex_ = &held;
                self_ = this;
            });
            for (bool over = false; !over && !std::exchange(woken_, false);) {
                PosixPlatform::Condition::wait(held);
                note([&](Shared& s) { over = std::exchange(s.interval_over, false); });
            }
            note([](Shared& s) { s.asleep_interval = false; });
        }
        void wake_all() noexcept {
            woken_ = true;
            PosixPlatform::Condition::wake_all();
        }
        /// The test's: the interval is over.
        static void end_interval() {
            await([](const Shared& s) { return s.asleep_interval; });
            mutex_->lock();
            note([](Shared& s) { s.interval_over = true; });
            self_->PosixPlatform::Condition::wake_all();
            mutex_->unlock();
        }

    private:
        bool woken_ = false;
        static inline Mutex* mutex_ = nullptr;
        static inline Condition* self_ = nullptr;
    };

    class Thread : public PosixPlatform::Thread {
    public:
        int start(void* (*body)(void*), void* argument) noexcept {
            note([](Shared& s) { ++s.started; });
            return PosixPlatform::Thread::start(body, argument);
        }
        void join() noexcept {
            PosixPlatform::Thread::join();
            note([](Shared& s) { ++s.joined; });
        }
    };

    template <class Change>
    static void note(Change change) {
        const std::lock_guard lock(shared->mutex);
        change(*shared);
        shared->changed.notify_all();
    }
    template <class Condition>
    static void await(Condition condition) {
        std::unique_lock lock(shared->mutex);
        shared->changed.wait(lock, [&] { return condition(*shared); });
    }
    static int flushes() {
        const std::lock_guard lock(shared->mutex);
        return shared->flushes;
    }
    static void restart() { shared = std::make_unique<Shared>(); }
};

template <class Sharing>
using Clocked = kvs::Store<8, kvs::NoBackup, Sharing, ClockPlatform>;

}  // namespace

TEMPLATE_TEST_CASE("sync_every flushes by itself what is pending, and nothing else", "[threads][sync]",
                   kvs::SharedThreads, kvs::Unshared) {
    using Platform = ClockPlatform;
    TempDir dir;
    Platform::restart();
    {
        Clocked<TestType> s{dir.file(), {.sync = kvs::sync_every(std::chrono::milliseconds(1500))}};
        CHECK(Platform::flushes() == 2);  // the creation
        CHECK(s.template get<int>("k") == std::nullopt);
        CHECK(Platform::shared->started == 0);  // a store that is only read has no thread
        s.set("k", 1);
        CHECK(Platform::shared->started == 1);
        Platform::await([](const auto& shared) { return shared.asleep_interval; });
        CHECK(Platform::shared->nanoseconds == 1'500'000'000u);
        for (int i = 0; i < 100; ++i) s.set("k" + std::to_string(i), i);
        CHECK(s.erase("k5"));
        s.clear();
        s.set("k", 1);
        CHECK(Platform::flushes() == 2);  // the interval is not over
        Platform::Condition::end_interval();
        Platform::await([](const auto& shared) { return shared.flushes == 3 && shared.asleep_idle; });
        // Reading, and a sync with nothing to do, wake nobody.
        CHECK(s.template get<int>("k") == 1);
        s.sync();
        s.sync();
        CHECK(Platform::flushes() == 3);
        CHECK(Platform::shared->intervals == 1);
        // What is synced by hand is not synced again.
        s.set("k", 2);
        Platform::await([](const auto& shared) { return shared.asleep_interval; });
        s.sync();
        CHECK(Platform::flushes() == 4);
        Platform::Condition::end_interval();
        Platform::await([](const auto& shared) { return shared.asleep_idle; });
        CHECK(Platform::flushes() == 4);
        // And so on.
        for (int i = 1; i <= 20; ++i) {
            s.set("k", i);
            Platform::Condition::end_interval();
            Platform::await([&](const auto& shared) { return shared.flushes == 4 + i && shared.asleep_idle; });
        }
    }
    CHECK(Platform::flushes() == 24);  // nothing was pending, so the close had nothing to flush
    CHECK(Platform::shared->started == 1);
    CHECK(Platform::shared->joined == 1);
}

TEST_CASE("a store closes whatever its thread is doing, and flushes what is pending", "[threads][sync]") {
    using Platform = ClockPlatform;
    TempDir dir;
    for (const char* const doing : {"waiting out the interval", "idle", "just started", "flushing"}) {
        INFO(doing);
        const std::string what = doing;
        Platform::restart();
        int before = 0;
        {
            Clocked<kvs::SharedThreads> s{dir.file(), {.sync = kvs::sync_every(std::chrono::seconds(1))}};
            s.set("k", 1);
            if (what == "waiting out the interval") {
                Platform::await([](const auto& shared) { return shared.asleep_interval; });
            } else if (what == "idle") {
                Platform::Condition::end_interval();
                Platform::await([](const auto& shared) { return shared.asleep_idle; });
            } else if (what == "flushing") {
                Platform::note([](auto& shared) { shared.hold_flush = true; });
                Platform::Condition::end_interval();
                Platform::await([](const auto& shared) { return shared.flushing == 1; });
                s.set("k", 2);  // a writer does not wait for the flush
                CHECK(s.get<int>("k") == 2);
                Platform::note([](auto& shared) { shared.hold_flush = false; });
            }
            before = Platform::flushes();
        }
        const bool pending = what != "idle";
        if (what != "flushing") CHECK(Platform::flushes() == before + (pending ? 1 : 0));
        CHECK(Platform::shared->joined == 1);
        std::filesystem::remove(dir.file());
    }
}

TEST_CASE("sync waits for a flush that is under way, and for the one after it", "[threads][sync]") {
    using Platform = ClockPlatform;
    TempDir dir;
    Platform::restart();
    Clocked<kvs::SharedThreads> s{dir.file(), quiet};
    s.set("k", 1);
    const int before = Platform::flushes();
    Platform::note([](auto& shared) { shared.hold_flush = true; });
    std::thread first([&] { s.sync(); });
    Platform::await([](const auto& shared) { return shared.flushing == 1; });
    s.set("k", 2);  // not in the flush that has begun
    std::atomic<int> done{0};
    std::vector<std::thread> others;
    for (int i = 0; i < 3; ++i)
        others.emplace_back([&] {
            s.sync();
            ++done;
        });
    CHECK(done == 0);
    CHECK(s.get<int>("k") == 2);  // readers wait for nobody's flush
    Platform::note([](auto& shared) { shared.hold_flush = false; });
    first.join();
    for (std::thread& other : others) other.join();
    CHECK(Platform::flushes() == before + 2);  // one for the three
    s.sync();
    CHECK(Platform::flushes() == before + 2);
}

TEST_CASE("sync_each flushes before a write returns, sync_manual never by itself", "[threads][sync]") {
    using Platform = ClockPlatform;
    TempDir dir;
    Platform::restart();
    {
        Clocked<kvs::SharedThreads> s{dir.file("each"), {.sync = kvs::sync_each}};
        int expected = Platform::flushes();
        const auto flushed_once = [&] { return Platform::flushes() == ++expected; };
        s.set("k", 1);
        CHECK(flushed_once());
        s.set("k", 2);
        CHECK(flushed_once());
        s.set("k", "text");
        CHECK(flushed_once());
        CHECK(s.erase("k"));
        CHECK(flushed_once());
        s.set("k", 3);
        CHECK(flushed_once());
        s.clear();
        CHECK(flushed_once());
        CHECK(s.get_or("k", 5) == 5);
        s.sync();
        CHECK(Platform::flushes() == expected);
    }
    Platform::restart();
    {
        Clocked<kvs::SharedThreads> s{dir.file("manual"), quiet};
        const int created = Platform::flushes();
        for (int i = 0; i < 1000; ++i) s.set("k" + std::to_string(i), i);
        CHECK(Platform::flushes() == created);
        s.sync();
        CHECK(Platform::flushes() == created + 1);
        s.set("k", 1);
    }
    CHECK(Platform::flushes() == 2 + 1 + 1);  // created, synced, closed
    CHECK(Platform::shared->started == 0);
}

// The thread that syncs is not there in the child, and may hold a lock or be in a flush when the process forks.
TEST_CASE("a fork while the thread syncs leaves the child able to drop the store", "[threads][sync][fork]") {
    using Platform = ClockPlatform;
    TempDir dir;
    for (const bool flushing : {false, true}) {
        Platform::restart();
        std::optional<Clocked<kvs::SharedThreads>> s;
        s.emplace(dir.file(), kvs::Options{.sync = kvs::sync_every(std::chrono::seconds(1))});
        s->set("k", 1);
        if (flushing) {
            Platform::note([](auto& shared) { shared.hold_flush = true; });
            Platform::Condition::end_interval();
            Platform::await([](const auto& shared) { return shared.flushing == 1; });
        } else {
            Platform::await([](const auto& shared) { return shared.asleep_interval; });
        }
        CHECK(kvs_test::in_child([&]() -> std::string {
                  std::error_code error;
                  s->set("k", 2, error);
                  if (error != errc::forked) return "set: " + error.message();
                  s->sync(error);
                  if (error != errc::forked) return "sync: " + error.message();
                  s.reset();
                  return "";
              }) == "");
        Platform::note([](auto& shared) { shared.hold_flush = false; });
        s->set("k", 3);
        s->sync();
        CHECK(s->get<int>("k") == 3);
        s.reset();
        CHECK(Platform::shared->joined == 1);
    }
}
