// Bringing changes to the device.
//
// [sync] Under the writers' lock: make sure (below); if nothing is pending, done; flush; write the superblock copy that
// is not G's, with D + 1, live end, counts and C; flush; then D and E in the shared area, the pending word, and last G.
// Two flushes: with one, the superblock could be on the device before what it speaks of.
//
// [one-flush] Under `sync_each` most syncs have one slot to bring to the device, a value in place of a durable one.
// Then the first flush is left out, and the superblock says which slot it is and with which checksum: recovery counts
// that slot at epoch D only as it is said. So a slot that the power cut tore is no damage, and one that it left of an
// earlier power cut, of the same epoch and in itself whole, is not taken for the one that was synced.
//
// [ensure-durable] While the valid superblock copy with the largest generation is not G's, somebody died between
// storing it and flushing it, and D is not known. Then nothing outside the shared area is stored and nothing is
// acknowledged until a flush has completed and D, E and G are taken from that copy.
//
// [failed] The kernel may have dropped the pages of a flush that failed, and answers the next call with success. So the
// failed flag is set at once, and nothing is written or promised until an open that is alone has gone back to the last
// completed sync (pair_recover.hpp).
#ifndef KVS_DETAIL_PAIR_SYNC_HPP
#define KVS_DETAIL_PAIR_SYNC_HPP

#include <cstdint>

#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::sync_now() noexcept {
    // Not by way of a flush: on this handle's descriptor it can report what another's has reported already, or succeed.
    if (shared_word(pair_shared::failed) != 0) return not_durable();
    // The long flush comes before the lock, so that writers wait only for what they changed meanwhile. If it fails, so
    // has the sync: the kernel reports an error once.
    if (!durability_.is_each() && shared_word(pair_shared::pending) != 0)
        if (Failure failure = flush()) return failure;
    const Guard<WriterLock> one_writer(writers_);
    return sync_locked();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::sync_locked() noexcept {
    if (has_lost_page()) return lost_page();
    if (shared_word(pair_shared::failed) != 0) return not_durable();
    if (Failure failure = make_sure()) return failure;
    if (shared_word(pair_shared::pending) == 0) return {};
    if (Failure failure = check_size()) return failure;
    const std::uint64_t lone = lone_slot();
    if (lone == 0)
        if (Failure failure = flush()) return failure;
    return write_superblock(false, epoch_to_sync(), shared_word(pair_shared::live_end), lone);
}

/// [one-flush] The slot that holds all there is to sync; 0 = there is more, or nobody knows. The word can be anybody's,
/// so it is not believed further than the slot it leads to.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
std::uint64_t PairEngine<KeyLen, Sharing, Form, Platform>::lone_slot() const noexcept {
    const std::uint64_t slot = shared_word(pair_shared::pending);
    if (!durability_.is_each() || slot < pair_layout::records_offset || slot % 8 != 0) return 0;
    const std::uint64_t end = shared_word(pair_shared::live_end);
    if (slot > end || end - slot < pair_layout::slot_header_bytes) return 0;
    return header_at(slot).epoch() == next_epoch() ? slot : 0;
}

/// The last sync, whose superblock says that the file is clean.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::close_locked() noexcept {
    if (has_lost_page()) return lost_page();
    if (shared_word(pair_shared::failed) != 0) return {};
    if (Failure failure = make_sure()) return failure;
    if (shared_word(pair_shared::in_use) == 0) return {};
    if (Failure failure = check_size()) return failure;
    if (Failure failure = flush()) return failure;
    if (Failure failure = write_superblock(true, epoch_to_sync(), shared_word(pair_shared::live_end))) return failure;
    region_.publish_word(pair_shared::in_use, 0);
    return {};
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::make_sure(bool always) noexcept {
    Superblock counting;
    unsigned copy = 0;
    if (!Superblocks<Region>(region_).read_counting(counting, copy))
        return {errc::corrupt, "neither copy of the superblock is valid any more"};
    if (!always && shared_word(pair_shared::durable_generation) == counting.generation) return {};
    if (Failure failure = flush()) return failure;
    note_durable(counting);
    return {};
}

