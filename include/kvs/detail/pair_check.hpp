// Checking a store of paired records from end to end, mending what its second copies allow, and counting.
#ifndef KVS_DETAIL_PAIR_CHECK_HPP
#define KVS_DETAIL_PAIR_CHECK_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <kvs/detail/check.hpp>
#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::verify(Report& report) {
    if (Failure failure = check_process()) return failure;
    return undisturbed([&] { return check_all(report); });
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::check_all(Report& report) const {
    report = {};
    ProblemList problems(report);
    check_head(problems);
    walk_all(
        [&](std::uint32_t bucket, const Place& place) {
            ++report.records;
            check_record(bucket, place, report, problems);
        },
        [&](std::uint32_t bucket, const Chain& chain) { problems.add(chain.link(), bucket, chain.failure()); });
    // The check in front of a record was made for one link, so a record is reached once. What is not reached is missed
    // by the count.
    const std::uint64_t records = shared_word(pair_shared::records);
    if (report.records != records)
        problems.add(pair_shared::records, no_bucket,
                     {errc::corrupt, "the number of records that are reached is another than was counted",
                      Fact::of_number(records), Fact::of_number(report.records)});
    const std::uint64_t keys = shared_word(pair_shared::keys);
    if (report.keys != keys)
        problems.add(pair_shared::keys, no_bucket,
                     {errc::corrupt, "the number of keys is another than was counted", Fact::of_number(keys),
                      Fact::of_number(report.keys)});
    return {};
}

/// Header and superblocks.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::check_head(ProblemList& problems) const {
    const bool good = region_.template load<4>(layout::magic_offset) == 0x414b5653 &&
                      region_.template load<2>(layout::key_length_offset) == KeyLen &&
                      region_.template load<4>(layout::weights_offset) == geometry_.weights().header();
    if (!good)
        problems.add(0, no_bucket,
                     {errc::corrupt, "the file's header is damaged; the superblock's copy of it is used"});
    for (unsigned copy = 0; copy < pair_layout::superblock_copies; ++copy) {
        Superblock twins[2];
        bool valid[2];
        for (unsigned twin = 0; twin < 2; ++twin)
            valid[twin] =
                Superblocks<Region>::read_page(region_, pair_layout::superblock_offset(copy, twin), twins[twin]);
        for (unsigned twin = 0; twin < 2; ++twin)
            if (!valid[twin])
                problems.add(pair_layout::superblock_offset(copy, twin), no_bucket,
                             {errc::corrupt, "a page of the superblock is damaged"});
        if (valid[0] && valid[1] && twins[0].generation != twins[1].generation)
            problems.add(pair_layout::superblock_offset(copy, 1), no_bucket,
                         {errc::corrupt, "the twins of a superblock differ", Fact::of_number(twins[0].generation),
                          Fact::of_number(twins[1].generation)});
    }
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::check_record(std::uint32_t bucket, const Place& place, Report& report,
                                                               ProblemList& problems) const {
    const std::uint64_t type = region_.template load<1>(place.record + KeyLen);
    if (type != (pair_layout::paired_type | place.length))
        problems.add(place.record + KeyLen, bucket,
                     {errc::corrupt, "the record's type byte is not that of a pair of this length",
                      Fact::of_byte(static_cast<std::uint8_t>(pair_layout::paired_type | place.length)),
                      Fact::of_byte(static_cast<std::uint8_t>(type))});
    std::uint64_t key[KeyType::word_count];
    load_key_words(place.record, key);
    const View view = look(place, key);
    const std::uint64_t voided = shared_word(pair_shared::void_epoch);
    for (unsigned which = 0; which < 2; ++which) {
        const std::uint64_t slot = slot_at(place, which);
        const SlotHeader header = header_at(slot);
        if (header.is_empty()) continue;
        const bool is_older_of_another = view.state == View::State::dead && which != view.which;
        if (!header.is_good(slot) || header.epoch() > next_epoch())
            problems.add(slot, bucket, {errc::corrupt, "the header of a slot is damaged"});
        else if (header.epoch() > voided && !is_older_of_another && !is_intact(place, which, header, key))
            problems.add(slot, bucket, {errc::corrupt, "the checksum of a slot is wrong"});
    }
    if (view.state == View::State::dead) ++report.deleted_records;
    if (header_at(slot_at(place, 0)).is_empty() && header_at(slot_at(place, 1)).is_empty())
        problems.add(place.record, bucket, {errc::corrupt, "both slots are empty"});
    if (view.state != View::State::live) return;
    ++report.keys;
    std::string text;
    if (!load_key(key, bucket, place.length, text))
        problems.add(place.record, bucket, {errc::corrupt, "the record's key is none that belongs into this bucket"});
    const Slot slot = slot_of(place, view);
    if (!slot.code.known) problems.add(slot_at(place, view.which), bucket, unknown_value());
}

