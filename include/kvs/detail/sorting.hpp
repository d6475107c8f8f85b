// What is sorted: the steps of a batch, and the records that a walk through all chains reached. None of it depends on
// the key length, so that a program with several kinds of store holds it once, or once for each kind of memory.
#ifndef KVS_DETAIL_SORTING_HPP
#define KVS_DETAIL_SORTING_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace kvs::detail {

/// One operation of a batch.
struct BatchStep {
    const std::byte* key;  ///< padded to the key length
    std::size_t number;    ///< of the operation, in the order in which they were noted
    std::uint32_t hash;
    unsigned length;       ///< of the value; `any_length` of an erasure
    std::uint32_t bucket;  ///< 0 of an erasure
};

/// Leaves the last step on each key, in the order of their buckets; of one bucket in the order of their keys.
inline void order_steps(std::vector<BatchStep>& steps, std::size_t key_length) {
    const auto is_same_key = [key_length](const BatchStep& a, const BatchStep& b) {
        return a.hash == b.hash && std::memcmp(a.key, b.key, key_length) == 0;
    };
    const auto by_key = [key_length](const BatchStep& a, const BatchStep& b) {
        if (a.hash != b.hash) return a.hash < b.hash;
        const int order = std::memcmp(a.key, b.key, key_length);
        return order != 0 ? order < 0 : a.number > b.number;
    };
    std::sort(steps.begin(), steps.end(), by_key);
    steps.erase(std::unique(steps.begin(), steps.end(), is_same_key), steps.end());
    std::sort(steps.begin(), steps.end(), [by_key](const BatchStep& a, const BatchStep& b) {
        return a.bucket != b.bucket ? a.bucket < b.bucket : by_key(a, b);
    });
}

/// A record and the chain it was reached in, for finding records that overlap.
struct Reached {
    std::uint32_t record;
    std::uint32_t bucket;
};

/// By offset; a record that was reached twice is there twice.
inline void sort_by_record(std::vector<Reached>& reached) {
    std::sort(reached.begin(), reached.end(), [](const Reached& a, const Reached& b) { return a.record < b.record; });
}

/// A record with a key, for finding keys that have two.
struct KeyAt {
    std::uint32_t hash;
    std::uint32_t record;
};

/// Like `memcmp` of the keys of two records.
template <class Region>
int compare_keys(const Region& region, std::size_t key_length, const KeyAt& a, const KeyAt& b) {
    constexpr std::size_t most = 64;
    for (std::size_t at = 0; at < key_length; at += most) {
        const std::size_t bytes = (std::min)(most, key_length - at);
        std::byte left[most];
        std::byte right[most];
        region.copy_out(a.record + at, left, bytes);
        region.copy_out(b.record + at, right, bytes);
        if (const int order = std::memcmp(left, right, bytes); order != 0) return order;
    }
    return 0;
}

/// By hash, then by the key itself: of two records with the same key one follows the other.
template <class Region>
void sort_by_key(const Region& region, std::size_t key_length, std::vector<KeyAt>& keys) {
    std::sort(keys.begin(), keys.end(), [&](const KeyAt& a, const KeyAt& b) {
        if (a.hash != b.hash) return a.hash < b.hash;
        return a.record != b.record && compare_keys(region, key_length, a, b) < 0;
    });
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_SORTING_HPP
