// Handles that have a store open together, of one process or of several, and what one of them does when another dies.
//
// [writers] Whoever takes the lock over from a dead owner does this before anything else: applies a valid journal,
// while the counters that its change made odd still are; evens the counters; completes a superblock cut short; makes
// sure of D [ensure-durable]. Killed in between, the next one does it again, to the same effect. What does not check,
// or a flush that fails, poisons the store: nothing is written any more until an open that is alone has gone back to
// the last completed sync [failed].
//
// A reader that waits for an odd counter looks whether its writer is dead, and then takes the lock itself.
//
// [close] The last handle, which gets the presence byte for itself, closes the file cleanly. Another syncs, gives the
// lock word back and goes.
#ifndef KVS_DETAIL_PAIR_SHARE_HPP
#define KVS_DETAIL_PAIR_SHARE_HPP

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

/// Joins the handles that have the file open: under the gate, so that none of them is opening or closing it.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::attach(const Options& options) {
    if (options.mode == Mode::create_new) return {errc::already_exists, "somebody else created the file just now"};
    if (Failure failure = refresh_size()) return failure;
    Superblock superblock;
    if (Failure failure = check_identity({}, superblock)) return failure;
    recovery_ = {};
    recovery_.attached = true;
    if (!has_stamp()) return foreign_stamp();
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    if (Failure failure = read_place(status.id)) return failure;
    place_.mount = shared_word(pair_shared::mount);  // or superblocks would name now this way to the file, now that
    if (Failure failure = take_owner_byte()) return failure;
    writers_.set_byte(owner_byte_);
    writers_.inherit();
    {
        const Guard<WriterLock> no_writer(writers_);
        if (Failure failure = refresh_size()) return failure;
        unsigned copy = 0;
        if (!Superblocks<Region>(region_).read_counting(superblock, copy))
            return {errc::corrupt, "neither copy of the superblock is valid any more"};
        if (Failure failure = check_left(superblock)) return failure;
        if (shared_word(pair_shared::pending) != 0) durability_.note_pending();  // of somebody who may be dead
    }
    recovery_.keys = shared_word(pair_shared::keys);
    recovery_.records = shared_word(pair_shared::records);
    return {};
}

/// Nobody has the byte: the kernel freed it, or its handle did, which clears the lock word before.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::is_owner_dead(void* engine, unsigned byte) noexcept {
    const auto& self = *static_cast<PairEngine*>(engine);
    auto held = Platform::Lock::none;
    if (self.file_.lock_of_others(pair_layout::owner_locks + byte, held)) return false;
    return held == Platform::Lock::none;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::take_over(void* engine) noexcept {
    static_cast<PairEngine*>(engine)->finish_for_dead();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::finish_for_dead() noexcept {
    if (refresh_size() || !finish_journal()) poison();
    versions_.make_even();  // in any case: readers wait for it
    if (shared_word(pair_shared::failed) != 0) return;
    if (shared_word(pair_shared::pending) != 0) durability_.note_pending();
    // The dead one may have been writing a superblock; a page that is half written would pass for damage. What is
    // mended is on the device before a superblock is written: under `sync_each` there may be no other flush before it.
    Superblocks<Region> superblocks(region_);
    const bool is_torn = superblocks.bad_pages(0) + superblocks.bad_pages(1) != 0;
    if (is_torn) superblocks.mend(true);
    if (make_sure(is_torn)) poison();
    // It may have died behind a superblock that says "not clean", before it said so here: who closes then has to know.
    Superblock counting;
    unsigned copy = 0;
    if (shared_word(pair_shared::in_use) == 0 && superblocks.read_counting(counting, copy) && !counting.clean)
        region_.publish_word(pair_shared::in_use, 1);
}

/// False if what the dead one left is no journal.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::finish_journal() noexcept {
    bool is_sound = true;
    return !journal_.find(file_bytes_, is_sound) || (is_sound && apply_journal());
}

/// [lost] The others must not build upon what was done to a page that only this process has.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::admit_loss(void* engine) noexcept {
    auto& self = *static_cast<PairEngine*>(engine);
    if (!self.read_only_ && self.has_lost_page()) self.poison();
}

/// The writer that a reader waits for may be dead, or asleep. False: it waits in vain.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::help_reader(void* engine) noexcept {
    auto& self = *static_cast<PairEngine*>(engine);
    constexpr std::uint64_t nap = 50'000;  // nanoseconds
    // Who lost a page must not follow a dead writer for a mere read: it would apply the journal to pages of its own,
    // and then say to all that nothing is durable.
    if (self.has_lost_page()) return false;
    if (self.read_only_) return self.help_view();
    if (self.owner_byte_ == 0 || !self.writers_.is_abandoned()) {
        Platform::sleep(nap);
    } else {
        const Guard<WriterLock> one_writer(self.writers_);
        self.versions_.make_even();
    }
    return true;
}

/// A writer stores the number of changes before it gives the lock back, and looks behind that for who sleeps; who goes
/// to sleep says so before it looks at the number. So one of them sees the other. The word by which it says so is the
/// one it sleeps on: if that is taken back before it sleeps, it does not. A read-only handle cannot say so, and looks
/// from time to time.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
std::uint64_t PairEngine<KeyLen, Sharing, Form, Platform>::wait_for_change(std::uint64_t seen,
                                                                           std::uint64_t nanoseconds,
                                                                           const std::atomic<bool>& stopping) noexcept {
    constexpr std::uint64_t longest = std::uint64_t{1} << 60;
    constexpr std::uint64_t nap = 10'000'000;
    constexpr std::uint64_t slice = 1'000'000'000;  // for a wake-up between the look at `stopping` and the sleep
    const std::uint64_t end = Platform::nanoseconds_now() + (std::min)(nanoseconds, longest);
    for (;;) {
        const std::uint64_t found = version();
        const std::uint64_t now = Platform::nanoseconds_now();
        if (found != seen || now >= end || stopping.load()) return found;
        if (read_only_) {
            Platform::sleep((std::min)(end - now, nap));
            continue;
        }
        const std::uint64_t sleepers = region_.set_bits(pair_shared::sleepers, pair_shared::waits_for_change);
        if (version() == seen) region_.sleep_on(pair_shared::sleepers, sleepers, (std::min)(end - now, slice));
    }
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::close_shared() noexcept {
    for (bool is_synced = false;; is_synced = true) {
        // What fails here is a promise for the time after `sync()`, and there is nobody to tell. The next open finds a
        // store whose process died.
        if (file_.lock(layout::gate_lock, Platform::Lock::exclusive)) return;
        if (!file_.try_lock(layout::presence_lock, Platform::Lock::exclusive)) {
            const Guard<WriterLock> one_writer(writers_);
            const bool was_written = prepared_ || shared_word(pair_shared::in_use) != 0;
            if (close_locked() || refresh_size()) return;
            const std::uint64_t end = shared_word(pair_shared::live_end);
            if (was_written && end < file_bytes_) ignore(file_.resize(end));
            return;
        }
        if (is_synced) return;
        // Not under the gate, for it takes long; and the others may all have gone when it is done.
        file_.unlock(layout::gate_lock);
        ignore(sync());
    }
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_SHARE_HPP