/// Of one record; true if it holds a key then.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::repair_slots(std::uint32_t bucket, const Place& place) {
    std::uint64_t key[KeyType::word_count];
    load_key_words(place.record, key);
    const View view = look(place, key);
    if (view.state == View::State::damaged) return false;
    const unsigned which = 1 - view.which;
    const std::uint64_t other = slot_at(place, which);
    const SlotHeader h = header_at(other);
    const bool good = h.is_good(other) && (h.epoch() <= shared_word(pair_shared::void_epoch) ||
                                           view.state == View::State::dead || is_intact(place, which, h, key));
    if (h.is_empty() || good) return view.state == View::State::live;
    std::string text;
    const bool is_other_value = view.damage && load_key(key, bucket, place.length, text) &&
                                is_superseded(place, view, KeyType{std::string_view(text)});
    const typename Versions::Change change(versions_, bucket);
    if (!is_other_value) {
        region_.publish_word(other, 0);
        return view.state == View::State::live;
    }
    // The deletion that is damaged, again. Of an epoch that is durable, and not emptied first: whatever a death or a
    // power cut leaves of it, the value beside it is not the key's newest.
    const std::uint64_t durable = shared_word(pair_shared::durable_epoch);
    if (view.header.epoch() >= durable) return true;  // such files are made by hand only
    journal_.begin();
    add_slot(image_of(place, which, nullptr, nullptr, durable));
    journal_.commit();
    journal_.apply();
    return false;
}

/// A damaged copy beside a good one is emptied: the good one counts alone, and stays until it is replaced. Pages of the
/// superblock are written from their twins, the header from the superblock, keys are counted anew. What has no second
/// copy stays.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::repair(Report& report) {
    if (Failure failure = check_process()) return failure;
    {
        const Guard<WriterLock> one_writer(writers_);
        if (Failure failure = before_change()) return failure;
        // All that is pending becomes durable first: a damaged slot of the epoch above D is then one like any other.
        if (Failure failure = sync_locked()) return failure;
        if (Failure failure = before_change()) return failure;
        std::byte header[layout::header_bytes];
        std::memcpy(header, layout::magic, sizeof layout::magic);
        store_big_endian<2>(header + layout::key_length_offset, KeyLen);
        store_big_endian<4>(header + layout::weights_offset, geometry_.weights().header());
        region_.store(0, header, sizeof header);
        std::uint64_t keys = 0;
        walk_all(
            [&](std::uint32_t bucket, const Place& place) {
                if (region_.template load<1>(place.record + KeyLen) != (pair_layout::paired_type | place.length))
                    region_.template publish<1>(place.record + KeyLen, pair_layout::paired_type | place.length);
                if (repair_slots(bucket, place)) ++keys;
            },
            [](std::uint32_t, const Chain&) {});
        // A key whose record was damaged was counted, and is counted again when it is set.
        region_.publish_word(pair_shared::keys, (std::min)(keys, shared_word(pair_shared::records)));
        // Two syncs write both copies of the superblock, each with its twin.
        if (Failure failure = sync_locked()) return failure;
        if (Failure failure = before_change()) return failure;
        if (Failure failure = sync_locked()) return failure;
    }
    return verify(report);
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::stats(Stats& stats) {
    if (Failure failure = check_process()) return failure;
    return undisturbed([&] { return count_all(stats); });
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::count_all(Stats& stats) const {
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    stats = {};
    stats.file_bytes = status.bytes;
    stats.live_bytes = shared_word(pair_shared::live_end);
    stats.limit_bytes = layout::file_limit;
    std::array<Stats::Length, layout::length_count> lengths{};
    std::uint32_t last_bucket = no_bucket;
    std::uint64_t chain_records = 0;
    walk_all(
        [&](std::uint32_t bucket, const Place& place) {
            if (bucket != last_bucket) {
                ++stats.buckets_used;
                last_bucket = bucket;
                chain_records = 0;
            }
            stats.longest_chain = (std::max)(stats.longest_chain, ++chain_records);
            const typename View::State state = look(place).state;
            if (state == View::State::dead) ++lengths[place.length].deleted_records;
            if (state == View::State::live) ++lengths[place.length].keys;
        },
        [](std::uint32_t, const Chain&) {});
    for (unsigned length = 0; length < layout::length_count; ++length) {
        if (!geometry_.has(length)) continue;
        Stats::Length& line = lengths[length];
        line.value_bytes = static_cast<std::uint32_t>(layout::value_bytes(length));
        line.groups = geometry_.groups_with(length);
        line.record_bytes = pair_layout::check_bytes + pair_layout::record_bytes(KeyLen, length);
        stats.keys += line.keys;
        stats.deleted_records += line.deleted_records;
        stats.lengths.push_back(line);
    }
    return {};
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_CHECK_HPP
