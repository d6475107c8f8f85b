// [write-rule] [sync] [ensure-durable] [recover] [pair-creation] [failed] A power cut at any moment: whatever mixture
// of the versions since the last completed flush is on the device, the store opens by itself and holds exactly the
// state after some operation at or after the last completed sync, every batch whole or absent. The laboratory
// (lab/lab.hpp) says how, and how a failure is replayed.
#include <kvs/kvs.hpp>

#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "lab/lab.hpp"
#include "lab/workloads.hpp"

namespace {

using namespace kvs_test::lab;

Effort cuts(std::size_t quick, std::size_t thorough) {
    Effort effort;
    effort.kills = false;
    effort.depth = 3;
    effort.images_per_window = static_cast<std::size_t>(kvs_test::rounds(quick, thorough));
    effort.nested_images = static_cast<std::size_t>(kvs_test::rounds(20, 100));
    effort.nest_one_in = 1000;
    return effort;
}

template <class Store>
void finish(const Lab<Store>& lab) {
    lab.print("power");
    INFO((lab.failures.empty() ? std::string() : lab.failures.front()));
    CHECK(lab.failures.empty());
}

}  // namespace

TEST_CASE("the power fails at any moment: all sequences of two operations", "[pair_power]") {
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8u", chosen_keys<8>(3, 1), cuts(300, 10000));
    every_sequence(lab, 2);
    finish(lab);
}

TEST_CASE("the power fails at any moment: all sequences of three operations", "[pair_power]") {
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8u", chosen_keys<8>(3, 1), cuts(100, 1000));
    every_sequence(lab, 3);
    finish(lab);
}

TEST_CASE("the power fails at any moment: counters and lock word too", "[pair_power]") {
    Lab<kvs::Store<8, LabPlatform>> lab("8", chosen_keys<8>(3, 1), cuts(100, 1000));
    random_sequences(lab, kvs_test::rounds(30, 1000), 20);
    finish(lab);
}

TEST_CASE("the power fails at any moment: other key lengths", "[pair_power]") {
    Lab<kvs::Store<3, LabPlatform, kvs::Unshared>> three("3u", chosen_keys<3>(3, 1), cuts(100, 1000));
    every_sequence(three, 2);
    random_sequences(three, kvs_test::rounds(30, 1000), 20);
    finish(three);
    Lab<kvs::Store<32, LabPlatform>> long_keys("32", chosen_keys<32>(3, 1), cuts(100, 1000));
    random_sequences(long_keys, kvs_test::rounds(30, 1000), 20);
    finish(long_keys);
}

TEST_CASE("the power fails at any moment: long random workloads", "[pair_power]") {
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8u", chosen_keys<8>(4, 3), cuts(400, 4000));
    random_sequences(lab, kvs_test::rounds(60, 5000), 40);
    finish(lab);
}

// Each unit size for itself, so that none of its images is left out because a coarser one made the same.
TEST_CASE("the power fails at any moment: long random workloads, units of one size", "[pair_power]") {
    constexpr std::uint64_t wanted = 5'000'000;                                  // images, in a long run
    constexpr std::uint64_t enough[unit_sizes.size()] = {1500, 1200, 500, 330};  // workloads for that
    for (std::size_t unit = 0; unit < unit_sizes.size(); ++unit) {
        Effort effort = cuts(100, 4000);
        effort.coarsest = effort.finest = unit;
        Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8of" + std::to_string(unit_sizes[unit]),
                                                           chosen_keys<8>(4, 3), effort);
        random_sequences(lab, kvs_test::rounds(3, enough[unit]), 40);
        finish(lab);
        CHECK(lab.figures.power[unit] > (kvs_test::is_long() ? wanted : 100));
    }
}

TEST_CASE("the power fails at any moment: the checksum XXH3", "[pair_power]") {
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared, kvs::Xxh3>> lab("8x", chosen_keys<8>(4, 3), cuts(100, 1000));
    every_sequence(lab, 1);
    random_sequences(lab, kvs_test::rounds(10, 300), 40);
    finish(lab);
}

TEST_CASE("the power fails at any moment: every write is synced", "[pair_power]") {
    Effort effort = cuts(60, 1000);
    effort.sync_each = true;
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8each", chosen_keys<8>(3, 1), effort);
    every_sequence(lab, 2);
    random_sequences(lab, kvs_test::rounds(10, 300), 20);
    finish(lab);
    CHECK(lab.figures.one_flush > 0);
}

TEST_CASE("the power fails at any moment: one flush makes a write durable", "[pair_power]") {
    Effort effort = cuts(60, 1000);
    effort.sync_each = true;
    effort.kills = true;
    effort.nest_one_in = 200;
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8lone", chosen_keys<8>(3, 1), effort);
    every_sequence(lab, kvs_test::is_long() ? 3 : 2, lone_alphabet());
    finish(lab);
    CHECK(lab.figures.one_flush > 100);
    Lab<kvs::Store<8, LabPlatform>> shared("8lone shared", chosen_keys<8>(3, 1), effort);
    random_sequences(shared, kvs_test::is_long() ? 600 : 20, 20);
    finish(shared);
    CHECK(shared.figures.one_flush > 10);
}

TEST_CASE("the power fails twice: what the first left of a slot is of the epoch of the second", "[pair_power]") {
    // The same key again and again, each crash in a sync of one flush: of the slot's words any can be of the write that
    // was lost, under the epoch of the one that was synced.
    Effort effort = cuts(100, 1000);
    effort.depth = 2;
    effort.sync_each = true;
    effort.nested_images = static_cast<std::size_t>(kvs_test::rounds(60, 300));
    effort.nest_one_in = 6;
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8twice", chosen_keys<8>(3, 1), effort);
    const Timeline start = lab.prepare({set(0, 1), set(1, 1)});
    for (const Ops& ops : {Ops{set(0, 1), set(0, 1)}, Ops{set(0, 1), set(1, 1), set(0, 1)}})
        lab.last_of("two", start, ops);
    finish(lab);
    CHECK(lab.figures.one_flush > 1);
}

TEST_CASE("the power fails at any moment: batches larger than the journal's room", "[pair_power]") {
    Effort effort = cuts(60, 1000);
    effort.nest_one_in = 50;
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8huge", chosen_keys<8>(3, 1), effort);
    huge_batches(lab);
    finish(lab);
}

TEST_CASE("a flush fails, then the power fails or the process is killed", "[pair_power]") {
    Effort effort = cuts(100, 1000);
    effort.kills = true;
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8u", chosen_keys<8>(3, 1), effort);
    every_sequence(lab, 3, failing_alphabet());
    finish(lab);
}

TEST_CASE("the flush of a write fails, then the power fails or the process is killed", "[pair_power]") {
    Effort effort = cuts(60, 1000);
    effort.kills = true;
    effort.sync_each = true;
    effort.nest_one_in = 200;
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8each", chosen_keys<8>(3, 1), effort);
    every_sequence(lab, 3, {set(0, 0), set(1, 0), erase(0), failing_sync(1), failing_sync(2)});
    finish(lab);
    CHECK(lab.figures.one_flush > 50);
}
