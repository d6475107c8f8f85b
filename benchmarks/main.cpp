// Runs the benchmarks and prints how kvs does beside the others.
//
//   kvs_benchmarks [--quick] [the options of Google Benchmark]
//
// The repetitions of all benchmarks are mixed, so that a moment in which the machine is slow meets all contenders
// alike, and compared by their medians. --quick runs each for a moment, to see that it works; the figures say nothing
// then.
//
// Fails if a result is wrong, never because something is slow.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdio>
#include <string_view>
#include <vector>

#include "../tests/support/temp_dir.hpp"
#include "contenders.hpp"
#include "measure.hpp"
#include "ratios.hpp"
#include "results.hpp"

namespace {

constexpr const char* thorough[] = {"--benchmark_enable_random_interleaving=true", "--benchmark_repetitions=15",
                                    "--benchmark_min_time=0.05"};
constexpr const char* quick[] = {"--benchmark_min_time=0.001"};

/// Our options, then those given: of two that contradict each other the latter one counts.
std::vector<char*> with_our_options(int argc, char** argv) {
    const bool is_quick = argc > 1 && std::string_view(argv[1]) == "--quick";
    std::vector<char*> options{argv[0]};
    // Google Benchmark wants what `main` gets, but changes none of the characters.
    if (is_quick)
        for (const char* option : quick) options.push_back(const_cast<char*>(option));
    else
        for (const char* option : thorough) options.push_back(const_cast<char*>(option));
    options.insert(options.end(), argv + (is_quick ? 2 : 1), argv + argc);
    return options;
}

}  // namespace

int main(int argc, char** argv) {
    const bool is_quick = argc > 1 && std::string_view(argv[1]) == "--quick";
    std::vector<char*> options = with_our_options(argc, argv);
    int count = static_cast<int>(options.size());
    options.push_back(nullptr);
    benchmark::Initialize(&count, options.data());
    if (benchmark::ReportUnrecognizedArguments(count, options.data())) return 2;

    kvs_bench::add_kvs_seed();
    kvs_bench::add_kvs_pairs();
    kvs_bench::add_unordered_map();
    kvs_bench::add_lmdb();
    kvs_bench::add_sqlite();

    fmt::print("{} keys of {} characters with values of 8 bytes, files in {}\n\n", kvs_bench::key_count,
               kvs_bench::key_bytes, kvs_test::TempDir().path().parent_path().string());
    std::fflush(stdout);
    kvs_bench::Collector collector;
    benchmark::RunSpecifiedBenchmarks(&collector);
    kvs_bench::print_times(collector.times());
    kvs_bench::print_ratios(collector.times());
    if (argc <= (is_quick ? 2 : 1)) {
        kvs_bench::compare_durable(is_quick);
        kvs_bench::compare_sharing(is_quick);
    }

    if (kvs_bench::failures() != 0)
        fmt::print(stderr, "\nFAILED: {} benchmark runs had wrong results or could not be done.\n",
                   kvs_bench::failures());
    return kvs_bench::failures() == 0 ? 0 : 1;
}
