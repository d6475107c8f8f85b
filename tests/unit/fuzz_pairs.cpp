// The fuzz target for forged files of pairs, without a fuzzer.
#include "../catch.hpp"
#include "../fuzz/pairs_body.hpp"
#include "../fuzz/replay.hpp"

namespace {

const kvs_fuzz::Target target{kvs_fuzz::forge_pairs, kvs_fuzz::mutate_pairs};

}  // namespace

TEST_CASE("forged files of pairs of the fuzzer's corpus are answered cleanly", "[fuzz][pairs]") {
    kvs_fuzz::Replay(target, "corpus_pairs").run_corpus();
}

TEST_CASE("files of pairs forged at random are answered cleanly", "[fuzz][pairs]") {
    kvs_fuzz::Replay(target, "corpus_pairs").run_at_random(20262, "broken-pairs-recipe.bin");
}
