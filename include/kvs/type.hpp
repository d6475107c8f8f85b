// The types of values and the byte that stands for each in a file.
#ifndef KVS_TYPE_HPP
#define KVS_TYPE_HPP

#include <cstdint>

namespace kvs {

/// The type of a stored value. The numbers are those of the file format: kind in the high nibble, length code in the
/// low one (FORMAT.md, "Type byte"); for text and bytes the length code is left 0 here.
enum class Type : std::uint8_t {
    u8 = 0x00,       ///< unsigned, 1 byte
    u16 = 0x01,      ///< unsigned, 2 bytes
    u32 = 0x02,      ///< unsigned, 4 bytes
    u64 = 0x03,      ///< unsigned, 8 bytes
    i8 = 0x10,       ///< signed, 1 byte
    i16 = 0x11,      ///< signed, 2 bytes
    i32 = 0x12,      ///< signed, 4 bytes
    i64 = 0x13,      ///< signed, 8 bytes
    f32 = 0x22,      ///< IEEE 754 binary32
    f64 = 0x23,      ///< IEEE 754 binary64
    boolean = 0x30,  ///< false or true
    ascii = 0x40,    ///< text, every byte below 0x80, no NUL
    utf8 = 0x50,     ///< text in UTF-8, no NUL
    bytes = 0x60,    ///< any bytes
};

/// The name of a type, as written in the enumeration. Thread-safe; the text is of static storage.
constexpr const char* to_string(Type type) noexcept {
    switch (type) {
        case Type::u8: return "u8";
        case Type::u16: return "u16";
        case Type::u32: return "u32";
        case Type::u64: return "u64";
        case Type::i8: return "i8";
        case Type::i16: return "i16";
        case Type::i32: return "i32";
        case Type::i64: return "i64";
        case Type::f32: return "f32";
        case Type::f64: return "f64";
        case Type::boolean: return "boolean";
        case Type::ascii: return "ascii";
        case Type::utf8: return "utf8";
        case Type::bytes: return "bytes";
    }
    return "unknown";
}

/// True for the ten types of numbers; a boolean is none.
constexpr bool is_number(Type type) noexcept { return static_cast<std::uint8_t>(type) < 0x30; }

/// True for `Type::ascii` and `Type::utf8`.
constexpr bool is_text(Type type) noexcept { return type == Type::ascii || type == Type::utf8; }

}  // namespace kvs

#endif  // KVS_TYPE_HPP
