#include "ratios.hpp"

#include <fmt/format.h>

namespace kvs_bench {

namespace {

struct Comparison {
    const char* ours;    // an operation of each of our stores
    const char* theirs;  // a benchmark
    double goal;         // the ratio is at most this; 0 = no goal
};

// LMDB's quicker way to read carries the goal.
constexpr Comparison comparisons[] = {
    {"get_literal", "get_string/unordered_map", 0.5},
    {"get_literal", "get_string/LMDB_one_txn", 0.25},
    {"get_literal", "get_string/LMDB_txn_each", 0},
    {"get_literal", "get_string/SQLite_one_txn", 0},
    {"get_literal", "get_string/SQLite_txn_each", 0},
    {"get_kept_key", "get_string/unordered_map", 0},
    {"get_kept_key", "get_string/LMDB_one_txn", 0.25},
    {"get_string", "get_string/unordered_map", 1.2},
    {"get_string", "get_string/LMDB_one_txn", 0.25},
    {"get_string", "get_string/LMDB_txn_each", 0},
    {"get_string", "get_string/SQLite_one_txn", 0},
    {"get_string", "get_string/SQLite_txn_each", 0},
    {"set_literal", "set_string/unordered_map", 0},
    {"set_literal", "set_string/LMDB_txn_each", 0.12},
    {"set_literal", "set_string/SQLite_txn_each", 0},
    {"set_string", "set_string/unordered_map", 0},
    {"set_string", "set_string/LMDB_txn_each", 0.12},
    {"set_string", "set_string/SQLite_txn_each", 0},
    {"load", "load/unordered_map", 0},
    {"load", "load/LMDB_one_txn", 0},
    {"load", "load/LMDB_txn_each", 0},
    {"load", "load/SQLite_one_txn", 0},
    {"load", "load/SQLite_txn_each", 0},
};
// What the second copy and its checksum cost.
constexpr Comparison pair_comparisons[] = {
    {"get_literal", "get_literal/SeedStore", 1.4}, {"get_kept_key", "get_kept_key/SeedStore", 1.4},
    {"get_string", "get_string/SeedStore", 1.4},   {"set_literal", "set_literal/SeedStore", 2.5},
    {"set_string", "set_string/SeedStore", 2.5},   {"load", "load/SeedStore", 0},
};
// What the choice among two slots costs.
constexpr Comparison changed_comparisons[] = {
    {"get_literal", "get_literal/Store", 0},
    {"get_kept_key", "get_kept_key/Store", 0},
    {"get_string", "get_string/Store", 0},
};
constexpr const char* stores[] = {"SeedStore", "Unshared", "Store"};

void print_ratio(const Comparison& comparison, const char* store, double ratio) {
    fmt::print("{:<13}{:<11}{:<27}{:>8.3f}", comparison.ours, store, comparison.theirs, ratio);
    if (comparison.goal > 0) fmt::print("{:>8.2f}  {}", comparison.goal, ratio <= comparison.goal ? "met" : "NOT MET");
    fmt::print("\n");
}

}  // namespace

void print_times(const std::map<std::string, Times>& times) {
    fmt::print("{:<32}{:>10}{:>10}{:>10}\n", "nanoseconds per call", "median", "fastest", "slowest");
    for (const auto& [name, time] : times)
        fmt::print("{:<32}{:>10.1f}{:>10.1f}{:>10.1f}\n", name, time.median, time.fastest, time.slowest);
    fmt::print("\n");
}

void print_ratios(const std::map<std::string, Times>& times) {
    fmt::print("{:<13}{:<11}{:<27}{:>8}{:>8}\n", "operation", "kvs", "compared with", "ratio", "goal");
    const auto print = [&](const Comparison& comparison, const char* store) {
        const auto ours = times.find(fmt::format("{}/{}", comparison.ours, store));
        const auto theirs = times.find(comparison.theirs);
        if (ours == times.end() || theirs == times.end()) return;  // filtered out
        print_ratio(comparison, store, ours->second.median / theirs->second.median);
    };
    for (const char* store : stores)
        for (const Comparison& comparison : comparisons) print(comparison, store);
    for (const Comparison& comparison : pair_comparisons) print(comparison, "Store");
    for (const Comparison& comparison : changed_comparisons) print(comparison, "Changed");
}

}  // namespace kvs_bench
