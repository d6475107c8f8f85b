// Opening, creating and closing a store of paired records.
//
// [pair-creation] Space; all but bytes 0..7 of the file, both superblock copies clean; flush; the name in the
// directory; then bytes 0..7, which make it a store, in one store; flush. A file that is empty, or whose bytes 0..7 and
// index are NUL and where no valid superblock counts a record, was never created and is created by the next open.
//
// Opening and closing go through the gate, a byte lock that one handle holds at a time. Who then gets the presence byte
// for itself is alone with the file; else others have it open, and the handle joins them (pair_share.hpp).
//
// [open] The handle is alone with the file. In this order:
//
//   same boot and place, failed flag set     back to the last completed sync, whatever the memory holds [failed]
//   clean                                    the shared area is made from the superblock
//   not clean, same boot and place           a valid journal is applied, then make sure [ensure-durable]: no scan
//   not clean, another boot or place         recover [recover]
//
// A read-only handle does the same in a mapping of its own, which nobody sees, and flushes nothing (pair_view.hpp).
#ifndef KVS_DETAIL_PAIR_OPEN_HPP
#define KVS_DETAIL_PAIR_OPEN_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::open_file(std::string_view path, const Options& options,
                                                               bool may_share) {
    if (Failure failure = check_path(path)) return failure;
    path_.assign(path);
    directory_ = directory_of(path);
    on_damage_ = options.on_damage;  // memory may run out up to here, but not once there is a file to remove
    read_only_ = options.mode == Mode::read_only;
    if (const int e = Platform::watch_forks(); e != 0)
        return system_failure("forks of this process cannot be watched", e, false);
    fork_generation_ = Platform::fork_generation();
    problem_of_short_way_ = SumState::has_quick() && !read_only_ ? errc{} : errc::not_found;
    durability_.set_policy(options.sync);

    if (read_only_) return open_view(options);
    bool created = false;
    bool is_alone = true;
    Failure failure = open_store_file(file_, path_, options, may_share, created, is_alone);
    if (!failure) failure = unless_lost(is_alone ? open_content(options, created) : attach(options));
    is_ready_ = !failure;
    trusting_ =
        options.verify == Verify::after_crash && !recovery_.attached && recovery_.outcome == Recovery::Outcome::clean;
    if (failure && created && is_alone && failure.code != errc::in_use) remove_file<Platform>(path_.c_str());
    if (!failure && is_alone && may_share && !read_only_)
        failure = file_.try_lock(layout::presence_lock, Platform::Lock::shared);
    if (!failure) file_.unlock(layout::gate_lock);
    told_ = recovery_;
    return failure;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::open_content(const Options& options, bool& created) {
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    if (!status.regular) return {errc::not_a_store, "not a regular file"};
    if (status.bytes > layout::file_limit)
        return {errc::not_a_store, "the file is larger than the format allows", Fact::at_most(layout::file_limit),
                Fact::of_bytes(status.bytes)};
    file_bytes_ = status.bytes;
    if (Failure failure = read_place(status.id)) return failure;
    if (!read_only_)
        if (Failure failure = take_owner_byte()) return failure;

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
    Superblock superblock;
    if (Failure failure = check_identity(options, superblock)) return failure;
    if (superblock.durable_end > file_bytes_) recovery_.lost_bytes = superblock.durable_end - file_bytes_;
    // Of a salvaged file nobody knows: it may be.
    const bool same_place = has_stamp() && (recovery_.salvaged || is_same_place(superblock.place, place_));
    const bool failed = same_place && shared_word(pair_shared::failed) != 0;
    // The last of the checks: what is refused is left as it was.
    if (same_place && !recovery_.salvaged && !failed && !superblock.clean && recovery_.lost_bytes == 0)
        if (Failure failure = check_left(superblock)) return failure;
    announce_opening();
    // Also on a file system in memory, where even a look at a hole takes space.
    if (!read_only_ && file_.has_holes(file_bytes_)) {
        if (Failure failure = file_.fill_holes(file_bytes_)) return failure;
        prepared_ = true;
    }
    // A file cut short grows, but not to the E that it should have, which a forger can set to 4 GiB: so that the record
    // at which it was cut is whole, and none that is written later lies in it.
    if (recovery_.lost_bytes != 0 && !read_only_) {
        constexpr std::uint64_t longest = pair_layout::record_bytes(KeyLen, layout::length_count - 1);
        const std::uint64_t to = (std::min)(superblock.durable_end, file_bytes_ + longest);
        if (Failure failure = file_.grow(file_bytes_, to)) return failure;
        file_bytes_ = to;
    }
    Superblocks<Region>(region_).mend(recovery_.damaged_superblocks == 0);
    if (recovery_.salvaged)
        if (Failure failure = salvage(superblock, failed)) return failure;
    if (recovery_.salvaged || failed || recovery_.lost_bytes != 0) {
        recovery_.outcome = Recovery::Outcome::power_loss;
        if (Failure failure = recover(superblock, failed)) return failure;
    } else if (superblock.clean) {
        initialise_shared(superblock, same_place ? 0 : superblock.generation, false);
        // Somebody may have died between storing "clean" and flushing it: the next sync or close makes sure.
        if (same_place && !read_only_) durability_.note_pending();
        // Nor may half of the pages be missing until something is written: the power failed when it was marked in use.
        if (recovery_.mended_superblocks >= pair_layout::superblock_twins)
            if (Failure failure = complete_superblocks()) return failure;
        count_used_lengths();
    } else if (same_place) {
        recovery_.outcome = Recovery::Outcome::killed;
        if (Failure failure = resume_after_kill()) return failure;
        count_used_lengths();
    } else {
        recovery_.outcome = Recovery::Outcome::power_loss;
        if (Failure failure = recover(superblock, false)) return failure;
    }
    recovery_.keys = shared_word(pair_shared::keys);
    recovery_.records = shared_word(pair_shared::records);
    return {};
}

/// This run of the machine, and this file. If the machine cannot tell its runs apart, each is another one. If it could
/// and did not, for want of a descriptor, nothing is opened: what a killed process wrote would count as lost.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::read_place(const typename Platform::FileId& id) noexcept {
    const int e = retry([&] { return Platform::boot_id(place_.boot); });
    if (e != 0 && !is_lacking(e)) return system_failure("the run of the machine cannot be told", e, false);
    if (e != 0) place_.boot[0] = place_.boot[1] = Platform::arbitrary_number();
    place_.device = id.device;
    place_.inode = id.inode;
    return file_.mount_id(place_.mount);
}

