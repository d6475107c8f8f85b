// libFuzzer: opens forged files of pairs and works with them. See pairs_body.hpp for what an input is.
//
//   cmake --preset asan && cmake --build --preset asan --target kvs_fuzz_pairs
//   .build/asan/tests/fuzz/kvs_fuzz_pairs -max_len=1024 -timeout=30 SCRATCH tests/fuzz/corpus_pairs
#include "fuzzer.hpp"
#include "pairs_body.hpp"

const kvs_fuzz::Target kvs_fuzz::this_target{forge_pairs, mutate_pairs};
