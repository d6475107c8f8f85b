// libFuzzer: opens forged files and works with them. See recipe.hpp for what an input is.
//
//   cmake --preset asan && cmake --build --preset asan --target kvs_fuzz_open
//   .build/asan/tests/fuzz/kvs_fuzz_open -max_len=1024 -timeout=20 SCRATCH tests/fuzz/corpus
#include "fuzzer.hpp"
#include "open_body.hpp"

const kvs_fuzz::Target kvs_fuzz::this_target{open_and_operate, mutate};
