// Rebuilding a store all of whose superblocks are damaged.
//
// [salvage] What a superblock would say is made up from the records:
//
//   E    behind the last record that is reached; the end of the file, if a chain cannot be followed: its records may be
//        anywhere, and none is written over
//   D    the largest epoch of a whole slot, so that nothing is rolled back; and of damaged slots above it, or recovery
//        would one day take them for ones that were being written. Not any, for a damaged epoch may be any number
//   C    0: what `clear` made void is back
//
// A link that cannot be followed is damage here, wherever it leads: nothing says that it was stored after the last
// sync. A file that may have been cut in the middle of a record grows by what is missing of it, as after any other loss
// of bytes: or the record would be there, across others, once the file has grown.
//
// A key that was cleared and then set to a value of another length has two values then: the older one is deleted. Only
// a value that is newer counts for that: a deletion bears no key, and its record can have been another's then. The
// deletion goes into the slot that does not count, at the epoch above the value's, so that it is newer than nothing
// else of the key.
//
//     damaged superblocks lose their checksums; a flush; older values are deleted; recovery [recover]; a flush;
//     a superblock; a flush
//
// Without their checksums, the right word at the damaged place cannot bring one of them back. The first flush: what the
// older values are deleted for is on the device before they are. The second: recovery would not delete them again. Cut
// short before the superblock, salvage begins again, and writes a deletion again that was torn. The journal is left
// alone: nothing says from which run of the machine it is.
#ifndef KVS_DETAIL_PAIR_SALVAGE_HPP
#define KVS_DETAIL_PAIR_SALVAGE_HPP

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

/// What is found beside the numbers of a superblock.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
struct PairEngine<KeyLen, Sharing, Form, Platform>::Salvage {
    bool is_whole = true;       ///< all chains can be followed
    std::uint64_t cut_end = 0;  ///< the largest end of a record that may lie across the end of the file
    std::vector<std::uint64_t> damaged_epochs{};
};

/// Makes up the superblock, for recovery to begin with. `after_failure`: see [failed].
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::salvage(Superblock& superblock, bool after_failure) {
    Salvage found;
    look_for_records(superblock, found);
    if (found.cut_end > file_bytes_ && !read_only_) {
        if (Failure failure = file_.grow(file_bytes_, found.cut_end)) return failure;
        file_bytes_ = found.cut_end;
        look_for_records(superblock, found);
    }
    if (!found.is_whole) superblock.durable_end = file_bytes_;
    count_used_lengths();
    if (Failure failure = after_failure ? flush_all_pages(file_bytes_) : flush()) return failure;
    bury_superseded(superblock);
    std::sort(found.damaged_epochs.begin(), found.damaged_epochs.end());
    for (const std::uint64_t epoch : found.damaged_epochs)
        if (epoch > superblock.durable_epoch && epoch - superblock.durable_epoch <= most_skipped_epochs)
            superblock.durable_epoch = epoch;
    return {};
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::look_for_records(Superblock& superblock, Salvage& found) {
    found = {};
    superblock.checksum_id = SlotSum::id;
    superblock.index_id = index_id;
    superblock.key_length = KeyLen;
    superblock.generation = 1;
    superblock.records = 0;
    superblock.durable_epoch = pair_layout::first_epoch;
    superblock.durable_end = pair_layout::records_offset;
    // All that the walk may look at; slots may be of the epoch above D.
    region_.publish_word(pair_shared::live_end, file_bytes_);
    region_.publish_word(pair_shared::durable_epoch, pair_layout::last_epoch - 1);
    region_.publish_word(pair_shared::void_epoch, 0);
    walk_all(
        [&](std::uint32_t, const Place& place) {
            ++superblock.records;
            superblock.durable_end =
                (std::max)(superblock.durable_end, place.record + pair_layout::record_bytes(KeyLen, place.length));
            note_epochs(place, superblock, found.damaged_epochs);
        },
        [&](std::uint32_t bucket, const Chain& chain) {
            found.is_whole = false;
            ++superblock.records;  // at least
            const unsigned length = geometry_.length_of_bucket(bucket);
            if (chain.target() < file_bytes_)
                found.cut_end = (std::max)(found.cut_end, chain.target() + pair_layout::record_bytes(KeyLen, length));
            found.cut_end = (std::min)(found.cut_end, layout::file_limit);
        });
}

/// D rises to the epochs of whole slots; those of damaged ones are noted.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::note_epochs(const Place& place, Superblock& superblock,
                                                              std::vector<std::uint64_t>& damaged_epochs) const {
    std::uint64_t key[KeyType::word_count];
    load_key_words(place.record, key);
    for (unsigned which = 0; which < 2; ++which) {
        const SlotHeader header = header_at(slot_at(place, which));
        if (header.is_empty() || !header.is_good(slot_at(place, which)) || header.epoch() > pair_layout::last_epoch)
            continue;
        if (is_intact(place, which, header, key))
            superblock.durable_epoch = (std::max)(superblock.durable_epoch, header.epoch());
        else
            damaged_epochs.push_back(header.epoch());
    }
}

/// Deletes older values, those beside a deletion that was torn too. Beside another damaged slot the older value stays,
/// and so does the damage: who reads it knows from that to look for a newer one.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::bury_superseded(Superblock& superblock) {
    walk_all(
        [&](std::uint32_t bucket, const Place& place) {
            std::uint64_t words[KeyType::word_count];
            load_key_words(place.record, words);
            const View view = look(place, words);
            const unsigned which = 1 - view.which;
            const SlotHeader other = header_at(slot_at(place, which));
            const bool is_torn_deletion = other.is_good(slot_at(place, which)) && other.is_deleted();
            const std::uint64_t epoch = view.header.epoch() + 1;
            std::string text;
            if (view.state != View::State::live || (view.damage && !is_torn_deletion) ||
                epoch > pair_layout::last_epoch || !load_key(words, bucket, place.length, text) ||
                !has_newer(KeyType{std::string_view(text)}, place, view))
                return;
            store_idle(image_of(place, which, nullptr, words, epoch));
            superblock.durable_epoch = (std::max)(superblock.durable_epoch, epoch);
            if (view.damage) ++recovery_.mended_records;
        },
        [](std::uint32_t, const Chain&) {});
}

/// True if the key has a value that is newer than this one, wherever it can be reached. Of two in one epoch, which a
/// death in the middle of a change can leave, the one further behind counts as newer.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::has_newer(const KeyType& key, const Place& place,
                                                            const View& view) const noexcept {
    for (std::uint32_t rest = used_lengths(); rest != 0; rest &= rest - 1) {
        const auto length = static_cast<unsigned>(std::countr_zero(rest));
        Chain walk = chain(geometry_.bucket(key.hash(), length), length);
        while (walk.next()) {
            if (!region_.template equal<KeyLen>(walk.record(), key.words())) continue;
            const View another = look(Place{walk.record(), length}, key.words());
            const std::uint64_t epoch = another.header.epoch();
            const bool is_newer =
                epoch > view.header.epoch() || (epoch == view.header.epoch() && walk.record() > place.record);
            if (another.state == View::State::live && is_newer) return true;
        }
    }
    return false;
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_SALVAGE_HPP
