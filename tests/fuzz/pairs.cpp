// libFuzzer: opens forged files of pairs and works with them. See pairs_body.hpp for what an input is.
//
//   cmake --preset asan && cmake --build --preset asan --target kvs_fuzz_pairs
//   .build/asan/tests/fuzz/kvs_fuzz_pairs -max_len=1024 -timeout=30 SCRATCH tests/fuzz/corpus_pairs
#include <algorithm>
#include <cstring>
#include <random>

#include "pairs_body.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

/// Stack traces of allocations cost more than the runs.
extern "C" const char* __asan_default_options() { return "malloc_context_size=2:quarantine_size_mb=16"; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    kvs_fuzz::forge_pairs({data, size});
    return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
    std::mt19937_64 random(seed);
    if (random() % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
    kvs_fuzz::Recipe recipe = kvs_fuzz::parse({data, size});
    for (std::uint64_t changes = 1 + random() % 4; changes != 0; --changes) kvs_fuzz::mutate_pairs(recipe, random);
    std::vector<std::uint8_t> bytes = kvs_fuzz::serialize(recipe);
    if (bytes.size() > max_size) bytes.resize(max_size);
    std::memcpy(data, bytes.data(), bytes.size());
    return bytes.size();
}
