#include "results.hpp"

#include <algorithm>

#include "workload.hpp"

namespace kvs_bench {

void Collector::ReportRuns(const std::vector<Run>& runs) {
    for (const Run& run : runs) {
        if (run.run_type != Run::RT_Iteration) continue;
        if (run.cpu_accumulated_time <= 0) continue;  // a run that failed has no time
        const double passes = static_cast<double>(run.iterations);
        const double pass = run.cpu_accumulated_time / passes * 1e9;
        nanoseconds_[run.run_name.function_name].push_back(pass / static_cast<double>(key_count));
    }
}

std::map<std::string, Times> Collector::times() const {
    std::map<std::string, Times> result;
    for (const auto& [name, unsorted] : nanoseconds_) {
        std::vector<double> sorted = unsorted;
        std::sort(sorted.begin(), sorted.end());
        result[name] = {sorted[sorted.size() / 2], sorted.front(), sorted.back()};
    }
    return result;
}

}  // namespace kvs_bench