/// Maps the file where it is not mapped yet; a read-only handle looks at a view that is there (pair_view.hpp).
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::map() noexcept {
    if (region_.is_mapped()) return {};
    const typename Platform::ForkBarrier no_fork;
    std::byte* base = nullptr;
    if (Failure failure = file_.map(layout::file_limit, Platform::Access::write, base)) return failure;
    region_ = Region(base, layout::file_limit);
    return {};
}

/// Each handle has a byte of its own, which the kernel frees when it dies; the lock word names it.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::take_owner_byte() noexcept {
    Failure failure;
    for (unsigned byte = 1; byte <= pair_layout::most_owners; ++byte) {
        failure = file_.try_lock(pair_layout::owner_locks + byte, Platform::Lock::exclusive);
        if (failure.code == errc::in_use) continue;
        owner_byte_ = byte;
        return failure;
    }
    return failure;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::was_never_created(bool& answer) {
    answer = false;
    if (file_bytes_ > pair_layout::records_offset) return {};
    std::byte piece[4096];
    for (std::uint64_t at = 0; at < file_bytes_ && at < layout::records_offset;) {
        const std::uint64_t left = layout::records_offset - at;
        std::size_t bytes = 0;
        const auto wanted = static_cast<std::size_t>(left < sizeof piece ? left : sizeof piece);
        if (Failure failure = file_.read(piece, wanted, at, bytes)) return failure;
        if (bytes == 0) break;
        for (std::size_t i = 0; i < bytes; ++i)
            if (piece[i] != std::byte{} && (at + i < 8 || at + i >= layout::header_bytes)) return {};
        at += bytes;
    }
    SuperblockSigns signs;
    if (file_bytes_ == pair_layout::records_offset)
        if (Failure failure = find_superblocks(file_, signs)) return failure;
    if (signs.pages != 0) {
        if (Failure failure = map()) return failure;
        Superblock superblock;
        unsigned copy = 0;
        if (Superblocks<Region>(region_).read_counting(superblock, copy) && superblock.records != 0) return {};
    }
    answer = true;
    return {};
}

