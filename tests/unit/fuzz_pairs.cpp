// The fuzz target for forged files of pairs, without a fuzzer.
#include "../catch.hpp"
#include "../fuzz/pairs_body.hpp"
#include "../fuzz/replay.hpp"

namespace {

const kvs_fuzz::Target target{kvs_fuzz::forge_pairs, kvs_fuzz::mutate_pairs};

}  // namespace

TEST_CASE("the fuzzer forges the shared area as the library lays it out", "[fuzz][pairs]") {
    // It had moved, and for a while no forged journal was one.
    namespace shared = kvs::detail::pair_layout::shared;
    using Forger = kvs_fuzz::PairForger;
    const auto word = [](unsigned number) { return Forger::shared_area + 8 * std::uint64_t{number}; };
    for (unsigned page = 0; page < 4; ++page)
        CHECK(Forger::superblocks[page] == kvs::detail::pair_layout::superblock_page(page));
    CHECK(Forger::durable_epoch_field == kvs::detail::pair_layout::superblock::durable_epoch);
    CHECK(word(0) == shared::stamp);
    CHECK(word(Forger::live_end_word) == shared::live_end);
    CHECK(word(Forger::durable_epoch_word) == shared::durable_epoch);
    CHECK(word(Forger::failed_word) == shared::failed);
    CHECK(word(Forger::void_epoch_word) == shared::void_epoch);
    CHECK(word(Forger::records_word) == shared::records);
    CHECK(word(Forger::keys_word) == shared::keys);
    CHECK(word(Forger::journal_valid_word) == shared::journal_valid);
    CHECK(word(Forger::journal_words_word) == shared::journal_words);
    CHECK(word(Forger::journal_place_word) == shared::journal_place);
    CHECK(word(Forger::shared_words) == shared::journal_place + 8);
    CHECK(Forger::counters == shared::counters);
    CHECK(Forger::small_journal_room == shared::small_journal);
    CHECK(Forger::journal_room == shared::journal);
    CHECK(Forger::records_start == kvs::detail::pair_layout::records_offset);
}

TEST_CASE("forged files of pairs of the fuzzer's corpus are answered cleanly", "[fuzz][pairs]") {
    kvs_fuzz::Replay(target, "corpus_pairs").run_corpus();
}

TEST_CASE("files of pairs forged at random are answered cleanly", "[fuzz][pairs]") {
    kvs_fuzz::Replay(target, "corpus_pairs").run_at_random(20262, "broken-pairs-recipe.bin");
    CHECK(kvs_fuzz::PairFigures::journals > 20);
    CHECK(kvs_fuzz::PairFigures::compared * 10 > kvs_fuzz::PairFigures::reopened);
}
