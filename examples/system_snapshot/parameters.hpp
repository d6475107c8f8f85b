// Where the parameters come from: a tree of files with one value each, or the environment.
#pragma once

#include <cstddef>
#include <filesystem>
#include <kvs/kvs.hpp>
#include <map>
#include <string>
#include <string_view>

struct Reading {
    std::map<std::string, kvs::Value> parameters;  ///< by name: the path below the root, or "env/" and the variable
    std::map<std::string, std::size_t> skipped;    ///< how many files or folders could not be read, by reason

    /// One more parameter, as the type that its text shows.
    void add(std::string name, std::string_view text);
};

/// Every readable file below `root`, by its path from there. Links are not followed.
Reading read_tree(const std::filesystem::path& root);

Reading read_environment();