/// D, E and, last, G of a superblock that is on the device.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::note_durable(const Superblock& superblock) noexcept {
    region_.publish_word(pair_shared::durable_epoch, superblock.durable_epoch);
    region_.publish_word(pair_shared::durable_end, superblock.durable_end);
    region_.publish_word(pair_shared::durable_generation, superblock.generation);
}

/// Sets the failed flag if it fails. What was stored to a lost page is not in the file.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::flush() noexcept {
    if (read_only_) return {};  // a mapping of this process alone
    Failure failure = file_.flush();
    failure = unless_lost(failure);
    if (failure) poison();
    return failure;
}

/// Writes the copy that is not known to be the one on the device, flushes, and notes what is durable then.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::write_superblock(bool clean, std::uint64_t durable_epoch,
                                                                      std::uint64_t durable_end,
                                                                      std::uint64_t lone_slot) noexcept {
    if (has_lost_page()) return lost_page();
    Superblocks<Region> superblocks(region_);
    Superblock superblock;
    unsigned copy = 0;
    if (!superblocks.read_counting(superblock, copy))
        return {errc::corrupt, "neither copy of the superblock is valid any more"};
    superblock.generation += 1 + (Platform::arbitrary_number() >> 48);
    superblock.durable_epoch = durable_epoch;
    superblock.durable_end = durable_end;
    superblock.records = shared_word(pair_shared::records);
    superblock.keys = shared_word(pair_shared::keys);
    superblock.void_epoch = shared_word(pair_shared::void_epoch);
    superblock.clean = clean;
    superblock.lone_slot = lone_slot;
    superblock.lone_content = lone_slot == 0 ? 0 : region_.template load<8>(lone_slot + 8);
    superblock.place = place_;
    // The copy that counts is the one known to be durable: `make_sure` came before.
    superblocks.write(1 - copy, superblock);
    if (Failure failure = flush()) return failure;
    region_.publish_word(pair_shared::durable_epoch, durable_epoch);
    region_.publish_word(pair_shared::durable_end, durable_end);
    region_.publish_word(pair_shared::pending, 0);
    region_.publish_word(pair_shared::durable_generation, superblock.generation);
    return {};
}

/// Before the first change after a clean open: "not clean" on the device, before anything else is stored. A flush comes
/// first, always: somebody may have mended a page of the superblock and died, and without it the copy that counts could
/// be a single page while the other copy is torn.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::mark_in_use() noexcept {
    if (Failure failure = make_sure(true)) return failure;
    const std::uint64_t epoch = shared_word(pair_shared::durable_epoch);
    const std::uint64_t end = shared_word(pair_shared::durable_end);
    if (Failure failure = write_superblock(false, epoch, end)) return failure;
    region_.publish_word(pair_shared::in_use, 1);
    return {};
}

/// Of a clean file one copy of the superblock is gone: it is written again.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::complete_superblocks() noexcept {
    Superblock one;
    const Superblocks<Region> superblocks(region_);
    if (superblocks.read(0, one) && superblocks.read(1, one)) return {};
    if (Failure failure = make_sure(true)) return failure;
    return write_superblock(true, shared_word(pair_shared::durable_epoch), shared_word(pair_shared::durable_end));
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::check_size() const noexcept {
    std::uint64_t bytes = 0;
    if (Failure failure = file_.size(bytes)) return failure;
    const std::uint64_t live_end = shared_word(pair_shared::live_end);
    if (bytes >= live_end) return {};
    return {errc::io_error, "another program has cut the file short", Fact::at_least(live_end), Fact::of_bytes(bytes)};
}

/// Another handle may have made the file longer.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::refresh_size() noexcept {
    std::uint64_t bytes = 0;
    if (Failure failure = file_.size(bytes)) return failure;
    file_bytes_ = bytes;
    return {};
}

/// Space in the file up to `end`. How long the file is has to be known: growth that fails is cut back to that.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::ensure_space(std::uint64_t end) noexcept {
    if (end <= file_bytes_) return {};
    if (Failure failure = refresh_size()) return failure;
    return file_.ensure_space(file_bytes_, end);
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_SYNC_HPP
