// Where everything is in a file of the seed format: every offset, size and magic number, and nothing else. FORMAT.md is
// the same for people; tests/unit/format_document.cpp compares the two.
//
//   offset 0        "AKVS"
//   offset 4        u16  key length m
//   offset 6        u32  weights, eight nibbles
//   offset 10       u32  index[65536]: offset of the first record of each bucket, 0 = empty
//   offset 262154   records: key[m] | type u8 | value[p] | next u32
//
// All integers are big-endian.
#ifndef KVS_DETAIL_LAYOUT_HPP
#define KVS_DETAIL_LAYOUT_HPP

#include <bit>
#include <cstddef>
#include <cstdint>

#include <kvs/type.hpp>

namespace kvs::detail::layout {

inline constexpr char magic[4] = {'A', 'K', 'V', 'S'};
inline constexpr std::uint64_t magic_offset = 0;
inline constexpr std::uint64_t key_length_offset = 4;
inline constexpr std::uint64_t weights_offset = 6;
inline constexpr std::uint64_t header_bytes = 10;

inline constexpr std::uint32_t group_count = 16;
inline constexpr std::uint32_t fixed_group_count = 8;  ///< groups 0..7: the same lengths in every file
inline constexpr std::uint32_t buckets_per_group = 4096;
inline constexpr std::uint32_t bucket_count = group_count * buckets_per_group;
inline constexpr std::uint64_t index_offset = header_bytes;
inline constexpr std::uint64_t link_bytes = 4;
inline constexpr std::uint64_t records_offset = index_offset + link_bytes * bucket_count;

/// An offset is a u32, so no record ends beyond this.
inline constexpr std::uint64_t file_limit = std::uint64_t{1} << 32;

inline constexpr std::size_t longest_key = 1024;
inline constexpr std::uint64_t type_bytes = 1;

/// Value lengths are powers of two and named by their logarithm, 0 to 16.
inline constexpr unsigned length_count = 17;
inline constexpr unsigned fixed_lengths[fixed_group_count] = {0, 1, 2, 3, 5, 8, 12, 16};

/// Text and bytes have no length code for fewer than 16 bytes; bytes begin with their count.
inline constexpr unsigned shortest_text = 4;
inline constexpr std::uint64_t count_bytes = 2;

/// Locks are byte locks beyond the last byte that a file can have.
inline constexpr std::uint64_t gate_lock = file_limit;  ///< held while a handle opens or closes
inline constexpr std::uint64_t presence_lock = file_limit + 1;

constexpr std::uint64_t value_bytes(unsigned length) noexcept { return std::uint64_t{1} << length; }

constexpr std::uint64_t record_bytes(std::size_t key_length, unsigned length) noexcept {
    return key_length + type_bytes + value_bytes(length) + link_bytes;
}

constexpr std::uint64_t slot_offset(std::uint32_t bucket) noexcept { return index_offset + link_bytes * bucket; }

// ---- type byte -----------------------------------------------------------------------------------------------------

inline constexpr unsigned true_byte = 0xff;  ///< a boolean's value byte when written; any non-zero reads as true

/// The original program wrote numbers with a fraction as decimal text: read, never written.
inline constexpr std::uint8_t float_as_text = 0x20;
inline constexpr std::uint8_t double_as_text = 0x21;

/// What a type byte says.
struct TypeCode {
    Type type{};
    std::uint8_t length = 0;    ///< logarithm of the value length
    bool decimal_text = false;  ///< `float_as_text` or `double_as_text`
    bool known = false;
};

/// The low nibble of text and bytes: 0..3 stand for 32, 256, 4096 and 65536, the others for 1 << nibble.
constexpr unsigned length_of_nibble(unsigned nibble) noexcept {
    constexpr unsigned named[4] = {5, 8, 12, 16};
    return nibble < 4 ? named[nibble] : nibble;
}
constexpr unsigned nibble_of_length(unsigned length) noexcept {
    for (unsigned nibble = 0; nibble < 4; ++nibble)
        if (length_of_nibble(nibble) == length) return nibble;
    return length;
}

constexpr TypeCode decode_type(std::uint8_t byte) noexcept {
    const unsigned nibble = byte & 15u;
    switch (byte >> 4) {
        case 0:
        case 1:
            if (nibble < 4) return {static_cast<Type>(byte), static_cast<std::uint8_t>(nibble), false, true};
            break;
        case 2:
            if (byte == float_as_text) return {Type::f32, 3, true, true};
            if (byte == double_as_text) return {Type::f64, 5, true, true};
            if (nibble < 4) return {static_cast<Type>(byte), static_cast<std::uint8_t>(nibble), false, true};
            break;
        case 3:
            if (nibble == 0) return {Type::boolean, 0, false, true};
            break;
        case 4:
        case 5:
        case 6:
            return {static_cast<Type>(byte & 0xf0), static_cast<std::uint8_t>(length_of_nibble(nibble)), false, true};
        default: break;
    }
    return {};
}

/// The type byte of a value of this type in a record of this length.
constexpr std::uint8_t encode_type(Type type, unsigned length) noexcept {
    const auto byte = static_cast<unsigned>(type);
    return static_cast<std::uint8_t>(byte < 0x40 ? byte : byte | nibble_of_length(length));
}

/// The length of a number or boolean, as a logarithm.
constexpr unsigned length_of_number(Type type) noexcept { return static_cast<unsigned>(type) & 15u; }

static_assert(records_offset == 262154);
static_assert(decode_type(encode_type(Type::utf8, 16)).length == 16);
static_assert(decode_type(encode_type(Type::bytes, 9)).length == 9);

}  // namespace kvs::detail::layout

#endif  // KVS_DETAIL_LAYOUT_HPP
