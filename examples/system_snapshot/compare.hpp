// The store brought from the last snapshot to this one.
#pragma once

#include <cstddef>
#include <kvs/kvs.hpp>
#include <optional>
#include <string>
#include <vector>

#include "parameters.hpp"

/// The longest name below /proc/sys has about 60 bytes.
using Snapshot = kvs::SeedStore<128>;

/// `before` is missing where a parameter appeared, `after` where it vanished.
struct Difference {
    std::string name;
    std::optional<kvs::Value> before;
    std::optional<kvs::Value> after;
};

struct Differences {
    std::size_t unchanged = 0;
    std::vector<Difference> changed;
    std::vector<Difference> appeared;
    std::vector<Difference> vanished;
    std::vector<std::string> refused;  ///< why the store did not take a parameter
};

/// Stores what is new in the reading, erases what is no longer in it and tells both. A parameter that can no longer be
/// read counts as vanished. Throws `kvs::Error`.
Differences bring_up_to_date(Snapshot& snapshot, const Reading& reading);
