// Numbers: as they are stored, and read as another number type when nothing is lost.
#ifndef KVS_DETAIL_NUMBER_HPP
#define KVS_DETAIL_NUMBER_HPP

#include <bit>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <type_traits>

#include <kvs/type.hpp>

namespace kvs::detail {

/// The type whose values are stored as this C++ type: by size and signedness, so that `long` is i64 on one system and
/// i32 on another, and reads the other's exactly when it fits.
template <class T>
consteval Type number_type() noexcept {
    if constexpr (std::is_same_v<T, bool>) return Type::boolean;
    if constexpr (std::is_same_v<T, float>) return Type::f32;
    if constexpr (std::is_same_v<T, double>) return Type::f64;
    constexpr unsigned length = std::countr_zero(sizeof(T));
    return static_cast<Type>((std::is_signed_v<T> ? 0x10u : 0u) | length);
}

template <class T>
concept Integer = std::is_integral_v<T> && !std::is_same_v<T, bool> && sizeof(T) <= 8;

template <class T>
concept Number = Integer<T> || std::is_same_v<T, float> || std::is_same_v<T, double>;

/// The bits of a number as a file holds them, in the low bytes.
template <class T>
requires Number<T>
constexpr std::uint64_t number_bits(T value) noexcept {
    if constexpr (std::is_same_v<T, float>)
        return std::bit_cast<std::uint32_t>(value);
    else if constexpr (std::is_same_v<T, double>)
        return std::bit_cast<std::uint64_t>(value);
    else
        return static_cast<std::uint64_t>(static_cast<std::make_unsigned_t<T>>(value));
}

/// The number that `number_bits` took apart.
template <class T>
requires Number<T>
constexpr T number_from_bits(std::uint64_t bits) noexcept {
    if constexpr (std::is_same_v<T, float>)
        return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
    else if constexpr (std::is_same_v<T, double>)
        return std::bit_cast<double>(bits);
    else
        return static_cast<T>(static_cast<std::make_unsigned_t<T>>(bits));
}

/// Two to a power that is at most 64, exactly.
template <class Float>
constexpr Float power_of_two(unsigned exponent) noexcept {
    Float power = 1;
    while (exponent-- != 0) power *= 2;
    return power;
}

/// `to` = `from`, and true, if the integer type holds the value.
template <Integer To, class From>
requires std::is_same_v<From, std::int64_t> || std::is_same_v<From, std::uint64_t>
constexpr bool convert(From from, To& to) noexcept {
    to = static_cast<To>(from);
    return static_cast<From>(to) == from && (to < To{}) == (from < From{});
}

/// `to` = `from`, and true, if the floating-point type holds the value exactly.
template <class To, class From>
requires std::is_floating_point_v<To> &&
    (std::is_same_v<From, std::int64_t> || std::is_same_v<From, std::uint64_t>)constexpr bool convert(From from,
                                                                                                      To& to) noexcept {
    to = static_cast<To>(from);
    // Rounding can have gone up to the first value that is too large to convert back.
    if (to >= power_of_two<To>(std::numeric_limits<From>::digits)) return false;
    return static_cast<From>(to) == from;
}

/// `to` = `from`, and true, if `from` is a whole number that the integer type holds. -0.0 is 0.
template <Integer To>
constexpr bool convert(double from, To& to) noexcept {
    constexpr double above = power_of_two<double>(std::numeric_limits<To>::digits);
    constexpr double lowest = std::is_signed_v<To> ? -above : 0.0;
    if (!(from >= lowest && from < above)) return false;  // also false for NaN
    to = static_cast<To>(from);
    return static_cast<double>(to) == from;
}

/// `to` = `from`, and true, if the value is the same; NaN stays NaN.
template <class To>
requires std::is_floating_point_v<To>
constexpr bool convert(double from, To& to) noexcept {
    if constexpr (std::is_same_v<To, double>) {
        to = from;
        return true;
    } else {
        if (from != from) {
            to = std::numeric_limits<To>::quiet_NaN();
            return true;
        }
        constexpr double infinity = std::numeric_limits<double>::infinity();
        const bool in_range =
            from >= -double{(std::numeric_limits<To>::max)()} && from <= double{(std::numeric_limits<To>::max)()};
        if (!in_range && from != infinity && from != -infinity) return false;
        to = static_cast<To>(from);
        return static_cast<double>(to) == from;
    }
}

/// Reads a stored number of any number type as `To`; false if the value does not fit exactly.
template <class To>
requires Number<To>
constexpr bool convert_number(Type type, std::uint64_t bits, To& to) noexcept {
    switch (type) {
        case Type::u8:
        case Type::u16:
        case Type::u32:
        case Type::u64: return convert(bits, to);
        case Type::i8: return convert(std::int64_t{number_from_bits<std::int8_t>(bits)}, to);
        case Type::i16: return convert(std::int64_t{number_from_bits<std::int16_t>(bits)}, to);
        case Type::i32: return convert(std::int64_t{number_from_bits<std::int32_t>(bits)}, to);
        case Type::i64: return convert(number_from_bits<std::int64_t>(bits), to);
        case Type::f32: return convert(double{number_from_bits<float>(bits)}, to);
        case Type::f64: return convert(number_from_bits<double>(bits), to);
        default: return false;
    }
}

/// A number in decimal notation, as the original program wrote it: digits with a point, whatever the locale. `text`
/// ends with a NUL. False if it is anything else.
template <class Float>
bool parse_decimal(const char* text, const char* end, Float& value) noexcept {
#if defined(__cpp_lib_to_chars)
    const auto [stop, error] = std::from_chars(text, end, value);
    return error == std::errc{} && stop == end && text != end;
#else
    // This standard library cannot read a float from characters; strtod follows the locale, so only the digits that
    // every locale shares go through it.
    double sign = 1, whole = 0, scale = 1;
    if (text != end && *text == '-') sign = -1, ++text;
    const char* const first = text;
    bool fraction = false;
    for (; text != end; ++text) {
        if (*text == '.' && !fraction) {
            fraction = true;
        } else if (*text >= '0' && *text <= '9') {
            whole = whole * 10 + (*text - '0');
            if (fraction) scale *= 10;
        } else {
            return false;
        }
    }
    value = static_cast<Float>(sign * whole / scale);
    return text != first;
#endif
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_NUMBER_HPP
