// What sharing costs: `set` in stores of the three sharing policies, two readers beside one, and a reader beside a
// writer that does nothing else. The cases take turns, a few milliseconds each, and are compared by their medians.
#include <fmt/format.h>
#include <kvs/kvs.hpp>

#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include "contenders.hpp"
#include "measure.hpp"

namespace kvs_bench {

namespace {

using Clock = std::chrono::steady_clock;
const kvs::Options manual{.sync = kvs::sync_manual};

double nanoseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}
double median_of(std::vector<double> all) {
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
}
const char* verdict(bool met) { return met ? "met" : "NOT MET"; }

/// Nanoseconds for one `set`, all keys `passes` times.
template <class Store>
double time_sets(Store& store, unsigned passes) {
    const auto start = Clock::now();
    for (unsigned pass = 0; pass < passes; ++pass)
        for (const std::string& key : workload().used) store.set(key, std::uint64_t{pass});
    return nanoseconds_since(start) / passes / key_count;
}

/// All keys `passes` times; nanoseconds for one `get`.
template <class Store>
double time_gets(const Store& store, unsigned passes) {
    const auto start = Clock::now();
    std::uint64_t found = 0;
    for (unsigned pass = 0; pass < passes; ++pass)
        for (const std::string& key : workload().used) found += store.template get<std::uint64_t>(key).has_value();
    require(found == std::uint64_t{passes} * key_count, "a key is missing");
    return nanoseconds_since(start) / passes / key_count;
}

/// Keeps the calling thread on the first or the second processor that this program may use, so that two threads are not
/// put on one: what is asked is how the library behaves, not the scheduler. Elsewhere than on Linux it does nothing.
void keep_on_processor([[maybe_unused]] int which) {
#if defined(__linux__)
    static const cpu_set_t allowed = [] {
        cpu_set_t set;
        CPU_ZERO(&set);
        sched_getaffinity(0, sizeof set, &set);
        return set;
    }();
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &allowed) && which-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
        }
#endif
}

template <class Store>
void fill(Store& store) {
    for (const auto& [key, value] : workload().inserted) store.set(key, value);
}

void compare_sets(unsigned rounds, unsigned passes) {
    const kvs_test::TempDir dir;
    kvs::Store<32, kvs::SharedProcesses> processes(dir.file("processes"), manual);
    kvs::Store<32, kvs::SharedThreads> threads(dir.file("threads"), manual);
    kvs::Store<32, kvs::Unshared> alone(dir.file("alone"), manual);
    fill(processes);
    fill(threads);
    fill(alone);
    std::vector<double> with_processes, with_threads, with_nobody;
    for (unsigned i = 0; i < rounds; ++i) {
        with_processes.push_back(time_sets(processes, passes));
        with_threads.push_back(time_sets(threads, passes));
        with_nobody.push_back(time_sets(alone, passes));
    }
    constexpr double goal = 25;
    const double cost = median_of(with_processes) - median_of(with_nobody);
    fmt::print(
        "set: SharedProcesses {:.1f} ns, SharedThreads {:.1f} ns, Unshared {:.1f} ns; sharing costs {:.1f} ns, goal "
        "{:.0f} ns  {}\n",
        median_of(with_processes), median_of(with_threads), median_of(with_nobody), cost, goal, verdict(cost <= goal));
}

void compare_readers(unsigned rounds, unsigned passes) {
    keep_on_processor(0);
    const kvs_test::TempDir dir;
    kvs::Store<32> store(dir.file(), manual);
    fill(store);
    std::vector<double> one, two, beside_writer;
    for (unsigned i = 0; i < rounds; ++i) {
        one.push_back(time_gets(store, passes));
        // Both begin together, when both have met the store.
        std::latch ready(2);
        const auto read = [&](int processor) {
            keep_on_processor(processor);
            time_gets(store, 1);
            ready.arrive_and_wait();
            return time_gets(store, passes);
        };
        double other = 0;
        std::thread second([&] { other = read(1); });
        const double mine = read(0);
        second.join();
        two.push_back((mine + other) / 2);
        std::atomic<bool> stop{false};
        std::thread writer([&] {
            keep_on_processor(1);
            while (!stop) time_sets(store, 1);
        });
        beside_writer.push_back(time_gets(store, passes));
        stop = true;
        writer.join();
    }
    constexpr double two_goal = 1.9, beside_goal = 0.7;
    const double together = 2 * median_of(one) / median_of(two);
    const double kept = median_of(one) / median_of(beside_writer);
    fmt::print("get: one reader {:.1f} ns; two readers do {:.2f} times as much, goal {:.1f}  {}\n", median_of(one),
               together, two_goal, verdict(together >= two_goal));
    fmt::print("get: beside a writer at full speed {:.2f} of the speed, goal {:.1f}  {}\n", kept, beside_goal,
               verdict(kept >= beside_goal));
}

}  // namespace

void compare_sharing(bool quick) try {
    fmt::print("\n");
    compare_sets(quick ? 2 : 31, quick ? 1 : 20);
    compare_readers(quick ? 2 : 31, quick ? 1 : 200);
} catch (const std::exception& error) {
    fmt::print("\nsharing could not be measured: {}\n", error.what());
}

}  // namespace kvs_bench
