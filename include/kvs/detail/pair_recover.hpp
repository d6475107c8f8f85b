// After a crash.
//
// [recover] A power cut, or a failed flush, leaves every word changed since the last completed flush in any version it
// had since. Recovery brings the file to D of the superblock that counts and changes only what that can explain:
//
//   link at or above E                                  becomes 0: it was stored after the last sync
//   index slot of which one half is 0 and whose check   becomes 0, if all records that the superblock counts are
//   fails                                               reached without it: it was torn (a slot can straddle two words)
//   slot of epoch D + 1                                 becomes empty
//   slot of epoch D that the superblock names, not      becomes empty: it was torn in a sync of one flush, which had
//   as it is named                                      not returned [one-flush]
//   good header and wrong checksum beside a valid       becomes empty: it was being written
//   newer slot
//   link that is damage and leads to E or behind it     becomes one that leads nowhere
//
// All else that does not check is damage: it is left as it is, counted, and answered with `corrupt` or by the older
// copy. Reaching fewer records than the superblock counts is damage.
//
// Then the shared area is made anew, and the superblock copy that is not the one found is written, with the same D and
// E and with this boot and place as the sign that recovery is complete; a flush. Cut short, it starts again. One flush
// comes before: what the power cut left of the superblocks is mended, and could be joined with what is written next;
// and a slot is emptied by what one superblock names, which the next, on the device before it, would not name.
//
// [failed] After a failed flush the memory is no better than after a power cut, and the device may hold other bytes
// than a page that the kernel calls clean. So all pages are stored to, the superblock's too, with what is in them (its
// usual way, checksum 0 first, could be the last thing that the device sees of the copy that counts), and all is
// flushed before the other copy is written; the failed flag goes last.
#ifndef KVS_DETAIL_PAIR_RECOVER_HPP
#define KVS_DETAIL_PAIR_RECOVER_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

/// All processes were killed, the machine went on: what the shared area says still holds. `check_left` came before.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::resume_after_kill() {
    if (journal_.is_found()) apply_journal();
    region_.publish_word(pair_shared::in_use, 1);
    make_usable();
    if (read_only_) return {};
    // A superblock newer than all that can be read was damaged: what it made durable becomes so again, with all that
    // came later. Its D stays, or slots of the epoch above it would be taken for damage.
    Superblock counting;
    unsigned copy = 0;
    if (Superblocks<Region>(region_).read_counting(counting, copy) &&
        is_newer_generation(shared_word(pair_shared::durable_generation), counting.generation)) {
        region_.publish_word(pair_shared::pending, pair_shared::pending_any);
        if (Failure failure = flush()) return failure;
        return write_superblock(false, epoch_to_sync(), shared_word(pair_shared::live_end));
    }
    if (shared_word(pair_shared::pending) != 0) durability_.note_pending();
    // A sync of one flush writes a superblock without one before: so what was mended of them is flushed here.
    return make_sure(recovery_.mended_superblocks + recovery_.damaged_superblocks != 0);
}

/// The shared area is checked like the file, for anybody may have written it: as it will be when the journal has been
/// applied and D and E are those of the superblock that counts. Changes nothing.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::check_left(const Superblock& counting) noexcept {
    Superblock left;
    left.durable_epoch = shared_word(pair_shared::durable_epoch);
    left.durable_end = shared_word(pair_shared::live_end);
    left.void_epoch = shared_word(pair_shared::void_epoch);
    left.records = shared_word(pair_shared::records);
    left.keys = shared_word(pair_shared::keys);
    bool is_sound = true;
    if (journal_.find(file_bytes_, is_sound, read_only_)) {
        is_sound = is_sound && check_journal(left);
        if (journal_.failure()) return journal_.failure();
    }
    if (!is_sound) return {errc::corrupt, "the journal that a killed process left is none of a store"};
    const std::uint64_t end = shared_word(pair_shared::durable_end);
    const std::uint64_t generation = shared_word(pair_shared::durable_generation);
    const bool good =
        end >= pair_layout::records_offset && end <= left.durable_end && counting.durable_end <= left.durable_end &&
        left.durable_end <= file_bytes_ &&
        (left.void_epoch <= counting.durable_epoch || is_newer_generation(generation, counting.generation));
    if (good && !check_fields(left)) return {};
    return {errc::corrupt, "what a killed process left in the shared area contradicts itself"};
}

