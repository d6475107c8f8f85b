#include "measure.hpp"

#include <fmt/format.h>

#include <cstdio>

namespace kvs_bench {

namespace {
int failure_count = 0;
}

void fail(benchmark::State& state, const std::string& name, const char* reason) {
    ++failure_count;
    fmt::print(stderr, "FAILED: {}: {}\n", name, reason);
    state.SkipWithError(reason);
}

int failures() { return failure_count; }

}  // namespace kvs_bench
