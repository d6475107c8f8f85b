// Read-only handles: they write nothing, lock nothing, and work while others write [read-only].
//
// What such a handle looks at is its view of the file:
//
//   at rest    nobody has the file open for writing: a private mapping, in which a file that was not closed cleanly is
//              recovered by the same code as for a writing handle. The file is unchanged.
//   live       others share it: the file itself, read like any reader does (version_table.hpp).
//   orphaned   the writer died between two stores and nobody has come yet to finish its work: a private mapping in
//              which this handle does that for itself. Good as long as the lock word names the dead.
//
// The opening stamp in the file, another number after every open by a handle that was alone, tells when a view is over.
// It is noted before the view is made, and looked at after each operation, always in the file itself: a private mapping
// would freeze it. When it has changed, the view is made anew and the operation repeated.
//
// Which view it is to be, the byte locks say, about which a handle can ask without taking any:
//
//   presence exclusive, gate held    an open or a last close is under way: wait, and begin again
//   presence exclusive, gate free    a store of `SharedThreads` or `Unshared`: `in_use`
//   presence shared                  live
//   presence free                    at rest
//
// A new view is mapped where the old one was, in one step, so that threads in the middle of a read have memory under
// them; what they read, they read again.
#ifndef KVS_DETAIL_PAIR_VIEW_HPP
#define KVS_DETAIL_PAIR_VIEW_HPP

#include <cerrno>
#include <cstdint>
#include <system_error>
#include <utility>

#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::open_view(const Options& options) {
    salvages_ = options.salvage;
    if (Failure failure = file_.open(path_.c_str(), Platform::Access::read, Platform::Creation::never, 0))
        return failure;
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    if (!status.regular) return {errc::not_a_store, "not a regular file"};
    const Guard<typename Platform::Mutex> guard(renewing_);
    Failure failure = make_view();
    failure = unless_lost(failure);
    told_ = recovery_;
    return failure;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
auto PairEngine<KeyLen, Sharing, Form, Platform>::note_view() const noexcept -> ViewNote {
    ViewNote note;
    while (((note.number = view_.load(std::memory_order_acquire)) & 1) != 0)
        const Guard<typename Platform::Mutex> made_anew(renewing_);
    note.opening = view_opening_.load(std::memory_order_relaxed);
    note.kind = view_kind_.load(std::memory_order_relaxed);
    return note;
}

/// After an operation. Its loads were acquiring ones, so these come later.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::is_still(const ViewNote& noted) const noexcept {
    if (!is_view_good_.load(std::memory_order_relaxed) || view_.load(std::memory_order_relaxed) != noted.number ||
        stamps_.load_word(pair_shared::opening) != noted.opening)
        return false;
    return noted.kind != ViewKind::orphaned ||
           stamps_.load_word(pair_shared::lock) == orphaned_lock_.load(std::memory_order_relaxed);
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::renew_view(const ViewNote& noted) const {
    const Guard<typename Platform::Mutex> one_at_a_time(renewing_);
    if (has_lost_page()) return lost_page();
    if (const Failure failure = std::exchange(orphan_failure_, {})) return failure;
    if (is_still(noted)) return {};
    if (view_.load(std::memory_order_relaxed) != noted.number) return {};  // another thread has made one
    // The view is a picture of the file, kept; the object that callers see is none the different.
    Failure failure;
    std::error_code no_memory;
    const bool is_made = guarded(no_memory, [&] { return failure = const_cast<PairEngine&>(*this).make_view(); });
    if (is_made || failure) return failure;
    return system_failure("there is no memory for a look at what others did to the file", ENOMEM, false);
}

