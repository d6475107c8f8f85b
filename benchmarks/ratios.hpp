// Our times in relation to those of the others.
#pragma once

#include <map>
#include <string>

#include "results.hpp"

namespace kvs_bench {

/// Prints the time of each benchmark.
void print_times(const std::map<std::string, Times>& times);

/// Prints our times divided by the others', what they should be at most, and if they are. Less is better; above 1 the
/// other one is quicker.
void print_ratios(const std::map<std::string, Times>& times);

}  // namespace kvs_bench
