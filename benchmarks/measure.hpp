// What is measured, once for all contenders: `get`, `set` and `load` of all keys of the workload, with their results
// checked.
//
// A contender is a class that is constructed on an empty directory and has
//
//   load(pairs)       stores all pairs, in the quickest way it knows
//   set(key, value)   each call a change of its own, not part of a larger transaction
//   Reader            a class that is constructed on the contender and has get(key, value), false if the key is absent
//
// An iteration is a pass over all keys: what the clock and the check cost disappears among 1,000 calls.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "../tests/support/temp_dir.hpp"
#include "workload.hpp"

namespace kvs_bench {

/// Ends the benchmark and counts it as failed, so that the program fails too: what is quick and wrong is not quick.
void fail(benchmark::State& state, const std::string& name, const char* reason);
int failures();

inline void require(bool condition, const char* otherwise) {
    if (!condition) throw std::runtime_error(otherwise);
}

/// Registers a benchmark; an exception is a failure of it.
template <class Body>
auto* add(const std::string& name, Body body) {
    return benchmark::RegisterBenchmark(name.c_str(), [name, body](benchmark::State& state) {
        try {
            body(state);
        } catch (const std::exception& error) {
            fail(state, name, error.what());
        }
    });
}

// ---- get -----------------------------------------------------------------------------------------------------------

/// The sum of all values, each read by its key.
template <class Reader>
std::uint64_t sum_by_string(Reader& reader) {
    std::uint64_t sum = 0;
    std::uint64_t value = 0;
    for (const std::string& key : workload().used)
        if (reader.get(key, value)) sum += value;
    return sum;
}

/// `sum_all(reader)` reads every key and returns the sum of the values.
template <class Contender, class Reader, class SumAll>
void add_get(const std::string& name, SumAll sum_all) {
    add(name, [sum_all](benchmark::State& state) {
        const kvs_test::TempDir dir;
        Contender contender(dir.path());
        contender.load(workload().inserted);
        Reader reader(contender);
        for (auto _ : state) require(sum_all(reader) == workload().sum, "the values read are not those stored");
    });
}
template <class Contender, class Reader = typename Contender::Reader>
void add_get(const std::string& name) {
    add_get<Contender, Reader>(name, sum_by_string<Reader>);
}

// ---- set -----------------------------------------------------------------------------------------------------------

/// Sets every key, to `value`, `value + 1` and so on.
template <class Contender>
void set_by_string(Contender& contender, std::uint64_t value) {
    for (const std::string& key : workload().used) contender.set(key, value++);
}

template <class Contender>
bool holds(Contender& contender, const std::vector<std::string>& keys, std::uint64_t value) {
    typename Contender::Reader reader(contender);
    std::uint64_t found = 0;
    for (const std::string& key : keys)
        if (!reader.get(key, found) || found != value++) return false;
    return true;
}

/// `set_all(contender, value)` sets the first of `keys` to `value`, the second to `value + 1` and so on.
template <class Contender, class SetAll>
void add_set(const std::string& name, const std::vector<std::string>& keys, SetAll set_all) {
    add(name, [&keys, set_all](benchmark::State& state) {
        const kvs_test::TempDir dir;
        Contender contender(dir.path());
        contender.load(workload().inserted);
        std::uint64_t value = 0;  // other values in every pass
        for (auto _ : state) set_all(contender, value += key_count);
        require(holds(contender, keys, value), "the values set are not there");
    });
}
template <class Contender>
void add_set(const std::string& name) {
    add_set<Contender>(name, workload().used, set_by_string<Contender>);
}

// ---- load ----------------------------------------------------------------------------------------------------------

template <class Contender>
void load_one_by_one(Contender& contender) {
    for (const auto& [key, value] : workload().inserted) contender.set(key, value);
}
template <class Contender>
void load_at_once(Contender& contender) {
    contender.load(workload().inserted);
}

/// `load_all(contender)` stores all keys where there are none yet. To make a contender and to close it is not timed,
/// and takes long: therefore few passes.
template <class Contender, class LoadAll>
void add_load(const std::string& name, LoadAll load_all) {
    constexpr int passes = 20;
    add(name, [load_all](benchmark::State& state) {
        for (auto _ : state) {
            state.PauseTiming();
            {
                const kvs_test::TempDir dir;
                Contender contender(dir.path());
                state.ResumeTiming();
                load_all(contender);
                state.PauseTiming();
                typename Contender::Reader reader(contender);
                require(sum_by_string(reader) == workload().sum, "the values read are not those loaded");
            }
            state.ResumeTiming();
        }
    })->Iterations(passes);
}

}  // namespace kvs_bench
