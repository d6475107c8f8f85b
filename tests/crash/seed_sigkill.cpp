// [seed-change] Real deaths: a child that writes is killed by SIGKILL at any instant, again and again over the same
// file. What it was told was done is there, no number is torn, and what it was about is old or new.
//
// The recorded cuts (seed_kill.cpp) are complete and show what the library says that it stores; these show that the
// machine and the kernel agree.
#include <kvs/kvs.hpp>

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <new>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::Pipe;
using kvs_test::TempDir;

// 13 + 1 + 8 + 4 bytes: the values of successive records lie at every alignment that an even size gives, and a record
// of one byte in front moves them to the odd ones.
using Store = kvs::SeedStore<13>;
constexpr unsigned counters = 12;

std::string name(unsigned i) { return "counter " + std::to_string(i); }

/// All bytes of a number change from one count to the next, so that any mixture of two is known as one.
std::uint64_t spread(std::uint64_t n) { return (n % 255 + 1) * 0x0101010101010101u; }
bool is_whole(std::uint64_t bits) { return bits != 0 && bits == (bits & 0xff) * 0x0101010101010101u; }

/// What the child tells, in memory that it shares with its parent: a pipe would fill up, and the deaths would all come
/// while the child waits for it.
class Told {
public:
    Told() {
        void* at = ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::runtime_error("no shared memory");
        counts_ = new (at) Counts;
    }
    Told(const Told&) = delete;
    Told& operator=(const Told&) = delete;
    ~Told() { ::munmap(counts_, sizeof(Counts)); }

    /// How often a counter was set, and how many operations there were in all.
    std::atomic<std::uint64_t>& count(unsigned i) { return counts_->counts[i]; }
    std::atomic<std::uint64_t>& operations() { return counts_->operations; }

private:
    struct Counts {
        std::atomic<std::uint64_t> counts[counters]{};
        std::atomic<std::uint64_t> operations{0};
    };
    static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
    Counts* counts_;
};

/// Writes for ever, and tells of every number before the next operation.
[[noreturn]] void work(const std::string& path, Told& told, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    Store s(path, {.sync = kvs::sync_manual});
    for (std::uint64_t i = 0;; ++i) {
        const auto key = static_cast<unsigned>(random() % counters);
        const std::uint64_t next = told.count(key) + 1;
        s.set(name(key), spread(next));
        told.count(key) = next;
        ++told.operations();
        if (i % 4 == 0) {
            // A key that changes its value length, comes and goes.
            const std::string other = "moving " + std::to_string(random() % 3);
            switch (random() % 4) {
                case 0: s.erase(other); break;
                case 1: s.set(other, std::string(20 + random() % 30, 'm')); break;
                case 2: s.set(other, std::string(random() % 16, 'm')); break;
                default: s.set(other, 7); break;
            }
        }
    }
}

}  // namespace

