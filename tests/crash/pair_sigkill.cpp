// [commit] Real deaths of a store of pairs: a child that writes, in batches and alone, is killed by SIGKILL at any
// instant, also while its thread syncs and while it opens the file that the child before it left. What was acknowledged
// is there, what was in flight is there whole or not at all, and nothing is damaged.
//
// The recorded cuts (pair_kill.cpp) are complete and show what the library says that it stores; these show that the
// machine and the kernel agree.
#include <kvs/kvs.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <new>
#include <random>
#include <stdexcept>
#include <string>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::TempDir;
using Store = kvs::Store<13>;
constexpr unsigned count_of_keys = 12;

std::string name(unsigned i) { return "counter " + std::to_string(i); }

/// The value of the n-th state of a key: numbers, short and long texts, absence.
std::optional<kvs::Value> value_of(unsigned key, std::uint64_t n) {
    switch ((n * 7 + key) % 5) {
        case 0: return std::nullopt;
        case 1: return kvs::Value(n);
        case 2: return kvs::Value(std::string(20, static_cast<char>('a' + n % 26)) + std::to_string(n));
        case 3: return kvs::Value(std::string(1500 + n % 1000, static_cast<char>('a' + n % 26)) + std::to_string(n));
        default: return kvs::Value(n % 2 == 0);
    }
}

/// What the child has done and said, in memory that it shares with its parent.
struct Told {
    std::atomic<std::uint64_t> states[count_of_keys]{};  ///< which state each key has
    std::atomic<std::uint64_t> operations{0};
    std::atomic<std::uint64_t> intended[count_of_keys]{};  ///< and which it has when the operation in flight is done
};

class SharedTold {
public:
    SharedTold() {
        void* at = ::mmap(nullptr, sizeof(Told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::runtime_error("no shared memory");
        told_ = new (at) Told;
    }
    SharedTold(const SharedTold&) = delete;
    SharedTold& operator=(const SharedTold&) = delete;
    ~SharedTold() { ::munmap(told_, sizeof(Told)); }
    Told* operator->() const { return told_; }
    Told& operator*() const { return *told_; }

private:
    Told* told_;
};

template <class Target>
void change(Target& target, unsigned key, std::uint64_t state) {
    if (const auto value = value_of(key, state))
        target.set(name(key), *value);
    else
        target.erase(name(key));
}

/// Writes for ever.
[[noreturn]] void work(const std::string& path, Told& told, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const kvs::SyncPolicy often = kvs::sync_every(std::chrono::microseconds(200));
    Store s(path, {.sync = random() % 2 == 0 ? often : kvs::sync_manual});
    for (;;) {
        const unsigned keys = random() % 3 == 0 ? 1 + static_cast<unsigned>(random() % 5) : 1;
        const auto first = static_cast<unsigned>(random() % count_of_keys);
        for (unsigned i = 0; i < keys; ++i) ++told.intended[(first + i) % count_of_keys];
        if (keys == 1)
            change(s, first, told.intended[first]);
        else
            s.batch([&](auto& batch) {
                for (unsigned i = 0; i < keys; ++i) {
                    const unsigned key = (first + i) % count_of_keys;
                    change(batch, key, told.intended[key]);
                }
            });
        ++told.operations;
        for (unsigned i = 0; i < keys; ++i) {
            const unsigned key = (first + i) % count_of_keys;
            told.states[key].store(told.intended[key]);
        }
        if (random() % 500 == 0) s.sync();
    }
}

bool has_state(const Store& s, unsigned key, std::uint64_t state) {
    return s.value(name(key)) == (state == 0 ? std::nullopt : value_of(key, state));
}

}  // namespace

TEST_CASE("a killed process loses nothing that it acknowledged, and leaves nothing half done", "[pair_sigkill]") {
    kvs_test::Campaign campaign(79);
    INFO(campaign.replay());
    TempDir dir;
    const std::string path = dir.file();
    SharedTold told;
    std::uint64_t done_in_flight = 0, resumed = 0;
    const std::uint64_t deaths = kvs_test::rounds(300, 20'000);
    for (std::uint64_t death = 0; death < deaths; ++death) {
        INFO("death " << death);
        const std::uint64_t seed = campaign.random()();
        const std::uint64_t before = told->operations;
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) kvs_test::or_die([&] { work(path, *told, seed); });
        // Some operations, then some steps more or fewer; now and then none, which kills the open.
        for (const std::uint64_t wanted = before + campaign.pick(600);
             told->operations < wanted && !kvs_test::has_ended(child);)
            ::sched_yield();
        for (volatile std::uint64_t spin = campaign.pick(200'000); spin != 0;) spin = spin - 1;
        REQUIRE(::kill(child, SIGKILL) == 0);
        REQUIRE(kvs_test::end_of(child) == "it was killed by signal " + std::to_string(SIGKILL));

        const Store s(path, {.sync = kvs::sync_manual});
        REQUIRE(s.recovery().outcome != kvs::Recovery::Outcome::power_loss);
        REQUIRE_FALSE(s.recovery().damaged());
        resumed += s.recovery().outcome == kvs::Recovery::Outcome::killed ? 1 : 0;
        bool old = true, done = true;
        std::size_t keys = 0;
        for (unsigned key = 0; key < count_of_keys; ++key) {
            old = old && has_state(s, key, told->states[key]);
            done = done && has_state(s, key, told->intended[key]);
            keys += s.contains(name(key)) ? 1 : 0;
        }
        // All that was acknowledged, and the operation in flight whole or not at all.
        REQUIRE((old || done));
        REQUIRE(s.size() == keys);
        REQUIRE(s.verify().ok());
        done_in_flight += done && !old ? 1 : 0;
        for (unsigned key = 0; key < count_of_keys; ++key) {
            const std::uint64_t state = old ? told->states[key].load() : told->intended[key].load();
            told->states[key] = state;
            told->intended[key] = state;
        }
    }
    CHECK(resumed > deaths / 4);
    INFO(deaths << " deaths in " << told->operations << " operations, " << done_in_flight << " done in flight");
    CHECK(told->operations > deaths);
}