/// Images may go to index slots, to the words of the shared area that changes keep there, which `left` takes over, and
/// to records below the live end that the entry sets; and a journal behind the records lies behind that, else its own
/// images could change it while it is applied.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::check_journal(Superblock& left) const noexcept {
    bool good = journal_.for_each([&](std::uint64_t offset, std::uint64_t bytes, std::uint64_t first) {
        if (bytes != 8) return;
        if (offset == pair_shared::live_end) left.durable_end = journal_.word(first);
        if (offset == pair_shared::records) left.records = journal_.word(first);
        if (offset == pair_shared::keys) left.keys = journal_.word(first);
        if (offset == pair_shared::void_epoch) left.void_epoch = journal_.word(first);
    });
    const std::uint64_t end = left.durable_end;
    const bool is_behind = journal_.place() >= pair_layout::records_offset;
    if (!good || end > file_bytes_ || (is_behind && end > journal_.place())) return false;
    journal_.for_each([&](std::uint64_t offset, std::uint64_t bytes, std::uint64_t) {
        good = good && is_place_of_image(offset, bytes, end);
    });
    return good && !journal_.failure();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::is_place_of_image(std::uint64_t offset, std::uint64_t bytes,
                                                                    std::uint64_t end) noexcept {
    const bool index = offset >= layout::index_offset && offset + bytes <= layout::records_offset &&
                       bytes == layout::link_bytes && (offset - layout::index_offset) % layout::link_bytes == 0;
    const bool word = bytes == 8 && (offset == pair_shared::live_end || offset == pair_shared::records ||
                                     offset == pair_shared::keys || offset == pair_shared::void_epoch);
    return index || word || (offset >= pair_layout::records_offset && offset + bytes <= end);
}

/// What `find` found, if it is one. Under a read-only handle it can have become another since: its images go where
/// images may go, and the view that they are in is over.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::apply_journal() noexcept {
    Superblock left;
    left.durable_end = shared_word(pair_shared::live_end);
    if (!check_journal(left)) return false;
    journal_.apply_while(
        [&](std::uint64_t offset, std::uint64_t bytes) { return is_place_of_image(offset, bytes, left.durable_end); });
    return true;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::recover(const Superblock& superblock, bool after_failure) {
    const std::uint64_t end = superblock.durable_end;
    Superblock found = superblock;
    found.records = found.keys = 0;
    // Of a file that was cut short, what is left can be read. New records may come to lie where lost ones were: the
    // check in front of a record is of one link, so none that led to a lost one leads to a new one.
    found.durable_end = (std::min)(end, file_bytes_);
    // The bounds and epochs that the walk looks at.
    region_.publish_word(pair_shared::live_end, found.durable_end);
    region_.publish_word(pair_shared::durable_epoch, superblock.durable_epoch);
    region_.publish_word(pair_shared::void_epoch, superblock.void_epoch);
    std::vector<std::uint64_t> torn;  // index slots
    std::uint32_t lengths = 0;        // in the same walk: the index is most of what a recovery reads
    for (std::uint32_t bucket = next_used_bucket(region_, 0); bucket < layout::bucket_count;
         bucket = next_used_bucket(region_, bucket + 1)) {
        const std::uint64_t slot = layout::slot_offset(bucket);
        const unsigned length = geometry_.length_of_bucket(bucket);
        Chain walk = chain(bucket, length);
        for (;;) {
            const std::uint64_t link = walk.link();
            if (walk.next()) {
                const Place place{walk.record(), length};
                ++found.records;
                mend_record(place, superblock);
                if (look(place).state == View::State::live) ++found.keys;
                continue;
            }
            if (!walk.damaged()) break;
            const std::uint64_t target = walk.target();
            const bool half = (target >> 16) == 0 || (target & 0xffff) == 0;
            if (target >= end && !recovery_.salvaged) {
                region_.template publish<4>(link, 0);
            } else if (link == slot && half && target < found.durable_end) {
                torn.push_back(slot);
            } else {
                ++recovery_.damaged_chains;
                // The next recovery would take it for one that was stored after the last sync.
                if (target >= found.durable_end) region_.template publish<4>(link, pair_layout::lost_link);
            }
            break;
        }
        if (region_.template load<layout::link_bytes>(slot) != 0) lengths |= std::uint32_t{1} << length;
    }
    region_.publish_word(pair_shared::lengths, lengths);
    for (const std::uint64_t slot : torn) {
        if (found.records >= superblock.records && !recovery_.salvaged)
            region_.template publish<4>(slot, 0);
        else
            ++recovery_.damaged_chains;
    }
    if (superblock.records > found.records) recovery_.lost_records = superblock.records - found.records;
    // As long as a chain cannot be followed, its records are missing, or the next recovery would take it for torn.
    if (recovery_.damaged_chains != 0) found.records = (std::max)(found.records, superblock.records);
    // Forged records can overlap, and be more than a file has room for.
    found.records = (std::min)(found.records, most_records(found.durable_end));
    found.keys = (std::min)(found.keys, found.records);
    return finish_recovery(found, after_failure);
}

