// The judge is judged: histories that a key can have, and planted ones that none can have.
#include "linearizability.hpp"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"

namespace {

using kvs_test::KeyOperation;
using kvs_test::problem_of;
using Kind = KeyOperation::Kind;
using History = std::vector<KeyOperation>;

constexpr std::uint64_t never = KeyOperation::never;

KeyOperation get(std::uint64_t called, std::uint64_t returned, std::uint64_t found) {
    return {Kind::get, false, called, returned, 0, found};
}
KeyOperation set(std::uint64_t called, std::uint64_t returned, std::uint64_t value) {
    return {Kind::set, false, called, returned, value, 0};
}
KeyOperation erase(std::uint64_t called, std::uint64_t returned, bool found) {
    return {Kind::erase, false, called, returned, 0, found ? 1u : 0u};
}
KeyOperation set_if_absent(std::uint64_t called, std::uint64_t returned, std::uint64_t value, bool found) {
    return {Kind::set_if_absent, false, called, returned, value, found ? 1u : 0u};
}
KeyOperation exchange(std::uint64_t called, std::uint64_t returned, std::uint64_t found, std::uint64_t value) {
    return {Kind::exchange, false, called, returned, value, found};
}
KeyOperation killed(KeyOperation operation, std::uint64_t returned = never) {
    operation.killed = true;
    operation.returned = returned;
    return operation;
}

bool is_good(const History& history) {
    INFO(problem_of(history));
    return problem_of(history).empty();
}

}  // namespace

TEST_CASE("histories of a key that can be", "[linearizability]") {
    CHECK(is_good({}));
    CHECK(is_good({get(1, 2, 0)}));
    CHECK(is_good({set(1, 2, 7), get(3, 4, 7)}));
    CHECK(is_good({set(1, 4, 7), get(2, 3, 0), get(5, 6, 7)}));  // while a set is under way, the old value
    CHECK(is_good({set(1, 4, 7), get(2, 3, 7)}));                // or the new one
    CHECK(is_good({set(1, 9, 1), set(2, 8, 2), get(3, 4, 2), get(5, 6, 1)}));
    CHECK(is_good({set(1, 2, 7), erase(3, 4, true), erase(5, 6, false), get(7, 8, 0)}));
    CHECK(is_good({set_if_absent(1, 6, 1, false), set_if_absent(2, 5, 2, true), get(7, 8, 1)}));
    CHECK(is_good({set(1, 2, 1), exchange(3, 8, 2, 3), exchange(4, 7, 1, 2), get(9, 10, 3)}));
    CHECK(is_good({set(5, 6, 1), get(5, 6, 1)}));  // at the same time: they overlap
}

TEST_CASE("histories of a key with killed operations that can be", "[linearizability]") {
    CHECK(is_good({set(1, 2, 1), killed(set(3, 4, 2)), get(5, 6, 1)}));                   // not done
    CHECK(is_good({set(1, 2, 1), killed(set(3, 4, 2)), get(5, 6, 2), get(7, 8, 2)}));     // done
    CHECK(is_good({set(1, 2, 1), killed(set(3, 4, 2)), get(5, 6, 1), get(7, 8, 2)}));     // done late: no time is known
    CHECK(is_good({set(1, 2, 1), killed(set(3, 4, 2), 7), get(5, 6, 1), get(7, 8, 2)}));  // in time
    CHECK(is_good({killed(set(1, 2, 1)), erase(3, 4, true), get(5, 6, 0)}));              // seen only by the erase
    CHECK(is_good({set(1, 2, 1), killed(erase(3, 4, true)), set_if_absent(5, 6, 2, false)}));
    CHECK(is_good({set(1, 2, 1), killed(exchange(3, 4, 1, 2), 9), get(5, 6, 1), get(10, 11, 2)}));
    CHECK(is_good({killed(set_if_absent(1, 2, 3, false)), get(3, 4, 3)}));
    CHECK(is_good({killed(get(1, 2, 99)), get(3, 4, 0)}));  // what it found nobody was told
}

