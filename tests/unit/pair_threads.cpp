// Threads on a store of pairs: what readers see while others write, batch, clear, sync and copy.
#include <kvs/kvs.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::Complaints;
using kvs_test::TempDir;
using Store = kvs::Store<8>;

constexpr unsigned key_count = 6;
std::string name(unsigned i) { return "k" + std::to_string(i); }

/// A value that tells which key it is of, in all its bytes: numbers, booleans' like, short and long text.
kvs::Value value_of(unsigned key, std::uint64_t n) {
    const std::uint64_t byte = key + 1;
    switch (n % 4) {
        case 0: return kvs::Value(0x0101010101010101u * byte);
        case 1: return kvs::Value(static_cast<std::uint16_t>(0x0101u * byte));
        case 2: return kvs::Value(std::string(n % 30, static_cast<char>('a' + key)));
        default: return kvs::Value(std::string(300 + n % 3000, static_cast<char>('a' + key)));
    }
}
bool is_of(unsigned key, const kvs::Value& value) {
    const std::uint64_t byte = key + 1;
    switch (value.type()) {
        case kvs::Type::u64: return value.get<std::uint64_t>() == 0x0101010101010101u * byte;
        case kvs::Type::u16: return value.get<std::uint16_t>() == 0x0101u * byte;
        case kvs::Type::ascii:
            return value.text().find_first_not_of(static_cast<char>('a' + key)) == std::string_view::npos;
        default: return false;
    }
}

/// Readers that run until the writers are done.
class Readers {
public:
    template <class Body>
    void add(Body body) {
        threads_.emplace_back([this, body, seed = static_cast<unsigned>(threads_.size())] {
            std::mt19937_64 random(seed);
            Complaints complaints;
            while (!done_.load(std::memory_order_relaxed)) body(complaints, random);
            if (!complaints.text().empty()) failed_ = true;
            if (!complaints.text().empty()) text_ = complaints.text();
        });
    }
    bool join() {
        done_ = true;
        for (std::thread& thread : threads_) thread.join();
        return !failed_;
    }
    const std::string& text() const { return text_; }

private:
    std::atomic<bool> done_{false};
    std::atomic<bool> failed_{false};
    std::string text_;
    std::vector<std::thread> threads_;
};

}  // namespace

TEMPLATE_TEST_CASE("readers of pairs see whole values of the right key whatever writers do", "[threads][pairs]",
                   kvs::Crc32c, kvs::Xxh3) {
    TempDir dir;
    kvs::Store<8, TestType> s(dir.file(), {.sync = kvs::sync_every(std::chrono::microseconds(300))});
    for (unsigned i = 0; i < key_count; ++i) s.set(name(i), value_of(i, i));
    Readers readers;
    for (int i = 0; i < 2; ++i)
        readers.add([&](Complaints& complaints, std::mt19937_64& random) {
            const auto key = static_cast<unsigned>(random() % key_count);
            std::error_code error;
            if (random() % 8 == 0) {
                for (auto it = s.begin(error); it != s.end(); it.increment(error)) {
                    complaints.unless(!error, "iteration: " + error.message());
                    if (error) continue;
                    const auto k = static_cast<unsigned>(it->key().at(1) - '0');
                    complaints.unless(is_of(k, it->value()), "an entry is another key's");
                }
                return;
            }
            const auto value = s.value(name(key), error);
            complaints.unless(!error, name(key) + ": " + error.message());
            complaints.unless(!value || is_of(key, *value), name(key) + " has another key's value");
            complaints.unless(value.has_value() || key >= 3, name(key) + " is absent");
            const auto number = s.template get<std::uint64_t>(name(key), error);
            complaints.unless(!number || *number % 0x0101010101010101u == 0 || *number == 0x0101u * (key + 1),
                              name(key) + " is a number of its own");
        });
    std::mt19937_64 random(5);
    for (std::uint64_t i = 0; i < kvs_test::rounds(40'000, 1'000'000); ++i) {
        const auto key = static_cast<unsigned>(random() % key_count);
        const std::uint64_t n = random();
        // The last three come and go, and take over each other's records.
        if (key >= 3 && n % 3 == 0)
            s.erase(name(key));
        else if (n % 11 == 0)
            s.batch([&](auto& batch) {
                for (unsigned k = 0; k < key_count; ++k) batch.set(name(k), value_of(k, n));
            });
        else
            s.set(name(key), value_of(key, n));
        if (n % 1000 == 0) s.sync();
    }
    const bool good = readers.join();
    INFO(readers.text());
    CHECK(good);
    CHECK(s.verify().ok());
}

TEST_CASE("clear, copies and checks of pairs beside readers and writers", "[threads][pairs]") {
    TempDir dir;
    Store s(dir.file(), {.sync = kvs::sync_every(std::chrono::microseconds(500))});
    Readers others;
    others.add([&](Complaints& complaints, std::mt19937_64& random) {
        const auto key = static_cast<unsigned>(random() % key_count);
        const auto value = s.value(name(key));
        complaints.unless(!value || is_of(key, *value), name(key) + " has another key's value");
    });
    others.add([&](Complaints& complaints, std::mt19937_64& random) {
        const auto key = static_cast<unsigned>(random() % key_count);
        if (random() % 300 == 0)
            s.clear();
        else
            s.set(name(key), value_of(key, random()));
        complaints.unless(s.size() <= key_count, "too many keys");
    });
    for (std::uint64_t i = 0; i < kvs_test::rounds(30, 1000); ++i) {
        CHECK(s.verify().ok());
        const std::string copy = dir.file("copy");
        if (i % 2 == 0)
            s.copy_to(copy);
        else
            s.compact_to(copy);
        const Store other(copy, {.mode = kvs::Mode::read_only});
        CHECK(other.recovery().outcome == kvs::Recovery::Outcome::clean);
        CHECK(other.verify().ok());
        std::size_t entries = 0;
        for (const auto& entry : other) {
            CHECK(is_of(static_cast<unsigned>(entry.key().at(1) - '0'), entry.value()));
            ++entries;
        }
        CHECK(entries == other.size());
    }
    const bool good = others.join();
    INFO(others.text());
    CHECK(good);
    CHECK(s.verify().ok());
}

// A store of one thread has another one of its own, which syncs: what that stores to, reads took for nobody's.
TEST_CASE("a store of one thread is used while its own thread syncs", "[threads][pairs]") {
    using namespace std::chrono_literals;
    TempDir dir;
    kvs::Store<8, kvs::Unshared> store(dir.file(), {.sync = kvs::sync_every(1ms)});
    const std::uint64_t rounds = kvs_test::rounds(20000, 1000000);
    for (std::uint64_t i = 0; i < rounds; ++i) {
        store.set("n", i);
        REQUIRE(store.get<std::uint64_t>("n") == i);
        REQUIRE(store.contains("n"));
        if (i % 100 == 0) REQUIRE(store.verify().ok());
    }
}