/// The first bytes of a file.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::encode_header(std::byte (&header)[layout::header_bytes],
                                                                std::uint32_t weights) noexcept {
    std::memcpy(header + layout::magic_offset, layout::magic, sizeof layout::magic);
    store_big_endian<2>(header + layout::key_length_offset, KeyLen);
    store_big_endian<4>(header + layout::weights_offset, weights);
}

/// [pair-creation]
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::create(const Options& options) {
    if (file_bytes_ < pair_layout::records_offset) {
        if (Failure failure = file_.grow(file_bytes_, pair_layout::records_offset)) return failure;
        file_bytes_ = pair_layout::records_offset;
    }
    if (Failure failure = file_.fill_holes(file_bytes_)) return failure;
    prepared_ = true;
    if (Failure failure = map()) return failure;

    std::byte header[layout::header_bytes];
    encode_header(header, options.weights.header());
    region_.store(8, header + 8, sizeof header - 8);

    Superblock superblock;
    superblock.checksum_id = SlotSum::id;
    superblock.index_id = index_id;
    superblock.key_length = KeyLen;
    superblock.weights = options.weights.header();
    superblock.durable_epoch = pair_layout::first_epoch;
    superblock.durable_end = pair_layout::records_offset;
    superblock.clean = true;
    superblock.place = place_;
    // A number that no view of an earlier file with this inode was made under.
    region_.publish_word(pair_shared::opening, Platform::arbitrary_number());
    for (unsigned copy = 0; copy < pair_layout::superblock_copies; ++copy) {
        superblock.generation += 1 + (Platform::arbitrary_number() >> 48);
        Superblocks<Region>(region_).write(copy, superblock);
    }
    if (Failure failure = flush()) return failure;
    const int e = retry([&] { return Platform::flush_directory(directory_.c_str()); });
    if (e != 0) return system_failure("the directory cannot be flushed to the device", e, true);
    region_.template publish<8>(0, load_big_endian<8>(header));
    if (Failure failure = flush()) return failure;
    if (Failure failure = set_geometry(options.weights.header())) return failure;
    initialise_shared(superblock, superblock.generation, false);
    return {};
}

/// What kind of file it is; refuses what is another's, by name.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::check_identity(const Options& options, Superblock& superblock) {
    std::byte header[layout::header_bytes] = {};
    std::size_t bytes = 0;
    if (Failure failure = file_.read(header, sizeof header, 0, bytes)) return failure;
    const bool has_magic = std::memcmp(header, layout::magic, sizeof layout::magic) == 0;
    const std::uint64_t key_length = load_big_endian<2>(header + layout::key_length_offset);
    const auto weights = static_cast<std::uint32_t>(load_big_endian<4>(header + layout::weights_offset));
    SuperblockSigns signs;
    if (Failure failure = find_superblocks(file_, signs)) return failure;
    bool is_paired = signs.pages != 0;
    // Or one of which nothing is left but its records.
    if (!is_paired && has_magic && key_length == KeyLen && file_bytes_ >= pair_layout::records_offset) {
        if (Failure failure = map()) return failure;
        is_paired = has_whole_slot(weights);
    }
    if (!has_magic && !is_paired)
        return {errc::not_a_store,
                "the file is of another program: it does not begin like a store",
                Fact::of_text("the bytes \"AKVS\""),
                {}};
    const std::uint64_t least = is_paired ? pair_layout::records_offset : layout::records_offset;
    if (file_bytes_ < least)
        return {errc::corrupt, "the file is shorter than what lies before its records", Fact::at_least(least),
                Fact::of_bytes(file_bytes_)};
    if (!is_paired)
        return {errc::policy_mismatch, "the file was made with other policies", Fact::of_text("kvs::AbBackup"),
                Fact::of_text("kvs::NoBackup, the seed format")};
    if (Failure failure = map()) return failure;
    Superblocks<Region> superblocks(region_);
    unsigned copy = 0;
    if (!superblocks.read_counting(superblock, copy)) {
        if (!options.salvage)
            return {errc::corrupt,
                    "all four superblocks are damaged; with Options::salvage the store is rebuilt from its records",
                    Fact::of_text("one that is valid"),
                    {}};
        if (Failure failure = check_salvageable(weights)) return failure;
        if (!has_magic || key_length != KeyLen)
            return {errc::corrupt, "the superblocks and the header are damaged: nothing tells what the file holds"};
        superblock.weights = weights;
        recovery_.salvaged = true;
        recovery_.damaged_superblocks = pair_layout::superblock_copies * pair_layout::superblock_twins;
        return set_geometry(weights);
    }
    if (Failure failure = check_policies(superblock)) return failure;
    if (Failure failure = check_fields(superblock)) return failure;
    if (Failure failure = set_geometry(superblock.weights)) return failure;
    recovery_.header_damaged = !has_magic || key_length != KeyLen || weights != superblock.weights;
    // A death explains bad pages in one copy, the one that was being written, and not in both.
    const unsigned bad[2] = {superblocks.bad_pages(0), superblocks.bad_pages(1)};
    (bad[0] != 0 && bad[1] != 0 ? recovery_.damaged_superblocks : recovery_.mended_superblocks) = bad[0] + bad[1];
    return {};
}