TEST_CASE("planted histories that no key can have are found", "[linearizability]") {
    CHECK_FALSE(is_good({set(1, 2, 1), set(3, 4, 2), get(5, 6, 1)}));  // stale: set(2) was acknowledged
    CHECK_FALSE(is_good({set(1, 2, 1), get(3, 4, 0)}));                // an acknowledged set is lost
    CHECK_FALSE(is_good({set(1, 2, 1), get(3, 4, 9)}));                // a value from nowhere
    CHECK_FALSE(is_good({get(1, 2, 7), set(3, 4, 7)}));                // from the future
    CHECK_FALSE(is_good({set(1, 9, 1), get(2, 3, 1), get(4, 5, 0)}));  // seen, then unseen
    CHECK_FALSE(is_good({set(1, 9, 1), set(2, 8, 2), get(3, 4, 1), get(5, 6, 2), get(7, 10, 1)}));
    // A lost update: two that found the same value both said that they had raised it.
    CHECK_FALSE(is_good({set(1, 2, 1), exchange(3, 6, 1, 2), exchange(4, 7, 1, 3)}));
    CHECK_FALSE(is_good({set_if_absent(1, 6, 1, false), set_if_absent(2, 5, 2, false)}));
    CHECK_FALSE(is_good({set(1, 2, 1), erase(3, 6, true), erase(4, 5, true)}));
    CHECK_FALSE(is_good({set(1, 2, 1), erase(3, 4, false)}));
    CHECK_FALSE(is_good({set(1, 2, 1), erase(3, 4, true), get(5, 6, 1)}));  // erased, and back
}

TEST_CASE("planted histories with killed operations that no key can have are found", "[linearizability]") {
    const KeyOperation first = set(1, 2, 1);
    CHECK_FALSE(is_good({first, killed(set(3, 4, 2)), get(5, 6, 2), get(7, 8, 1)}));       // seen, then unseen
    CHECK_FALSE(is_good({first, killed(set(3, 4, 2), 7), get(8, 9, 1), get(10, 11, 2)}));  // too late: it comes back
    CHECK_FALSE(is_good({first, killed(set(3, 4, 2)), get(5, 6, 2), set(7, 8, 3), get(9, 10, 2)}));  // done twice
    CHECK_FALSE(is_good({first, killed(exchange(3, 4, 9, 2)), get(5, 6, 2)}));  // it had found another value
    CHECK_FALSE(is_good({killed(erase(1, 2, true)), first, get(3, 4, 1), get(5, 6, 0), get(7, 8, 1)}));
}

TEST_CASE("histories made of real orders are good, and most that are then changed are not", "[linearizability]") {
    kvs_test::Campaign campaign(83);
    INFO(campaign.replay());
    std::uint64_t found = 0;
    const std::uint64_t rounds = kvs_test::rounds(300, 20'000);
    for (std::uint64_t round = 0; round < rounds; ++round) {
        // Moments 10, 20, 30...; each operation is called up to some moments earlier and returns up to some later.
        History history;
        std::uint64_t value = 0;
        for (std::uint64_t i = 1; i <= 100; ++i) {
            const std::uint64_t moment = 100 * i;
            KeyOperation o{static_cast<Kind>(campaign.pick(6)), false, moment - campaign.pick(300),
                           moment + campaign.pick(300),         i,     0};
            if (o.called > moment) o.called = 0;
            if (o.kind == Kind::get || o.kind == Kind::exchange) o.found = value;
            if (o.kind == Kind::erase || o.kind == Kind::set_if_absent) o.found = value != 0 ? 1 : 0;
            if (campaign.one_in(10)) {
                o.killed = true;
                if (campaign.one_in(8)) o.returned = never;  // each of them doubles the work
                if (campaign.one_in(2)) {                    // it did not happen
                    history.push_back(o);
                    continue;
                }
            }
            value = kvs_test::outcome(o, value).value();
            history.push_back(o);
        }
        REQUIRE(is_good(history));
        for (KeyOperation& o : history)
            if (o.kind == Kind::get && !o.killed && o.found > 1) {
                o.found -= 1;  // another value that was written about then, or none that ever was
                break;
            }
        found += is_good(history) ? 0 : 1;
    }
    CHECK(found > rounds / 2);
}