/// One record: see the table above.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::mend_record(const Place& place, const Superblock& superblock) {
    const std::uint64_t durable_epoch = superblock.durable_epoch;
    std::uint64_t key[KeyType::word_count];
    load_key_words(place.record, key);
    bool damaged = false;
    for (unsigned which = 0; which < 2; ++which) {
        const std::uint64_t slot = slot_at(place, which);
        const SlotHeader header = header_at(slot);
        if (header.is_empty()) continue;
        if (!header.is_good(slot) || header.epoch() > durable_epoch + 1) {
            damaged = true;
            continue;
        }
        const bool is_named = header.epoch() == durable_epoch && slot == superblock.lone_slot;
        const bool is_lone_torn = is_named && (region_.template load<8>(slot + 8) != superblock.lone_content ||
                                               !is_intact(place, which, header, key));
        if (header.epoch() == durable_epoch + 1 || is_lone_torn) {
            region_.publish_word(slot, 0);
            ++recovery_.rolled_back;
        }
    }
    const std::uint64_t voided = shared_word(pair_shared::void_epoch);
    bool intact[2] = {};
    std::uint64_t epochs[2] = {};
    for (unsigned which = 0; which < 2; ++which) {
        const SlotHeader header = header_at(slot_at(place, which));
        if (header.is_empty() || !header.is_good(slot_at(place, which))) continue;
        epochs[which] = header.epoch();
        intact[which] = header.epoch() <= voided || is_intact(place, which, header, key);
    }
    for (unsigned which = 0; which < 2; ++which) {
        if (epochs[which] == 0 || intact[which]) continue;
        if (intact[1 - which] && epochs[1 - which] > epochs[which]) {
            region_.publish_word(slot_at(place, which), 0);
            ++recovery_.mended_records;
        } else {
            damaged = true;
        }
    }
    if (epochs[0] == 0 && epochs[1] == 0) damaged = true;  // a record below E has had a durable slot
    recovery_.damaged_records += damaged ? 1 : 0;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::finish_recovery(const Superblock& found,
                                                                     bool after_failure) noexcept {
    Superblocks<Region> superblocks(region_);
    Superblock counting;
    unsigned copy = 0;
    const bool has_superblock = superblocks.read_counting(counting, copy);
    if (after_failure)
        if (Failure failure = flush_all_pages(found.durable_end)) return failure;
    initialise_shared(found, found.generation, after_failure);
    // What was mended, of the superblocks too, is on the device before one of them is written, whoever mended it.
    if (Failure failure = flush()) return failure;
    if (!has_superblock) {
        superblocks.write(1, found);
        if (Failure failure = flush()) return failure;
    }
    if (Failure failure = write_superblock(false, found.durable_epoch, found.durable_end)) return failure;
    if (after_failure) region_.publish_word(pair_shared::failed, 0);
    region_.publish_word(pair_shared::in_use, 1);
    return {};
}

/// [failed]
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::flush_all_pages(std::uint64_t end) noexcept {
    if (read_only_) return {};
    for (std::uint64_t page = 0; page < end; page += pair_layout::page_bytes)
        region_.template publish<1>(page, region_.template load<1>(page));
    return flush();
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_RECOVER_HPP
