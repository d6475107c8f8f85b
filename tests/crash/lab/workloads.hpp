// The crash laboratory, third part: what the stores are made to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "../../support/campaign.hpp"
#include "lab.hpp"

namespace kvs_test::lab {

/// A value of the usual form and of another length, the same key's neighbour in its bucket, both at once, and
/// everything that makes changes durable or ends them.
inline Ops small_alphabet() {
    return {set(0, 0), set(0, 1), set(1, 0), erase(0), batch({set(0, 0), erase(1), set(2, 1)}), sync, clear, reopen};
}

/// Syncs whose first or second flush fails.
inline Ops failing_alphabet() { return {set(0, 0), set(1, 1), erase(0), sync, failing_sync(1), failing_sync(2)}; }

/// [one-flush] What comes before and after a write that one flush makes durable: the same key again, one just inserted,
/// the neighbour, another length, a deletion, `clear`, a close, a batch that begins and ends like a write alone.
inline Ops lone_alphabet() {
    return {set(0, 0),          set(1, 0), set(0, 1), set(2, 5), erase(0), batch({set(0, 0), set(1, 0)}),
            batch({set(0, 0)}), clear,     reopen};
}

/// Files to begin with: none at all; an empty one; two keys of a bucket; one of them erased for good, its record to be
/// taken over; values of both lengths, changed before and after a sync; a cleared one.
template <class Use>
void each_scene(const Use& use) {
    use("none", Ops{}, false);
    use("empty", Ops{}, true);
    use("two", Ops{set(0, 0), set(1, 0)}, true);
    use("gone", Ops{set(0, 0), set(1, 0), sync, erase(1), erase(0)}, true);
    use("worn", Ops{set(0, 0), set(3, 1), sync, set(0, 0), set(1, 1), sync, set(1, 0), set(0, 0)}, true);
    use("void", Ops{set(0, 0), set(1, 1), clear, set(2, 0)}, true);
}

template <class Store>
void every_sequence(Lab<Store>& lab, std::size_t longest, const Ops& alphabet = small_alphabet()) {
    try {
        each_scene([&](const std::string& scene, const Ops& made_by, bool created) {
            const Timeline start = lab.prepare(made_by, created);
            lab.all_of(scene, start, {});
            lab.all_of(scene, start, {reopen});
            each_sequence(alphabet, longest, [&](const Ops& ops) { lab.last_of(scene, start, ops); });
        });
    } catch (const Abort&) {
        // Five failures are kept in the laboratory.
    }
}

/// Values that a batch writes over in one epoch, so that all of them are in its journal, which lies behind the records.
template <class Store>
void huge_batches(Lab<Store>& lab) {
    const Op all = batch({set(0, huge), set(1, huge), set(2, huge)});
    try {
        lab.last_of("empty", lab.prepare({}), {all, all, set(3, 0)});
        lab.last_of("empty", lab.prepare({}), {all, all});
        lab.last_of("there", lab.prepare({all}), {all, sync, all});
        lab.last_of("there", lab.prepare({all}), {erase(1), all, set(1, 0), all});
    } catch (const Abort&) {
        // Five failures are kept in the laboratory.
    }
}

inline Op random_op(Campaign& campaign, std::size_t keys) {
    const auto key = [&] { return static_cast<unsigned>(campaign.pick(keys)); };
    const auto form = [&] {
        return static_cast<unsigned>(campaign.one_in(3) ? campaign.pick(form_count) : campaign.pick(2));
    };
    switch (campaign.pick(16)) {
        case 0:
        case 1:
        case 2: return erase(key());
        case 3:
        case 4:
        case 5: return sync;
        case 6: return reopen;
        case 7: return campaign.one_in(3) ? clear : sync;
        case 8:
        case 9: {
            Ops parts;
            for (std::uint64_t i = campaign.pick(5); i-- != 0;)
                parts.push_back(campaign.one_in(3) ? erase(key()) : set(key(), form()));
            return batch(parts);
        }
        default: return set(key(), form());
    }
}

/// Whole workloads of up to `longest` operations; the number in the scene's name is the seed.
template <class Store>
void random_sequences(Lab<Store>& lab, std::uint64_t count, std::size_t longest) {
    try {
        std::uint64_t done = 0;
        while (done < count) {
            each_scene([&](const std::string& scene, const Ops& made_by, bool created) {
                if (done++ >= count) return;
                Campaign campaign(1000 + done);
                const Timeline start = lab.prepare(made_by, created);
                Ops ops;
                for (std::size_t i = 1 + campaign.pick(longest); i-- != 0;)
                    ops.push_back(random_op(campaign, lab.key_count()));
                lab.all_of(scene + std::to_string(done), start, ops);
            });
        }
    } catch (const Abort&) {
        // Five failures are kept in the laboratory.
    }
}

}  // namespace kvs_test::lab
