// What the user sees, in lines of at most 100 columns.
#pragma once

#include <string_view>

#include "compare.hpp"
#include "parameters.hpp"

/// One line: how much was read, and what was not and why.
void print_reading(std::string_view source, const Reading& reading);

/// One line: what opening the file found.
void print_opening(const Snapshot& snapshot);

/// What the store did not take; then, if there was a snapshot before, the first lines of every list of differences.
void print_differences(const Differences& differences, bool is_first);

/// How many parameters of which type are in the store, by group: the first part of their names.
void print_table(const Snapshot& snapshot);
