// [write-rule] [journal] [insert] [sync] [ensure-durable] [recover] A process killed between any two stores, in every
// situation that a chain of paired records can be in: exactly the acknowledged operations are there afterwards, the one
// in flight whole or not at all, and the store works as if nothing had happened. The laboratory (lab/lab.hpp) says how,
// and how a failure is replayed.
#include <kvs/kvs.hpp>

#include <cstdlib>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "lab/lab.hpp"
#include "lab/workloads.hpp"

namespace {

using namespace kvs_test::lab;

Effort kills() {
    Effort effort;
    effort.power = false;
    effort.depth = kvs_test::is_long() ? 3 : 2;
    effort.nest_one_in = 200;
    effort.nested_images = 10;
    return effort;
}

template <class Store>
void finish(const Lab<Store>& lab) {
    lab.print("kill");
    INFO((lab.failures.empty() ? std::string() : lab.failures.front()));
    CHECK(lab.failures.empty());
}

}  // namespace

TEST_CASE("a store killed between any two stores: all sequences of three operations", "[pair_kill]") {
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8u", chosen_keys<8>(3, 1), kills());
    every_sequence(lab, kvs_test::is_short() ? 2 : 3);
    finish(lab);
}

TEST_CASE("a store killed between any two stores: counters and lock word too", "[pair_kill]") {
    Lab<kvs::Store<8, LabPlatform>> lab("8", chosen_keys<8>(3, 1), kills());
    every_sequence(lab, 2);
    random_sequences(lab, kvs_test::rounds(10, 300), 20);
    finish(lab);
}

TEST_CASE("a store killed between any two stores: every write is synced", "[pair_kill]") {
    Effort effort = kills();
    effort.sync_each = true;
    effort.nest_one_in = 50;
    Lab<kvs::Store<8, LabPlatform>> lab("8each", chosen_keys<8>(3, 1), effort);
    every_sequence(lab, 2, lone_alphabet());
    random_sequences(lab, kvs_test::rounds(20, 300), 20);
    finish(lab);
    CHECK(lab.figures.one_flush > (kvs_test::is_short() ? 50u : 100u));
}

TEST_CASE("a store killed between any two stores: long random workloads", "[pair_kill]") {
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8u", chosen_keys<8>(4, 3), kills());
    random_sequences(lab, kvs_test::rounds(150, 3000), 40);
    finish(lab);
}

// Each store of another type takes ten seconds to compile with AddressSanitizer.
#ifndef KVS_TEST_FEWER_TYPES
TEST_CASE("a store killed between any two stores: other key lengths", "[pair_kill]") {
    Lab<kvs::Store<3, LabPlatform, kvs::Unshared>> three("3u", chosen_keys<3>(3, 1), kills());
    every_sequence(three, 2);
    random_sequences(three, kvs_test::rounds(10, 300), 20);
    finish(three);
    Lab<kvs::Store<32, LabPlatform>> long_keys("32", chosen_keys<32>(3, 1), kills());
    random_sequences(long_keys, kvs_test::rounds(10, 300), 20);
    finish(long_keys);
}

TEST_CASE("a store killed between any two stores: the checksum XXH3", "[pair_kill]") {
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared, kvs::Xxh3>> lab("8x", chosen_keys<8>(4, 3), kills());
    every_sequence(lab, 1);
    random_sequences(lab, kvs_test::rounds(10, 300), 40);
    finish(lab);
}
#endif

TEST_CASE("a store killed between any two stores: batches larger than the journal's room", "[pair_kill]") {
    Effort effort = kills();
    effort.nest_one_in = 200;
    effort.nested_images = 2;
    Lab<kvs::Store<8, LabPlatform, kvs::Unshared>> lab("8huge", chosen_keys<8>(3, 1), effort);
    huge_batches(lab);
    finish(lab);
}

TEST_CASE("a process killed between any two stores, and others that go on", "[pair_kill]") {
    Effort effort = kills();
    effort.survivor = true;
    Lab<kvs::Store<8, LabPlatform>> lab("8survived", chosen_keys<8>(3, 1), effort);
    every_sequence(lab, 2);
    random_sequences(lab, kvs_test::rounds(20, 300), 20);
    finish(lab);
    CHECK(lab.figures.kills > 1000);
}

TEST_CASE("a process killed between any two stores, and others that go on: every write is synced", "[pair_kill]") {
    Effort effort = kills();
    effort.survivor = true;
    effort.sync_each = true;
    Lab<kvs::Store<8, LabPlatform>> lab("8each-survived", chosen_keys<8>(3, 1), effort);
    every_sequence(lab, 1, lone_alphabet());
    random_sequences(lab, kvs_test::rounds(10, 300), 20);
    finish(lab);
}

// A replay looks at each image more closely, with a survivor that joined before the death and with one that joins after
// it. The second one once found what the first had left, so that replays failed of which the run had no complaint.
TEST_CASE("a replay of the laboratory finds what the run found", "[pair_kill]") {
    Effort effort = kills();
    effort.survivor = true;
    effort.depth = 2;
    for (const char* id : {"8survived/two/s00", "8survived/gone/e0.b[s00e1s21]"}) {
        if (kvs_test::is_short() && id != std::string("8survived/two/s00")) continue;
        Lab<kvs::Store<8, LabPlatform>> lab("8survived", chosen_keys<8>(3, 1), effort, id);
        every_sequence(lab, 2);
        INFO(id);
        finish(lab);
        if (std::getenv("KVS_CRASH") == nullptr) CHECK(lab.figures.nested > 10);
    }
}
