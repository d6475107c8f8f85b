// FNV-1a, 32 bits (Fowler, Noll, Vo; constants from the authors' reference text, also RFC 9923), over a key and its
// padding.
//
// A key of k bytes is hashed as if it were padded with NUL to the key length m. Each NUL only multiplies by the prime,
// so m - k of them are one multiplication by a power out of a table: hashing costs by the key, not by the key length.
// Bytes are taken as unsigned: the hash does not depend on whether `char` is signed.
#ifndef KVS_DETAIL_FNV_HPP
#define KVS_DETAIL_FNV_HPP

#include <array>
#include <cstddef>
#include <cstdint>

#include <kvs/detail/layout.hpp>

namespace kvs::detail::fnv {

inline constexpr std::uint32_t offset_basis = 2166136261u;
inline constexpr std::uint32_t prime = 16777619u;

inline constexpr auto powers = [] {
    std::array<std::uint32_t, layout::longest_key + 1> table{};
    std::uint32_t power = 1;
    for (auto& entry : table) {
        entry = power;
        power *= prime;
    }
    return table;
}();

constexpr std::uint32_t add(std::uint32_t hash, unsigned char byte) noexcept { return (hash ^ byte) * prime; }

/// What `padding` further NUL bytes (at most the longest key) make of a hash.
constexpr std::uint32_t pad(std::uint32_t hash, std::size_t padding) noexcept { return hash * powers[padding]; }

}  // namespace kvs::detail::fnv

#endif  // KVS_DETAIL_FNV_HPP
