// The one workload that all contenders run: 1,000 keys of 22 characters, each with a value of 8 bytes.
//
// The keys are inserted in one random order and used in another, both the same in every run, so that nobody's memory
// is used front to back. Where a key is a literal it is used in the order in which the literals stand in the code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvs_bench {

inline constexpr std::size_t key_count = 1000;
inline constexpr std::size_t key_bytes = 22;

struct Pair {
    std::string key;
    std::uint64_t value;
};

struct Workload {
    std::vector<Pair> inserted;         // in the order of insertion
    std::vector<std::string> used;      // in the order of use
    std::vector<std::string> literals;  // in the order in which the literals stand in the code
    std::uint64_t sum = 0;              // of all values
};

const Workload& workload();

}  // namespace kvs_bench
