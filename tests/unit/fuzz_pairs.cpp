// The body of the fuzz target for pairs without a fuzzer: its corpus, and recipes made at random from it.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../fuzz/pairs_body.hpp"
#include "../support/campaign.hpp"

namespace {

std::vector<std::filesystem::path> corpus() {
    std::vector<std::filesystem::path> files;
    for (const auto& file : std::filesystem::directory_iterator(KVS_TEST_SOURCE_DIR "/tests/fuzz/corpus_pairs"))
        files.push_back(file.path());
    std::sort(files.begin(), files.end());
    return files;
}

std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// What was promised and not kept; empty if all was well.
std::string run(const std::vector<std::uint8_t>& input) {
    try {
        kvs_fuzz::forge_pairs(input);
    } catch (const std::exception& error) {
        return error.what();
    }
    return {};
}

}  // namespace

TEST_CASE("forged files of pairs of the fuzzer's corpus are answered cleanly", "[fuzz][pairs]") {
    const auto files = corpus();
    REQUIRE(files.size() >= 12);
    for (const auto& file : files) {
        INFO(file.filename().string());
        CHECK(run(read_bytes(file)) == "");
    }
}

TEST_CASE("files of pairs forged at random are answered cleanly", "[fuzz][pairs]") {
    kvs_test::Campaign campaign(20262);
    INFO(campaign.replay());
    const auto files = corpus();
    for (std::uint64_t round = kvs_test::rounds(400, 100'000); round != 0; --round) {
        kvs_fuzz::Recipe recipe = kvs_fuzz::parse(read_bytes(files[campaign.pick(files.size())]));
        for (std::uint64_t changes = 1 + campaign.pick(12); changes != 0; --changes)
            kvs_fuzz::mutate_pairs(recipe, campaign.random());
        const std::vector<std::uint8_t> input = kvs_fuzz::serialize(recipe);
        const std::string broken = run(input);
        if (broken.empty()) continue;
        const std::string kept = "broken-pairs-recipe.bin";
        std::ofstream(kept, std::ios::binary).write(reinterpret_cast<const char*>(input.data()), std::ssize(input));
        FAIL_CHECK(broken << "; the recipe is in " << kept);
        break;
    }
}
