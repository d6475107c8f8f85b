// Opening, creating and closing a store of the seed format.
//
// Who has the file: a writing handle holds the presence byte exclusively, a read-only handle shared. The format has no
// place to tell a reader in another process that something changes, so they keep each other out.
//
// [seed-creation] A new file is filled from behind: space; all but bytes 0..7; flush; the name in the directory; then
// bytes 0..7, which make it a store, in one store; flush. Killed or unplugged before that, it leaves an empty file or
// one whose bytes 0..7 and index are NUL: such a file was never created and is created again by the next open.
//
// Opening walks every chain once, to know the live end, the number of keys and what is damaged: the format records none
// of them. That costs some 50 µs for an empty index and 50 to 200 ns for each record.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include <kvs/detail/seed_engine.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::open(std::string_view path, const Options& options) {
    path_.assign(path);
    if (path_.find('\0') != std::string::npos || path_.empty())
        return {errc::not_found, "a path is not empty and holds no NUL byte"};
    read_only_ = options.mode == Mode::read_only;
    if (const int e = Platform::watch_forks(); e != 0)
        return system_failure("forks of this process cannot be watched", e, false);
    fork_generation_ = Platform::fork_generation();
    durability_.set_policy(options.sync);

    bool created = false;
    if (Failure failure = open_file(options, created)) return failure;
    Failure failure = open_content(options, created);
    // Nobody else has used a file that was made here: this handle holds its lock.
    if (failure && created) Platform::remove(path_.c_str());
    return failure;
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::open_content(const Options& options, bool created) {
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
    if (Failure failure = check_header()) return failure;
    std::byte* base = nullptr;
    if (Failure failure =
            file_.map(layout::file_limit, read_only_ ? Platform::Access::read : Platform::Access::write, base))
        return failure;
    region_ = Region(base, layout::file_limit);
    scan();
    return {};
}

/// Opens and locks the file that the path names; created, if the mode says so.
template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::open_file(const Options& options, bool& created) {
    using Creation = typename Platform::Creation;
    const auto access = read_only_ ? Platform::Access::read : Platform::Access::write;
    // The file may be replaced by another one between its opening and its locking: then again.
    for (int tries = 0; tries < 100; ++tries) {
        Failure failure;
        created = false;
        if (options.mode != Mode::create_new) failure = file_.open(path_.c_str(), access, Creation::never, 0);
        const bool absent = options.mode == Mode::create_new || failure.code == errc::not_found;
        if (absent && (options.mode == Mode::create_new || options.mode == Mode::open_or_create)) {
            failure = file_.open(path_.c_str(), access, Creation::exclusive, options.permissions);
            created = !failure;
            if (failure.code == errc::already_exists && options.mode == Mode::open_or_create) continue;
        }
        if (failure) return failure;
        bool replaced = false;
        if (Failure problem = lock_file(replaced)) return problem;
        if (!replaced) return {};
        file_.close();
    }
    return {errc::in_use, "the file is being replaced again and again"};
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::lock_file(bool& replaced) {
    const auto mode = read_only_ ? Platform::Lock::shared : Platform::Lock::exclusive;
    if (Failure failure = file_.try_lock(layout::presence_lock, mode)) return failure;
    typename PlatformFile::Status mine;
    if (Failure failure = file_.status(mine)) return failure;
    typename PlatformFile::Status named;
    const int e = retry([&] { return Platform::status_of_path(path_.c_str(), named); });
    replaced = e != 0 || named.id != mine.id;
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
    std::byte* base = nullptr;
    if (Failure failure = file_.map(layout::file_limit, Platform::Access::write, base)) return failure;
    region_ = Region(base, layout::file_limit);
    region_.store(8, header + 8, sizeof header - 8);
    if (Failure failure = file_.flush()) return failure;
    const int e = retry([&] { return Platform::flush_directory(directory_of(path_).c_str()); });
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
    if (file_bytes_ < layout::records_offset)
        return {errc::corrupt, "the file is shorter than its index", Fact::at_least(layout::records_offset),
                Fact::of_bytes(file_bytes_)};
    geometry_ =
        Geometry(Weights::from_header(static_cast<std::uint32_t>(load_big_endian<4>(header + layout::weights_offset))));
    return {};
}

/// Walks every chain. A record is in one chain, so the records that are reached have together no more bytes than the
/// file; when they do, chains run into each other, and the walk ends instead of taking a time that grows with the
/// square of the file.
template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::scan() {
    live_end_.store(file_bytes_, std::memory_order_relaxed);  // the bound for the walk
    std::uint64_t unreached = file_bytes_ - layout::records_offset;
    std::uint64_t last_end = layout::records_offset;
    std::uint32_t used = 0;
    Position position;
    std::string key;
    for (; skip_empty_buckets(position); ++position.bucket) {
        const unsigned length = geometry_.length_of_bucket(position.bucket);
        const std::uint64_t record_bytes = layout::record_bytes(KeyLen, length);
        Chain<Region> walk = chain(position.bucket, length);
        used |= std::uint32_t{1} << length;
        while (walk.next()) {
            if (unreached < record_bytes) {
                used = ~std::uint32_t{0} >> (32 - layout::length_count);
                ++recovery_.damaged_chains;
                position.bucket = layout::bucket_count;
                break;
            }
            unreached -= record_bytes;
            if (walk.record() + record_bytes > last_end) last_end = walk.record() + record_bytes;
            ++recovery_.records;
            if (!load_key(walk.record(), position.bucket, length, key)) continue;
            const KeyType checked{std::string_view(key)};
            ++recovery_.keys;
            Place place;
            Failure ignored;
            for (std::uint32_t rest = without(used, length); rest != 0; rest &= rest - 1)
                if (find_in(checked, checked.hash(), static_cast<unsigned>(std::countr_zero(rest)), place, ignored) ==
                    Presence::present)
                    ++recovery_.duplicate_keys;
        }
        if (walk.damaged()) ++recovery_.damaged_chains;
    }
    keys_.store(recovery_.keys, std::memory_order_relaxed);
    used_lengths_.store(used, std::memory_order_relaxed);
    has_duplicates_ = recovery_.duplicate_keys != 0;
    // Behind a link that cannot be followed there may be records up to the end of the file: nothing there is free.
    if (recovery_.damaged_chains != 0) return;
    live_end_.store(last_end, std::memory_order_relaxed);
    // A closing writer cuts off the space it got in advance.
    if (last_end < file_bytes_) recovery_.outcome = Recovery::Outcome::killed;
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::close() noexcept {
    if (!file_.is_open()) return;
    if (is_foreign_process()) {
        durability_.forget_thread();  // the file is the parent's: touch nothing, let the mapping go
    } else {
        durability_.stop();
        const std::uint64_t live_end = live_end_.load(std::memory_order_relaxed);
        // What fails here costs space or a promise for the time after `sync()`, and there is nobody to tell.
        if (prepared_ && live_end < file_bytes_ && !file_.resize(live_end)) file_bytes_ = live_end;
        if (!read_only_) ignore(durability_.sync());
    }
    region_ = Region();
    file_.close();
}

}  // namespace kvs::detail
