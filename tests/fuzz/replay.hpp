// A fuzz target without a fuzzer: its corpus, and recipes made at random from it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "recipe.hpp"

namespace kvs_fuzz {

class Replay {
public:
    /// `corpus`: the directory below this one.
    Replay(const Target& target, const std::string& corpus) : target_(target) {
        for (const auto& file : std::filesystem::directory_iterator(KVS_TEST_SOURCE_DIR "/tests/fuzz/" + corpus))
            files_.push_back(file.path());
        std::sort(files_.begin(), files_.end());
    }

    void run_corpus() const {
        REQUIRE(files_.size() >= 12);
        for (const auto& file : files_) {
            INFO(file.filename().string());
            CHECK(broken(contents_of(file)) == "");
        }
    }

    /// A recipe that finds something is kept in the file `kept`.
    void run_at_random(std::uint64_t seed, const std::string& kept) const {
        kvs_test::Campaign campaign(seed);
        INFO(campaign.replay());
        for (std::uint64_t round = kvs_test::rounds(400, 100'000); round != 0; --round) {
            Recipe recipe = parse(contents_of(files_[campaign.pick(files_.size())]));
            for (std::uint64_t changes = 1 + campaign.pick(12); changes != 0; --changes)
                target_.mutate(recipe, campaign.random());
            const std::vector<std::uint8_t> input = serialize(recipe);
            const std::string found = broken(input);
            if (found.empty()) continue;
            std::ofstream(kept, std::ios::binary).write(reinterpret_cast<const char*>(input.data()), std::ssize(input));
            FAIL_CHECK(found << "; the recipe is in " << kept);
            break;
        }
    }

private:
    static std::vector<std::uint8_t> contents_of(const std::filesystem::path& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }

    /// What was promised and not kept; empty if all was well.
    std::string broken(const std::vector<std::uint8_t>& input) const {
        try {
            target_.run(input);
        } catch (const std::exception& error) {
            return error.what();
        }
        return {};
    }

    Target target_;
    std::vector<std::filesystem::path> files_;
};

}  // namespace kvs_fuzz