/// Makes views until one was made without anybody opening the file meanwhile.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::make_view() {
    is_view_good_.store(false, std::memory_order_relaxed);
    const ViewChange change(view_);
    for (;;) {
        if (Failure failure = refresh_size()) return failure;
        if (!stamps_.is_mapped() && file_bytes_ >= pair_layout::records_offset) {
            const typename Platform::ForkBarrier no_fork;
            std::byte* base = nullptr;
            if (Failure failure = file_.map(pair_layout::records_offset, Platform::Access::read, base)) return failure;
            stamps_ = Region(base, pair_layout::records_offset);
        }
        const bool has_stamps = stamps_.is_mapped();
        const std::uint64_t opening = has_stamps ? stamps_.watch_word(pair_shared::opening) : 0;
        ViewKind kind = ViewKind::at_rest;
        if (Failure failure = look_for_writers(kind)) return failure;
        Failure failure = fill_view(kind);
        // A file that was being created when this began has its stamps by now.
        if (!has_stamps && file_bytes_ >= pair_layout::records_offset) continue;
        if (has_stamps && stamps_.watch_word(pair_shared::opening) != opening) continue;
        view_opening_.store(opening, std::memory_order_relaxed);
        view_kind_.store(kind, std::memory_order_relaxed);
        is_view_good_.store(!failure, std::memory_order_relaxed);
        return failure;
    }
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::look_for_writers(ViewKind& kind) const noexcept {
    using Lock = typename Platform::Lock;
    // An opener holds the presence exclusively for a moment after the gate was looked at, and before it.
    constexpr int looks = 20;
    constexpr std::uint64_t nap = 1'000'000;  // nanoseconds
    for (int refusals = 0; refusals < looks;) {
        auto presence = Lock::none;
        if (Failure failure = file_.lock_of_others(layout::presence_lock, presence)) return failure;
        if (presence != Lock::exclusive) {
            kind = presence == Lock::shared ? ViewKind::live : ViewKind::at_rest;
            if (kind != ViewKind::live || shares) return {};
            break;
        }
        auto gate = Lock::none;
        if (Failure failure = file_.lock_of_others(layout::gate_lock, gate)) return failure;
        if (gate == Lock::none) ++refusals;
        Platform::sleep(nap);
    }
    return {errc::in_use, "another handle, of this or another process, has the file open and does not share it"};
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::fill_view(ViewKind kind) {
    recovery_ = {};
    if (Failure failure = map_view(kind != ViewKind::live)) return failure;
    if (kind == ViewKind::live) return join_live();
    Options options;
    options.mode = Mode::read_only;
    options.salvage = salvages_;
    bool created = false;
    return open_content(options, created);
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::map_view(bool is_private) noexcept {
    if (region_.is_mapped()) return file_.map_again(layout::file_limit, is_private, region_.base());
    const typename Platform::ForkBarrier no_fork;
    std::byte* base = nullptr;
    if (Failure failure = is_private ? file_.map_private(layout::file_limit, base)
                                     : file_.map(layout::file_limit, Platform::Access::read, base))
        return failure;
    region_ = Region(base, layout::file_limit);
    return {};
}

/// The file as others have it; nothing of it is stored to.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::join_live() {
    Superblock superblock;
    if (Failure failure = refresh_size()) return failure;
    if (Failure failure = check_identity({}, superblock)) return failure;
    recovery_ = {};
    recovery_.attached = true;
    if (!has_stamp()) return foreign_stamp();
    const std::uint64_t end = shared_word(pair_shared::live_end);
    if (Failure failure = refresh_size()) return failure;
    if (end < pair_layout::records_offset || end > file_bytes_)
        return {errc::corrupt, "the end of the records lies behind that of the file", Fact::at_most(file_bytes_),
                Fact::of_offset(end)};
    recovery_.keys = shared_word(pair_shared::keys);
    recovery_.records = shared_word(pair_shared::records);
    return {};
}

/// A reader waits for an odd counter. In a view that is over, or could not be made, it would wait for ever: its writer
/// may have died since, and in a private mapping nobody evens it. False: it waits in vain.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::help_view() noexcept {
    constexpr std::uint64_t nap = 50'000;  // nanoseconds
    if (!is_view_good_.load(std::memory_order_relaxed) || is_view_over()) return replace_view();
    const unsigned owner = WriterLock::owner_of(stamps_.watch_word(pair_shared::lock));
    if (view_kind_.load(std::memory_order_relaxed) == ViewKind::live && owner != 0 && is_owner_dead(this, owner))
        return adopt_orphan();
    Platform::sleep(nap);
    return true;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::is_view_over() const noexcept {
    return stamps_.watch_word(pair_shared::opening) != view_opening_.load(std::memory_order_relaxed) ||
           (view_kind_.load(std::memory_order_relaxed) == ViewKind::orphaned &&
            stamps_.watch_word(pair_shared::lock) != orphaned_lock_.load(std::memory_order_relaxed));
}

/// For a reader in the middle of an operation, which will be repeated. If no view can be had, it at least gets counters
/// that are even; why there is none, the repetition says.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::replace_view() noexcept {
    const Guard<typename Platform::Mutex> one_at_a_time(renewing_);
    if (is_view_good_.load(std::memory_order_relaxed) && !is_view_over()) return true;  // another thread did
    std::error_code no_view;
    if (guarded(no_view, [&] { return make_view(); })) return true;
    if (map_view(true)) return false;
    versions_.make_even();
    return true;
}

/// Finishes a dead writer's work in memory of this process. Whoever does it in the file changes the lock word: then the
/// view is over at once, whatever it is like.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::adopt_orphan() noexcept {
    const Guard<typename Platform::Mutex> one_at_a_time(renewing_);
    if (view_kind_.load(std::memory_order_relaxed) != ViewKind::live) return true;  // another thread did
    const std::uint64_t word = stamps_.watch_word(pair_shared::lock);
    const unsigned owner = WriterLock::owner_of(word);
    if (owner == 0 || !is_owner_dead(this, owner)) return true;
    const ViewChange change(view_);
    Failure failure = map_view(true);
    const bool is_private = !failure;
    if (!failure) failure = refresh_size();
    bool is_sound = true;
    if (!failure && journal_.find(file_bytes_, is_sound, true) && is_sound) {
        apply_journal();
        failure = journal_.failure();
    }
    if (is_private) {
        versions_.make_even();
        Superblocks<Region>(region_).mend(true);
    }
    orphaned_lock_.store(word, std::memory_order_relaxed);
    view_kind_.store(ViewKind::orphaned, std::memory_order_relaxed);
    if (failure) is_view_good_.store(false, std::memory_order_relaxed);
    // Told by the operation that waits here, or it would try again and again; of a view that is over it is nothing.
    if (failure && !is_view_over()) orphan_failure_ = failure;
    return is_private;
}

/// What `undisturbed` does between two attempts: waits for the writer, finishes a dead one's work, or renews the view.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::await_quiet(const ViewNote& noted, bool is_writing) const {
    constexpr std::uint64_t nap = 1'000'000;  // nanoseconds
    if (is_writing) static_cast<void>(const_cast<PairEngine&>(*this).help_view());
    if (!is_still(noted)) return renew_view(noted);
    if (noted.kind == ViewKind::live) Platform::sleep(nap);
    return {};
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_VIEW_HPP
