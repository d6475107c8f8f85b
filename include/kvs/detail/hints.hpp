// [hints] Where keys were found before.
//
// The hash of the format is slow for text that is known only at run time (one multiplication after the other for each
// byte), and a key's record never moves. So a store remembers, in memory of its own, where it found a key, under a hash
// that is quick to compute; a look-up goes there first, compares the key with the bytes in the file, and takes the long
// way if they differ. Nothing depends on a hint being there, or being of that key.
//
// What may be depended on: the record was one, and lay inside the file, when the hint was left, which happened before
// it was found (release, acquire). While a file of pairs is open for writing that stays so: its records do not move,
// and no space is freed. Everybody else has to look where the file ends before going where a hint says.
//
// One thing could make bytes equal a key without being that key's record: space used again, where the offset may lie
// inside another record's value. In the seed format `clear` frees space. Therefore a hint carries the store's count of
// clears, and is looked at only while that is the count, inside the reader's version check (`clear` changes all
// versions). The count has 16 bits in a hint and 32 in the store: after 65,535 clears there are no more hints, and no
// stale one is ever taken. A file of pairs frees no space while it is open for writing, so there the count is 0; a
// read-only handle puts the number of its view in its place, for the file can be another when it is looked at anew.
//
// A hint is one word, so it is whole or another one. Two places for each hash keep most keys of a small store.
#ifndef KVS_DETAIL_HINTS_HPP
#define KVS_DETAIL_HINTS_HPP

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace kvs::detail {

/// bits 0..2 of the quick hash, 3..7 logarithm of the value length, 8..15 low bits of the key's hash, 16..31 count of
/// clears, or what takes its place, 32..63 offset of the record. All 0 = none: no record is at offset 0. What every
/// look-up wants of it takes one instruction or two.
class Hint {
public:
    constexpr Hint() noexcept = default;
    constexpr explicit Hint(std::uint64_t bits) noexcept : bits_(bits) {}
    constexpr Hint(std::uint64_t record, unsigned length, std::uint32_t hash, std::uint64_t quick_hash,
                   std::uint32_t clears) noexcept
        : bits_((quick_hash & 7) | std::uint64_t{length} << 3 | std::uint64_t{hash & 0xff} << 8 |
                std::uint64_t{clears & 0xffff} << 16 | record << 32) {}

    constexpr std::uint64_t bits() const noexcept { return bits_; }
    constexpr std::uint64_t record() const noexcept { return bits_ >> 32; }
    /// As good as the key's hash for `VersionTable`.
    constexpr std::uint32_t version() const noexcept { return static_cast<std::uint32_t>(bits_ >> 8 & 0xff); }
    /// Quicker than `length`, but tells the compiler nothing of that.
    constexpr bool has_length(unsigned length) const noexcept {
        return (bits_ & 31 << 3) == std::uint64_t{length} << 3;
    }
    constexpr unsigned length() const noexcept { return static_cast<unsigned>(bits_ >> 3 & 31); }
    constexpr bool may_be(std::uint64_t quick_hash) const noexcept { return ((bits_ ^ quick_hash) & 7) == 0; }
    constexpr std::uint64_t tag() const noexcept { return bits_ & 7; }
    constexpr std::uint32_t clears() const noexcept { return static_cast<std::uint32_t>(bits_ >> 16 & 0xffff); }
    constexpr explicit operator bool() const noexcept { return bits_ != 0; }

private:
    std::uint64_t bits_ = 0;
};

class HintTable {
public:
    Hint find(std::uint64_t quick_hash) const noexcept {
        const std::size_t at = place(quick_hash);
        const Hint first(hints_[at].load(std::memory_order_acquire));
        const Hint second(hints_[at ^ step(quick_hash)].load(std::memory_order_acquire));
        return first.may_be(quick_hash) ? first : second;
    }
    Hint find_second(std::uint64_t quick_hash) const noexcept {
        return Hint(hints_[place(quick_hash) ^ step(quick_hash)].load(std::memory_order_acquire));
    }

    void remember(const Hint& hint, std::uint64_t quick_hash) noexcept {
        const std::size_t at = place(quick_hash);
        const std::size_t other = at ^ step(quick_hash);
        const Hint before(hints_[at].load(std::memory_order_acquire));  // it may be left again, elsewhere
        if (before && before.record() != hint.record()) {
            if (hints_[other].load(std::memory_order_relaxed) == 0) {
                hints_[other].store(hint.bits(), std::memory_order_release);
                return;
            }
            hints_[at ^ step(before.tag())].store(before.bits(), std::memory_order_release);
        }
        hints_[at].store(hint.bits(), std::memory_order_release);
    }

private:
    static constexpr unsigned log2_size = 13;
    static constexpr std::size_t place(std::uint64_t quick_hash) noexcept {
        return static_cast<std::size_t>(quick_hash >> (64 - log2_size));
    }
    static constexpr std::size_t step(std::uint64_t tag) noexcept { return static_cast<std::size_t>(tag & 7) | 1; }
    alignas(64) std::array<std::atomic<std::uint64_t>, std::size_t{1} << log2_size> hints_{};
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_HINTS_HPP
