// Opening, creating and closing a store of the seed format.
//
// Who has the file: see open_file.hpp. The format has no place to tell a reader in another process that something
// changes, so readers and writers keep each other out.
//
// [seed-creation] A new file is filled from behind: space; all but bytes 0..7; flush; the name in the directory; then
// bytes 0..7, which make it a store, in one store; flush. Killed or unplugged before that, it leaves an empty file or
// one whose bytes 0..7 and index are NUL: such a file was never created and is created again by the next open.
//
// Opening walks every chain once, to know the live end, the number of keys and what is damaged: the format records none
// of them. That costs some 50 µs for an empty index and 50 to 500 ns for each record.
#ifndef KVS_DETAIL_SEED_OPEN_HPP
#define KVS_DETAIL_SEED_OPEN_HPP

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <kvs/detail/open_file.hpp>
#include <kvs/detail/seed_engine.hpp>
#include <kvs/detail/superblock.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::open(std::string_view path, const Options& options) {
    if (Failure failure = check_path(path)) return failure;
    path_.assign(path);
    directory_ = directory_of(path);  // memory may run out here, but not once there is a file to remove
    read_only_ = options.mode == Mode::read_only;
    if (const int e = Platform::watch_forks(); e != 0)
        return system_failure("forks of this process cannot be watched", e, false);
    fork_generation_ = Platform::fork_generation();
    durability_.set_policy(options.sync);

    bool created = false;
    bool is_alone = true;
    Failure failure = open_store_file(file_, path_, options, false, created, is_alone);
    if (!failure) failure = unless_lost(open_content(options, created));
    if (!failure) file_.unlock(layout::gate_lock);
    // A file made in vain goes, unless somebody else was quick to use it.
    if (failure && created && failure.code != errc::in_use) remove_file<Platform>(path_.c_str());
    return failure;
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::open_content(const Options& options, bool& created) {
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    if (!status.regular) return {errc::not_a_store, "not a regular file"};
    if (status.bytes > layout::file_limit)
        return {errc::not_a_store, "the file is larger than the format allows", Fact::at_most(layout::file_limit),
                Fact::of_bytes(status.bytes)};
    file_bytes_ = status.bytes;
    live_end_.store(layout::records_offset, std::memory_order_relaxed);

    bool never_created = false;
    if (Failure failure = was_never_created(never_created)) return failure;
    if (never_created) {
        if (!created && (options.mode == Mode::open_existing || read_only_))
            return {errc::not_a_store, "the file is empty: a store was never created in it"};
        if (Failure failure = create(options)) return failure;
        recovery_.outcome = Recovery::Outcome::created;
        return {};
    }
    // Between the creation of the file and the gate somebody else may have made a store of it: it is theirs.
    if (std::exchange(created, false) && options.mode == Mode::create_new)
        return {errc::already_exists, "somebody else created the file just now"};
    if (Failure failure = check_header()) return failure;
    if (Failure failure = map()) return failure;
    // On a file system in memory even a look at a hole takes space, and is a bus error where there is none.
    if (!read_only_ && file_.has_holes(file_bytes_)) {
        if (Failure failure = file_.fill_holes(file_bytes_)) return failure;
        prepared_ = true;
    }
    scan();
    return {};
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::map() noexcept {
    const typename Platform::ForkBarrier no_fork;
    const auto access = read_only_ ? Platform::Access::read : Platform::Access::write;
    std::byte* base = nullptr;
    if (Failure failure = file_.map(layout::file_limit, access, base)) return failure;
    region_ = Region(base, layout::file_limit);
    return {};
}

/// True for an empty file and for what an unfinished creation leaves; never for a file that holds anything.
template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::was_never_created(bool& answer) {
    answer = false;
    if (file_bytes_ > layout::records_offset) return {};
    std::byte piece[4096];
    for (std::uint64_t at = 0; at < file_bytes_; at += sizeof piece) {
        std::size_t bytes = 0;
        if (Failure failure = file_.read(piece, sizeof piece, at, bytes)) return failure;
        // The last two bytes of the header are stored before its first eight.
        for (std::size_t i = 0; i < bytes; ++i)
            if (piece[i] != std::byte{} && (at != 0 || i < 8 || i >= layout::header_bytes)) return {};
    }
    answer = true;
    return {};
}

/// [seed-creation]
template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::create(const Options& options) {
    std::byte header[layout::header_bytes];
    std::memcpy(header + layout::magic_offset, layout::magic, sizeof layout::magic);
    store_big_endian<2>(header + layout::key_length_offset, KeyLen);
    store_big_endian<4>(header + layout::weights_offset, options.weights.header());

    if (file_bytes_ < layout::records_offset) {
        if (Failure failure = file_.grow(file_bytes_, layout::records_offset)) return failure;
        file_bytes_ = layout::records_offset;
    }
    if (Failure failure = file_.fill_holes(file_bytes_)) return failure;
    prepared_ = true;
    if (Failure failure = map()) return failure;
    region_.store(8, header + 8, sizeof header - 8);
    if (Failure failure = file_.flush()) return failure;
    const int e = retry([&] { return Platform::flush_directory(directory_.c_str()); });
    if (e != 0) return system_failure("the directory cannot be flushed to the device", e, true);
    region_.template publish<8>(0, load_big_endian<8>(header));
    if (Failure failure = file_.flush()) return failure;
    geometry_ = Geometry(options.weights);
    return {};
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::check_header() {
    std::byte header[layout::header_bytes] = {};
    std::size_t bytes = 0;
    if (Failure failure = file_.read(header, sizeof header, 0, bytes)) return failure;
    if (bytes < sizeof header || std::memcmp(header, layout::magic, sizeof layout::magic) != 0)
        return {errc::not_a_store,
                "the file is of another program: it does not begin like a store",
                Fact::of_text("the bytes \"AKVS\""),
                {}};
    const std::uint64_t key_length = load_big_endian<2>(header + layout::key_length_offset);
    if (key_length != KeyLen)
        return {errc::key_length_mismatch, "the file was made with another key length", Fact::of_bytes(KeyLen),
                Fact::of_bytes(key_length)};
    // One page alone that only begins so can be a value.
    SuperblockSigns signs;
    if (Failure failure = find_superblocks(file_, signs)) return failure;
    if (signs.is_valid || signs.pages > 1)
        return {errc::policy_mismatch, "the file was made with other policies",
                Fact::of_text("kvs::NoBackup, the seed format"), Fact::of_text("kvs::AbBackup")};
    if (file_bytes_ < layout::records_offset)
        return {errc::corrupt, "the file is shorter than its index", Fact::at_least(layout::records_offset),
                Fact::of_bytes(file_bytes_)};
    geometry_ =
        Geometry(Weights::from_header(static_cast<std::uint32_t>(load_big_endian<4>(header + layout::weights_offset))));
    return {};
}

/// Walks every chain, for what the format does not record: live end, number of keys, lengths in use, damage.
template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::scan() {
    opened_end_ = file_bytes_;
    live_end_.store(file_bytes_, std::memory_order_relaxed);  // the bound for the walk
    std::uint64_t last_end = layout::records_offset;
    std::uint32_t used = 0;
    std::vector<Reached> reached;
    std::vector<KeyAt> keys;
    std::string key;
    const auto visit = [&](std::uint32_t bucket, const Place& place) {
        used |= std::uint32_t{1} << place.length;
        last_end = (std::max)(last_end, place.record + layout::record_bytes(KeyLen, place.length));
        reached.push_back({static_cast<std::uint32_t>(place.record), bucket});
        if (load_key(place.record, bucket, place.length, key))
            keys.push_back({KeyType{std::string_view(key)}.hash(), static_cast<std::uint32_t>(place.record)});
    };
    const auto damage = [&](std::uint32_t bucket, std::uint64_t, const Failure&) {
        used |= std::uint32_t{1} << geometry_.length_of_bucket(bucket);
        mark_damaged(bucket);
    };
    if (!walk_all(visit, damage)) {
        // What the rest of the chains would have shown is not known.
        for (unsigned length = 0; length < layout::length_count; ++length)
            if (geometry_.has(length)) used |= std::uint32_t{1} << length;
        for (std::uint32_t bucket = 0; bucket < layout::bucket_count; ++bucket) mark_damaged(bucket);
    }
    // A link that once led beyond the end leads into whatever was put there since.
    find_overlaps(reached, [&](const Reached& one, const Reached& other) {
        mark_damaged(one.bucket);
        mark_damaged(other.bucket);
    });
    recovery_.records = reached.size();
    recovery_.keys = keys.size();
    // In one length a key can be twice only by damage, which `verify` finds and look-ups do not mind.
    if (!std::has_single_bit(used)) find_duplicates(keys, [&](std::uint64_t) { ++recovery_.duplicate_keys; });
    keys_.store(recovery_.keys, std::memory_order_relaxed);
    used_lengths_.store(used, std::memory_order_relaxed);
    if (recovery_.duplicate_keys != 0) {
        has_duplicates_.store(true, std::memory_order_relaxed);
        clears_.store(most_clears_of_hints + 1, std::memory_order_relaxed);  // no hints: they remember either record
    }
    // Behind a link that cannot be followed there may be records up to the end of the file: nothing there is free.
    if (recovery_.damaged_chains != 0) return;
    live_end_.store(last_end, std::memory_order_relaxed);
    // A closing writer cuts off the space it got in advance.
    if (last_end < file_bytes_) recovery_.outcome = Recovery::Outcome::killed;
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::mark_damaged(std::uint32_t bucket) {
    damaged_buckets_.resize(layout::bucket_count / 64);
    if (!is_damaged(bucket)) ++recovery_.damaged_chains;
    damaged_buckets_[bucket / 64] |= std::uint64_t{1} << bucket % 64;
    has_damage_.store(true, std::memory_order_relaxed);
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::close() noexcept {
    if (is_foreign_process()) {
        durability_.forget_thread();  // the file is the parent's: touch nothing, let the mapping go
    } else if (file_.is_open()) {
        durability_.stop();
        const std::uint64_t live_end = live_end_.load(std::memory_order_relaxed);
        // What fails here costs space or a promise for the time after `sync()`, and there is nobody to tell.
        const bool may_cut = prepared_ && !has_lost_page();
        if (may_cut && live_end < file_bytes_ && !file_.resize(live_end)) file_bytes_ = live_end;
        if (!read_only_) ignore(durability_.sync());
        file_.unlock(layout::presence_lock);  // a child that never ran its fork handlers can have the descriptor
    }
    region_ = Region();
    file_.close();
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_SEED_OPEN_HPP