/// Refuses what was made by another store, both sides named.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::check_policies(const Superblock& superblock) const noexcept {
    if (superblock.version != pair_layout::format_version)
        return {errc::version_mismatch,
                superblock.version > pair_layout::format_version ? "the file is of a newer format version"
                                                                 : "the file is of an older format version",
                Fact::of_number(pair_layout::format_version), Fact::of_number(superblock.version)};
    if (superblock.key_length != KeyLen)
        return {errc::key_length_mismatch, "the file was made with another key length", Fact::of_bytes(KeyLen),
                Fact::of_bytes(superblock.key_length)};
    if (superblock.checksum_id != SlotSum::id)
        return {errc::policy_mismatch, "the file was made with another checksum", Fact::of_text(SlotSum::name),
                Fact::of_text(checksum_name(superblock.checksum_id))};
    if (superblock.index_id != index_id)
        return {errc::policy_mismatch, "the file was made with another index",
                Fact::of_text(index_id == pair_layout::index_growing ? "kvs::GrowingIndex" : "kvs::ChainIndex"),
                Fact::of_text(superblock.index_id == pair_layout::index_growing  ? "kvs::GrowingIndex"
                              : superblock.index_id == pair_layout::index_chains ? "kvs::ChainIndex"
                                                                                 : "an unknown one")};
    return {};
}

/// True if some record has a slot with the right checksum: nothing but a store of this kind, with these weights, has.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::has_whole_slot(std::uint32_t weights) const noexcept {
    const Geometry geometry(Weights::from_header(weights));
    for (std::uint32_t bucket = next_used_bucket(region_, 0); bucket < layout::bucket_count;
         bucket = next_used_bucket(region_, bucket + 1)) {
        const unsigned length = geometry.length_of_bucket(bucket);
        Chain walk(region_, KeyLen, file_bytes_, bucket, length);
        while (walk.next()) {
            const Place place{walk.record(), length};
            std::uint64_t key[KeyType::word_count];
            load_key_words(place.record, key);
            for (unsigned which = 0; which < 2; ++which) {
                const SlotHeader header = header_at(slot_at(place, which));
                if (!header.is_empty() && header.is_good(slot_at(place, which)) && is_intact(place, which, header, key))
                    return true;
            }
        }
    }
    return false;
}

/// Of damaged superblocks, one that has the magic has to be of such a store as this: salvage by another would find no
/// whole slot, and leave a store of its own. If none has it, the records have said so.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::check_salvageable(std::uint32_t weights) const noexcept {
    Failure failure;
    bool is_readable = false;
    for (unsigned page = 0; page < pair_layout::superblock_copies * pair_layout::superblock_twins; ++page) {
        Superblock damaged;
        if (!Superblocks<Region>::read_damaged_page(region_, pair_layout::superblock_page(page), damaged)) continue;
        is_readable = true;
        const Failure other = check_policies(damaged);
        if (!other && damaged.weights == weights) return {};
        if (other) failure = other;
    }
    if (failure || !is_readable) return failure;
    return {errc::corrupt,
            "the header and the damaged superblocks have different weights: nothing tells what the file holds"};
}

