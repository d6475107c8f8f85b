// The fuzz target for forged files, without a fuzzer.
#include "../catch.hpp"
#include "../fuzz/open_body.hpp"
#include "../fuzz/replay.hpp"

namespace {

const kvs_fuzz::Target target{kvs_fuzz::open_and_operate, kvs_fuzz::mutate};

}  // namespace

TEST_CASE("forged files of the fuzzer's corpus are answered cleanly", "[fuzz]") {
    kvs_fuzz::Replay(target, "corpus").run_corpus();
}

TEST_CASE("files forged at random are answered cleanly", "[fuzz]") {
    kvs_fuzz::Replay(target, "corpus").run_at_random(20261, "broken-recipe.bin");
}
