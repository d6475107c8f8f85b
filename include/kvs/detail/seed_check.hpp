// Checking a store of the seed format from end to end, and counting what is in it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <kvs/detail/seed_engine.hpp>

namespace kvs::detail {

/// Collects problems up to a number that a person can read, and counts the rest.
class ProblemList {
public:
    explicit ProblemList(Report& report) noexcept : report_(report) {}

    void add(std::uint64_t offset, std::uint32_t bucket, const Failure& failure) {
        constexpr std::size_t most = 100;
        ++report_.problem_count;
        if (report_.problems.size() >= most) return;
        std::string text = describe(failure, {}, {});
        text.erase(0, sizeof "kvs: " - 1);
        report_.problems.push_back({offset, bucket, std::move(text)});
    }

private:
    Report& report_;
};

/// What is wrong with a value where it lies; false if nothing is.
template <class Source>
Failure check_value(const Stored<Source>& stored) {
    if (stored.code.type < Type::ascii) {
        std::uint64_t bits = 0;
        return load_number(stored, bits);
    }
    std::string payload;
    if (Failure failure = load_payload(stored, payload)) return failure;
    if (stored.code.type == Type::bytes) return {};
    const TextKind kind = text_kind(payload);
    if (kind == TextKind::ascii || (kind == TextKind::utf8 && stored.code.type == Type::utf8)) {
        const auto room = static_cast<std::size_t>(layout::value_bytes(stored.code.length));
        std::string field(room, '\0');
        stored.source.copy_out(stored.offset, reinterpret_cast<std::byte*>(field.data()), room);
        if (field.find_first_not_of('\0', payload.size()) == std::string::npos) return {};
        return {errc::corrupt, "bytes follow the NUL that ends the text", Fact::of_text("NULs"), {}};
    }
    return {errc::corrupt, "the text is not what its type says", Fact::of_type(stored.code.type), {}};
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::verify(Report& report) {
    if (Failure failure = check_process()) return failure;
    const Guard<Mutex> no_writer(writers_);
    report = {};
    ProblemList problems(report);
    struct Seen {
        std::uint64_t record;
        std::uint32_t bucket;
        std::uint32_t hash;  // 0 for a deleted record
        unsigned length;
    };
    std::vector<Seen> seen;
    // Every record is in one chain only: more of them than the file has room for are chains that run into each other.
    std::uint64_t unreached = live_end_.load(std::memory_order_relaxed) - layout::records_offset;
    std::string key;
    Position position;
    for (; skip_empty_buckets(position); ++position.bucket) {
        const unsigned length = geometry_.length_of_bucket(position.bucket);
        const std::uint64_t record_bytes = layout::record_bytes(KeyLen, length);
        Chain<Region> walk = chain(position.bucket, length);
        while (walk.next()) {
            if (unreached < record_bytes) {
                problems.add(walk.record(), position.bucket,
                             {errc::corrupt, "chains run into each other; the rest was not checked"});
                return {};
            }
            unreached -= record_bytes;
            ++report.records;
            const Place place{walk.record(), length};
            if (region_.all_zero(place.record, KeyLen)) {
                ++report.deleted_records;
                seen.push_back({place.record, position.bucket, 0, length});
                continue;
            }
            if (!load_key(place.record, position.bucket, length, key)) {
                problems.add(place.record, position.bucket,
                             {errc::corrupt, "the record's key is none that belongs into this bucket"});
                seen.push_back({place.record, position.bucket, 0, length});
                continue;
            }
            ++report.keys;
            seen.push_back({place.record, position.bucket, KeyType{std::string_view(key)}.hash(), length});
            const auto code = type_at(place);
            if (!code.known) {
                problems.add(type_offset(place.record), position.bucket, unknown_type(place));
            } else if (Failure failure = check_value(Stored<Region>{region_, value_offset(place.record), code})) {
                problems.add(value_offset(place.record), position.bucket, failure);
            }
        }
        if (walk.damaged()) problems.add(walk.link(), position.bucket, walk.failure());
    }

    std::sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.record < b.record; });
    for (std::size_t i = 1; i < seen.size(); ++i)
        if (seen[i - 1].record + layout::record_bytes(KeyLen, seen[i - 1].length) > seen[i].record)
            problems.add(seen[i].record, seen[i].bucket, {errc::corrupt, "two records overlap"});

    std::stable_sort(seen.begin(), seen.end(), [](const Seen& a, const Seen& b) { return a.hash < b.hash; });
    std::string other;
    for (std::size_t i = 1; i < seen.size(); ++i) {
        const Seen& a = seen[i - 1];
        const Seen& b = seen[i];
        if (a.hash == 0 || a.hash != b.hash) continue;
        if (load_key(a.record, a.bucket, a.length, key) && load_key(b.record, b.bucket, b.length, other) &&
            key == other)
            problems.add(b.record, b.bucket, {errc::corrupt, "the key has another record elsewhere"});
    }
    return {};
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
    Position position;
    std::uint64_t unreached = stats.live_bytes - layout::records_offset;
    for (; skip_empty_buckets(position); ++position.bucket) {
        const unsigned length = geometry_.length_of_bucket(position.bucket);
        const std::uint64_t record_bytes = layout::record_bytes(KeyLen, length);
        Chain<Region> walk = chain(position.bucket, length);
        std::uint64_t records = 0;
        for (; walk.next() && unreached >= record_bytes; ++records, unreached -= record_bytes) {
            if (region_.all_zero(walk.record(), KeyLen))
                ++lengths[length].deleted_records;
            else if (load_key(walk.record(), position.bucket, length, key))
                ++lengths[length].keys;
        }
        stats.buckets_used += records != 0 ? 1 : 0;
        stats.longest_chain = std::max(stats.longest_chain, records);
    }
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
