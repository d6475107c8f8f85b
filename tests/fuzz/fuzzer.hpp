// What libFuzzer calls, for the one file of a program that includes this and says what `kvs_fuzz::this_target` is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "recipe.hpp"

namespace kvs_fuzz {

extern const Target this_target;

}  // namespace kvs_fuzz

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Stack traces of allocations cost more than the runs.
extern "C" const char* __asan_default_options() { return "malloc_context_size=2:quarantine_size_mb=16"; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    kvs_fuzz::this_target.run({data, size});
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    std::mt19937_64 random(seed);
    if (random() % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
    kvs_fuzz::Recipe recipe = kvs_fuzz::parse({data, size});
    for (std::uint64_t changes = 1 + random() % 4; changes != 0; --changes)
        kvs_fuzz::this_target.mutate(recipe, random);
    std::vector<std::uint8_t> bytes = kvs_fuzz::serialize(recipe);
    if (bytes.size() > max_size) bytes.resize(max_size);
    std::copy(bytes.begin(), bytes.end(), data);
    return bytes.size();
}