TEST_CASE("a process killed at any instant loses nothing that was acknowledged", "[seed_sigkill]") {
    kvs_test::Campaign campaign(77);
    INFO(campaign.replay());
    TempDir dir;
    const std::string path = dir.file();
    const std::uint64_t deaths = kvs_test::rounds(100, 5000);
    std::uint64_t newer = 0, abandoned = 0, twice = 0, operations = 0;
    for (const bool odd : {false, true}) {
        std::filesystem::remove(path);
        if (odd) Store(path, {.sync = kvs::sync_manual}).set("b", true);
        Told told;
        for (std::uint64_t death = 0; death < deaths; ++death) {
            const std::uint64_t seed = campaign.random()();
            const std::uint64_t before = told.operations();
            const pid_t child = ::fork();
            REQUIRE(child >= 0);
            if (child == 0) kvs_test::or_die([&] { work(path, told, seed); });
            // Some operations, then some steps more or fewer, which puts the death anywhere in one.
            for (const std::uint64_t wanted = before + 1 + campaign.pick(2000);
                 told.operations() < wanted && !kvs_test::has_ended(child);)
                ::sched_yield();
            for (volatile std::uint64_t spin = campaign.pick(3000); spin != 0;) spin = spin - 1;
            REQUIRE(::kill(child, SIGKILL) == 0);
            REQUIRE(kvs_test::end_of(child) == "it was killed by signal " + std::to_string(SIGKILL));

            INFO("death " << death);
            Store s(path, {.sync = kvs::sync_manual});
            REQUIRE(s.recovery().outcome != kvs::Recovery::Outcome::power_loss);
            REQUIRE(s.recovery().damaged_chains == 0);
            std::size_t ahead = 0;
            for (unsigned i = 0; i < counters; ++i) {
                const std::uint64_t count = told.count(i);
                const auto value = s.get<std::uint64_t>(name(i));
                INFO(name(i) << " was set " << count << " times");
                REQUIRE((value || count == 0));
                if (!value) continue;
                INFO("value " << std::hex << *value << ", acknowledged " << spread(count));
#if !KVS_THREAD_SANITIZER  // which has a number stored in two pieces
                REQUIRE(is_whole(*value));
                const bool in_flight = *value != spread(count);
                REQUIRE((!in_flight || *value == spread(count + 1)));
                ahead += in_flight ? 1 : 0;
#endif
                if (is_whole(*value) && *value == spread(count + 1)) ++told.count(i);
            }
            REQUIRE(ahead <= 1);
            newer += ahead;
            // Nothing but what the promise allows, and the store goes on.
            const kvs::Report report = s.verify();
            REQUIRE(report.problem_count <= 1);
            twice += s.recovery().duplicate_keys;
            abandoned = std::max(abandoned, report.abandoned_records);
            std::size_t entries = 0;
            for (const auto& entry : s) {
                const std::string key(entry.key());
                REQUIRE((key == "b" || key.find("counter ") == 0 || key.find("moving ") == 0));
                ++entries;
            }
            REQUIRE(entries == s.size());
            for (int i = 0; i < 3; ++i) {
                const std::string other = "moving " + std::to_string(i);
                if (s.contains(other)) s.set(other, 7);
            }
            REQUIRE(s.verify().ok());
        }
        operations += told.operations();
    }
    INFO(2 * deaths << " deaths in " << operations << " operations; in flight and done: " << newer << " numbers; "
                    << abandoned << " abandoned records, " << twice << " keys twice");
    CHECK(operations >= 2 * deaths);
}

// The creation, and the time before the first write, killed as well.
TEST_CASE("a process killed while it creates a store leaves one, or none", "[seed_sigkill][seed-creation]") {
    kvs_test::Campaign campaign(78);
    INFO(campaign.replay());
    TempDir dir;
    std::size_t absent = 0, unfinished = 0, finished = 0;
    for (std::uint64_t death = 0; death < kvs_test::rounds(100, 5000); ++death) {
        const std::string path = dir.file(std::to_string(death));
        Pipe pipe;
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            pipe.write("b");
            const Store s(path, {.sync = kvs::sync_manual});
            for (;;) ::pause();
        }
        REQUIRE(pipe.wait());
        for (volatile std::uint64_t spin = campaign.pick(1'000'000); spin != 0;) spin = spin - 1;
        REQUIRE(::kill(child, SIGKILL) == 0);
        REQUIRE(kvs_test::end_of(child) != "");
        std::error_code error;
        const bool exists = std::filesystem::exists(path);
        const Store reader(path, {.mode = kvs::Mode::read_only}, error);
        if (!error)
            ++finished;
        else if (error == kvs::errc::not_found)
            ++absent;
        else
            ++unfinished;
        REQUIRE((!error || error == kvs::errc::not_found || error == kvs::errc::not_a_store));
        REQUIRE(exists == (error != kvs::errc::not_found));
        if (!error) continue;
        Store s(path, {.sync = kvs::sync_manual});
        REQUIRE(s.recovery().outcome == kvs::Recovery::Outcome::created);
        s.set("k", 1);
        REQUIRE(s.verify().ok());
        std::filesystem::remove(path);
    }
    INFO(absent << " absent, " << unfinished << " unfinished, " << finished << " finished");
}