/// Once: other threads read it while a read-only handle makes its view anew.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::set_geometry(std::uint32_t weights) noexcept {
    if (!has_geometry_) {
        geometry_ = Geometry(Weights::from_header(weights));
        has_geometry_ = true;
    } else if (geometry_.weights().header() != weights) {
        return {errc::corrupt, "the file was created anew, with other weights, while it was open"};
    }
    return {};
}

/// A valid checksum does not make sense of what somebody else wrote.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::check_fields(const Superblock& s) const noexcept {
    const bool good = s.durable_epoch >= pair_layout::first_epoch && s.durable_epoch <= pair_layout::last_epoch &&
                      s.durable_end >= pair_layout::records_offset && s.durable_end <= layout::file_limit &&
                      s.void_epoch <= s.durable_epoch && s.records <= most_records(s.durable_end) &&
                      s.keys <= s.records;
    return good ? Failure{} : Failure{errc::corrupt, "the superblock contradicts itself"};
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::has_stamp() const noexcept {
    return region_.load_word(pair_shared::stamp) == stamp_word();
}

/// Before anything is stored: read-only handles that look at the file as it was see by this that it changes.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::announce_opening() noexcept {
    region_.publish_word(pair_shared::opening, shared_word(pair_shared::opening) + 1);
}

/// Brings the shared area to the state of a superblock.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::initialise_shared(const Superblock& s,
                                                                    std::uint64_t durable_generation,
                                                                    bool keep_failed) noexcept {
    region_.publish_word(pair_shared::stamp, stamp_word());
    region_.publish_word(pair_shared::journal_valid, 0);
    region_.publish_word(pair_shared::live_end, s.durable_end);
    region_.publish_word(pair_shared::durable_epoch, s.durable_epoch);
    region_.publish_word(pair_shared::durable_end, s.durable_end);
    region_.publish_word(pair_shared::records, s.records);
    region_.publish_word(pair_shared::keys, s.keys);
    region_.publish_word(pair_shared::void_epoch, s.void_epoch);
    region_.publish_word(pair_shared::index_place, s.index_place[0]);
    region_.publish_word(pair_shared::index_place + 8, s.index_place[1]);
    region_.publish_word(pair_shared::pending, 0);
    region_.publish_word(pair_shared::in_use, s.clean ? 0 : 1);
    if (!keep_failed) region_.publish_word(pair_shared::failed, 0);
    region_.publish_word(pair_shared::durable_generation, durable_generation);
    make_usable();
}

/// Lock word and counters, which a death may have left taken and odd.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::make_usable() noexcept {
    region_.publish_word(pair_shared::lock, shared_word(pair_shared::lock) & ~std::uint64_t{0xff});
    region_.publish_word(pair_shared::mount, place_.mount);
    writers_.set_byte(owner_byte_);
    versions_.make_even();
}

/// From the index alone, so that opening does not take longer for more records.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::count_used_lengths() noexcept {
    std::uint32_t used = 0;
    for (std::uint32_t group = 0; group < layout::group_count; ++group) {
        const std::uint64_t slots = layout::slot_offset(group * layout::buckets_per_group);
        if (!region_.all_zero(slots, layout::link_bytes * layout::buckets_per_group))
            used |= std::uint32_t{1} << geometry_.length_of_group(group);
    }
    region_.publish_word(pair_shared::lengths, used);
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::close() noexcept {
    if (is_foreign_process()) {
        durability_.forget_thread();  // the file is the parent's: touch nothing, let the mapping go
    } else if (file_.is_open()) {
        durability_.stop();
        if (!read_only_ && is_ready_) close_shared();
        // Closing the file frees them, unless a child that never ran its fork handlers has a copy of the descriptor.
        if (owner_byte_ != 0) file_.unlock(pair_layout::owner_locks + owner_byte_);
        file_.unlock(layout::presence_lock);
        file_.unlock(layout::gate_lock);
    }
    region_ = Region();
    file_.close();
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_OPEN_HPP
