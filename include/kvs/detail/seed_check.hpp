// Checking a store of the seed format from end to end, and counting what is in it.
#ifndef KVS_DETAIL_SEED_CHECK_HPP
#define KVS_DETAIL_SEED_CHECK_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <kvs/detail/check.hpp>
#include <kvs/detail/seed_engine.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::verify(Report& report) {
    if (Failure failure = check_process()) return failure;
    const Guard<Mutex> no_writer(writers_);
    report = {};
    ProblemList problems(report);
    std::vector<KeyAt> keys;
    std::vector<Reached> reached;
    walk_all(
        [&](std::uint32_t bucket, const Place& place) {
            ++report.records;
            reached.push_back({static_cast<std::uint32_t>(place.record), bucket});
            verify_record(bucket, place, keys, report, problems);
        },
        [&](std::uint32_t bucket, std::uint64_t offset, const Failure& failure) {
            problems.add(offset, bucket, failure);
        });

    find_overlaps(reached, [&](const Reached&, const Reached& other) {
        problems.add(other.record, other.bucket, {errc::corrupt, "the record overlaps another one"});
    });
    find_duplicates(keys, [&](std::uint64_t record) {
        problems.add(record, no_bucket, {errc::corrupt, "the key of this record has another record too"});
    });
    return {};
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::verify_record(std::uint32_t bucket, const Place& place,
                                                          std::vector<KeyAt>& keys, Report& report,
                                                          ProblemList& problems) const {
    if (region_.all_zero(place.record, KeyLen)) {
        ++report.deleted_records;
        return;
    }
    std::string key;
    if (!load_key(place.record, bucket, place.length, key)) {
        // What a process leaves that is killed while it writes or erases a key: see [seed-change].
        if (region_.template load<1>(place.record) == 0)
            ++report.abandoned_records;
        else
            problems.add(place.record, bucket,
                         {errc::corrupt, "the record's key is none that belongs into this bucket"});
        return;
    }
    ++report.keys;
    keys.push_back({KeyType{std::string_view(key)}.hash(), static_cast<std::uint32_t>(place.record)});
    const auto code = type_at(place);
    if (!code.known)
        problems.add(type_offset(place.record), bucket, unknown_type(place));
    else if (Failure failure = check_value(Stored<Region>{region_, value_offset(place.record), code}))
        problems.add(value_offset(place.record), bucket, failure);
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::stats(Stats& stats) {
    if (Failure failure = check_process()) return failure;
    const Guard<Mutex> no_writer(writers_);
    stats = {};
    stats.file_bytes = file_bytes_;
    stats.live_bytes = live_end_.load(std::memory_order_relaxed);
    stats.limit_bytes = layout::file_limit;
    std::array<Stats::Length, layout::length_count> lengths{};
    std::string key;
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
            if (region_.all_zero(place.record, KeyLen))
                ++lengths[place.length].deleted_records;
            else if (load_key(place.record, bucket, place.length, key))
                ++lengths[place.length].keys;
        },
        [](std::uint32_t, std::uint64_t, const Failure&) {});
    for (unsigned length = 0; length < layout::length_count; ++length) {
        if (!geometry_.has(length)) continue;
        Stats::Length& line = lengths[length];
        line.value_bytes = static_cast<std::uint32_t>(layout::value_bytes(length));
        line.groups = geometry_.groups_with(length);
        line.record_bytes = layout::record_bytes(KeyLen, length);
        stats.keys += line.keys;
        stats.deleted_records += line.deleted_records;
        stats.lengths.push_back(line);
    }
    return {};
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_SEED_CHECK_HPP
