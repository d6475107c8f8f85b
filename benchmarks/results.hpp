// The times of all repetitions, and what is made of them.
#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <string>
#include <vector>

namespace kvs_bench {

/// Nanoseconds of one call: the middle of all repetitions, and the outermost ones.
struct Times {
    double median = 0;
    double fastest = 0;
    double slowest = 0;
};

/// Collects what Google Benchmark measures. It is the processor's time, because everything here happens in one thread
/// and in memory: what other programs do on the machine counts less.
class Collector : public benchmark::BenchmarkReporter {
public:
    bool ReportContext(const Context&) override { return true; }
    void ReportRuns(const std::vector<Run>& runs) override;

    /// By name of the benchmark; those that failed are not there.
    std::map<std::string, Times> times() const;

private:
    std::map<std::string, std::vector<double>> nanoseconds_;
};

}  // namespace kvs_bench
