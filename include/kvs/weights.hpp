// Which value lengths a store has.
#ifndef KVS_WEIGHTS_HPP
#define KVS_WEIGHTS_HPP

#include <array>
#include <bit>
#include <cstdint>

#include <kvs/detail/layout.hpp>

namespace kvs {

namespace detail {
// Not constexpr on purpose: a constant evaluation that reaches the call stops the build and shows the name.
void a_weight_is_a_power_of_two_from_1_to_32768();
}  // namespace detail

/// The value lengths of groups 8 to 15 of a store's index. Groups 0 to 7 always hold values of 1, 2, 4, 8, 32, 256,
/// 4096 and 65536 bytes; each of the other eight either repeats a length, which then has more buckets and shorter
/// chains, or adds one. A value is kept in the smallest length that holds it. Chosen when a file is created; an
/// existing file keeps its own.
class Weights {
public:
    /// Good for settings: more buckets for numbers, and lengths for short and middle-sized text.
    constexpr Weights() noexcept : Weights(from_header(0xb9764332u)) {}

    /// Eight powers of two from 1 to 32768, checked at compile time; for groups 8, 9, … 15 in this order.
    consteval Weights(unsigned g8, unsigned g9, unsigned g10, unsigned g11, unsigned g12, unsigned g13, unsigned g14,
                      unsigned g15)
        : nibbles_(0) {
        const unsigned lengths[] = {g8, g9, g10, g11, g12, g13, g14, g15};
        for (unsigned i = 0; i < 8; ++i) {
            if (!std::has_single_bit(lengths[i]) || lengths[i] > 32768)
                detail::a_weight_is_a_power_of_two_from_1_to_32768();
            nibbles_ |= static_cast<std::uint32_t>(std::countr_zero(lengths[i])) << 4 * i;
        }
    }

    /// From the word of a file's header: nibble i (bits 4i to 4i + 3) is the logarithm of the length of group 8 + i.
    /// Every word is valid.
    static constexpr Weights from_header(std::uint32_t word) noexcept { return Weights(Word{word}); }

    /// The word of the file's header.
    constexpr std::uint32_t header() const noexcept { return nibbles_; }

    /// The value length, in bytes, of a group from 8 to 15.
    constexpr std::uint32_t operator[](unsigned group) const noexcept {
        return std::uint32_t{1} << (nibbles_ >> 4 * (group - 8) & 15);
    }

    bool operator==(const Weights&) const = default;

private:
    struct Word {
        std::uint32_t value;
    };
    explicit constexpr Weights(Word word) noexcept : nibbles_(word.value) {}

    std::uint32_t nibbles_;
};

static_assert(Weights{} == Weights{4, 8, 8, 16, 64, 128, 512, 2048});

namespace detail {

/// The weights worked out: which groups hold which value length.
class Geometry {
public:
    constexpr explicit Geometry(Weights weights = {}) noexcept : weights_(weights) {
        for (std::uint32_t group = 0; group < layout::group_count; ++group) {
            Length& length = lengths_[length_of_group(group)];
            length.groups[length.count++] = static_cast<std::uint8_t>(group);
        }
    }

    constexpr Weights weights() const noexcept { return weights_; }

    constexpr unsigned length_of_group(std::uint32_t group) const noexcept {
        return group < layout::fixed_group_count ? layout::fixed_lengths[group]
                                                 : weights_.header() >> 4 * (group - 8) & 15;
    }
    constexpr unsigned length_of_bucket(std::uint32_t bucket) const noexcept {
        return length_of_group(bucket / layout::buckets_per_group);
    }
    constexpr bool has(unsigned length) const noexcept { return lengths_[length].count != 0; }
    constexpr unsigned groups_with(unsigned length) const noexcept { return lengths_[length].count; }

    /// The only bucket in which a value of this length can be for keys with this hash.
    constexpr std::uint32_t bucket(std::uint32_t hash, unsigned length) const noexcept {
        const Length& l = lengths_[length];
        const std::uint32_t group = l.count == 1 ? l.groups[0] : l.groups[hash % l.count];
        return (hash & (layout::buckets_per_group - 1)) | group * layout::buckets_per_group;
    }

    /// The smallest length of the store, from `shortest` up, that has at least `bytes`; `length_count` if none has.
    constexpr unsigned smallest_for(std::uint64_t bytes, unsigned shortest) const noexcept {
        unsigned length = shortest;
        while (length < layout::length_count && (!has(length) || layout::value_bytes(length) < bytes)) ++length;
        return length;
    }

private:
    struct Length {
        std::uint8_t count = 0;
        std::array<std::uint8_t, 9> groups{};  // at most the eight of the weights and one fixed
    };

    Weights weights_;
    std::array<Length, layout::length_count> lengths_{};
};

}  // namespace detail
}  // namespace kvs

#endif  // KVS_WEIGHTS_HPP
