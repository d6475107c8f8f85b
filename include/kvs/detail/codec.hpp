// C++ types to stored values and back. `Codec<T>` is the one place to add a storable type.
//
//   encode    a value to an `Encoded`: what to store, without where
//   decode    a `Stored`: a value where it lies, checked for type and for damage, to a T
//
// A decoder may run on bytes that a writer is changing: it must end, stay within the value's bytes and return anything;
// its result is then dropped and it runs again.
#ifndef KVS_DETAIL_CODEC_HPP
#define KVS_DETAIL_CODEC_HPP

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <kvs/detail/layout.hpp>
#include <kvs/detail/memory.hpp>
#include <kvs/detail/number.hpp>
#include <kvs/detail/text.hpp>
#include <kvs/error.hpp>
#include <kvs/type.hpp>

namespace kvs {

/// Opts a trivially copyable type in to being stored as it lies in memory, as `Type::bytes`:
/// `template <> inline constexpr bool kvs::enable_bytes<Point> = true;`. Such a value means the same only to programs
/// that lay the type out alike. It is read back only if the stored byte count is the type's size, and into a `T{}`;
/// whatever bytes are in the file then become its members.
template <class T>
inline constexpr bool enable_bytes = false;

/// True if the bytes can be stored as text: valid UTF-8 without NUL. O(length). Thread-safe.
inline bool is_text(std::string_view bytes) noexcept {
    const detail::TextKind kind = detail::text_kind(bytes);
    return kind == detail::TextKind::ascii || kind == detail::TextKind::utf8;
}

namespace detail {

/// A value on its way into a store. Points to the caller's bytes.
struct Encoded {
    Type type{};
    std::uint64_t bits = 0;           ///< of a number or boolean, in the low bytes
    const std::byte* data = nullptr;  ///< of text and bytes
    std::size_t size = 0;
};

/// A value as it lies in `source`; `code` was read from its type byte. A source has `load<Bytes>(offset)`,
/// `copy_out(offset, to, bytes)` and `text_length(offset, bytes)`.
template <class Source>
struct Stored {
    const Source& source;
    std::uint64_t offset;
    layout::TypeCode code;
};

/// A source in ordinary memory.
class LocalSource {
public:
    explicit LocalSource(const std::byte* base) noexcept : base_(base) {}
    template <unsigned Bytes>
    std::uint64_t load(std::uint64_t offset) const noexcept {
        return load_big_endian<Bytes>(base_ + offset);
    }
    void copy_out(std::uint64_t offset, std::byte* to, std::size_t bytes) const noexcept {
        std::memcpy(to, base_ + offset, bytes);
    }
    std::size_t text_length(std::uint64_t offset, std::size_t bytes) const noexcept {
        const void* nul = std::memchr(base_ + offset, 0, bytes);
        return nul != nullptr ? static_cast<std::size_t>(static_cast<const std::byte*>(nul) - (base_ + offset)) : bytes;
    }

private:
    const std::byte* base_;
};

inline constexpr unsigned any_length = layout::length_count;

/// In a `TypeCode`: of text and bytes that a source shows without count and padding, and with room for any.
inline constexpr std::uint8_t payload_length = 63;

constexpr Failure mismatch(Type wanted, Type found) noexcept {
    return {errc::type_mismatch, "the value is of another type", Fact::of_type(wanted), Fact::of_type(found)};
}

/// The bits of a stored number or boolean, and in `type` their type; the original program's decimal text becomes f32 or
/// f64.
template <class Source>
Failure load_number(const Stored<Source>& stored, std::uint64_t& bits) noexcept {
    if (stored.code.decimal_text) {
        char text[40] = {};
        const std::size_t room = layout::value_bytes(stored.code.length);
        const std::size_t size = stored.source.text_length(stored.offset, room);
        stored.source.copy_out(stored.offset, reinterpret_cast<std::byte*>(text), size);
        float f = 0;
        double d = 0;
        const bool is_float = stored.code.type == Type::f32;
        if (!(is_float ? parse_decimal(text, text + size, f) : parse_decimal(text, text + size, d)))
            return {errc::corrupt, "a number kept as text is none", Fact::of_text("decimal digits"), {}};
        bits = is_float ? number_bits(f) : number_bits(d);
        return {};
    }
    switch (stored.code.length) {
        case 0: bits = stored.source.template load<1>(stored.offset); break;
        case 1: bits = stored.source.template load<2>(stored.offset); break;
        case 2: bits = stored.source.template load<4>(stored.offset); break;
        default: bits = stored.source.template load<8>(stored.offset); break;
    }
    return {};
}

/// The bits of a number or boolean where one of type `wanted` is asked for. `Codec<T>::convert` makes a T of them; all
/// the rest of a look-up is compiled once, not for each type.
template <class Source>
Failure load_scalar(const Stored<Source>& stored, Type wanted, std::uint64_t& bits) noexcept {
    const Type found = stored.code.type;
    if (found >= Type::ascii || (found == Type::boolean) != (wanted == Type::boolean)) return mismatch(wanted, found);
    return load_number(stored, bits);
}

/// Where the payload of stored text or bytes begins and how long it is.
struct Extent {
    std::uint64_t offset = 0;
    std::size_t size = 0;
};

template <class Source>
Failure extent(const Stored<Source>& stored, Extent& extent) noexcept {
    const std::uint64_t room = layout::value_bytes(stored.code.length);
    if (stored.code.type != Type::bytes) {
        extent = {stored.offset, stored.source.text_length(stored.offset, static_cast<std::size_t>(room))};
        return {};
    }
    extent = {stored.offset + layout::count_bytes,
              static_cast<std::size_t>(stored.source.template load<layout::count_bytes>(stored.offset))};
    if (extent.size <= room - layout::count_bytes) return {};
    return {errc::corrupt, "a value's byte count is larger than its field", Fact::at_most(room - layout::count_bytes),
            Fact::of_bytes(extent.size)};
}

/// Text or bytes into `out`, a `std::string` or `std::vector<std::byte>`.
template <class Source, class Container>
Failure load_payload(const Stored<Source>& stored, Container& out) {
    Extent where;
    if (Failure failure = extent(stored, where)) return failure;
    out.resize(where.size);
    stored.source.copy_out(where.offset, reinterpret_cast<std::byte*>(out.data()), where.size);
    return {};
}

inline Failure encode_text(std::string_view text, Encoded& encoded) noexcept {
    encoded.data = reinterpret_cast<const std::byte*>(text.data());
    encoded.size = text.size();
    switch (text_kind(text)) {
        case TextKind::ascii: encoded.type = Type::ascii; return {};
        case TextKind::utf8: encoded.type = Type::utf8; return {};
        case TextKind::has_nul:
            return {errc::not_text,
                    "the string holds a NUL byte, which ends a string in the file; store it as bytes",
                    Fact::of_text("text without NUL"),
                    {}};
        case TextKind::invalid: break;
    }
    return {errc::not_text, "the string is neither ASCII nor UTF-8; store it as bytes", Fact::of_text("UTF-8"), {}};
}

template <class T>
inline constexpr bool always_false = false;

template <class T>
struct Codec {
    static_assert(always_false<T>,
                  "kvs: a value of this type cannot be stored. Storable are bool, integers up to 64 bits, float, "
                  "double, enums, std::string, std::string_view, const char*, std::span<const std::byte>, "
                  "std::vector<std::byte>, kvs::Value, and trivially copyable types with "
                  "kvs::enable_bytes<T> = true.");
};

/// Numbers, booleans and enums. They have a `type`, and the shortest way into a store and out, as bits: `convert` makes
/// a T of those that `load_scalar` found for that type.
template <class T>
concept Scalar = Number<T> || std::is_same_v<T, bool> || std::is_enum_v<T>;

template <Scalar T, class Source>
Failure decode_scalar(const Stored<Source>& stored, T& value) noexcept;

template <>
struct Codec<bool> {
    static constexpr Type type = Type::boolean;
    static constexpr unsigned preferred_length = 0;
    static constexpr bool from_bits(std::uint64_t bits) noexcept { return bits != 0; }
    static Failure encode(bool value, Encoded& encoded) noexcept {
        encoded = {type, value ? layout::true_byte : 0u, nullptr, 0};
        return {};
    }
    static Failure convert(Type, std::uint64_t bits, bool& value) noexcept {
        value = from_bits(bits);
        return {};
    }
    template <class Source>
    static Failure decode(const Stored<Source>& stored, bool& value) noexcept {
        return decode_scalar(stored, value);
    }
};

template <class T>
requires Number<T>
struct Codec<T> {
    static constexpr Type type = number_type<T>();
    static constexpr unsigned preferred_length = layout::length_of_number(type);
    static constexpr T from_bits(std::uint64_t bits) noexcept { return number_from_bits<T>(bits); }

    static Failure encode(T value, Encoded& encoded) noexcept {
        encoded = {type, number_bits(value), nullptr, 0};
        return {};
    }
    static Failure convert(Type found, std::uint64_t bits, T& value) noexcept {
        if (found == type) {
            value = from_bits(bits);
            return {};
        }
        if (convert_number(found, bits, value)) return {};
        return {errc::type_mismatch, "the number does not fit exactly", Fact::of_type(type), Fact::of_type(found)};
    }
    template <class Source>
    static Failure decode(const Stored<Source>& stored, T& value) noexcept {
        return decode_scalar(stored, value);
    }
};

template <class T>
requires std::is_enum_v<T>
struct Codec<T> {
    using Underlying = std::underlying_type_t<T>;
    static constexpr Type type = Codec<Underlying>::type;
    static constexpr unsigned preferred_length = Codec<Underlying>::preferred_length;
    static constexpr T from_bits(std::uint64_t bits) noexcept {
        return static_cast<T>(Codec<Underlying>::from_bits(bits));
    }

    static Failure encode(T value, Encoded& encoded) noexcept {
        return Codec<Underlying>::encode(static_cast<Underlying>(value), encoded);
    }
    static Failure convert(Type found, std::uint64_t bits, T& value) noexcept {
        Underlying underlying{};
        if (Failure failure = Codec<Underlying>::convert(found, bits, underlying)) return failure;
        value = static_cast<T>(underlying);
        return {};
    }
    template <class Source>
    static Failure decode(const Stored<Source>& stored, T& value) noexcept {
        return decode_scalar(stored, value);
    }
};

template <Scalar T, class Source>
Failure decode_scalar(const Stored<Source>& stored, T& value) noexcept {
    std::uint64_t bits = 0;
    if (Failure failure = load_scalar(stored, Codec<T>::type, bits)) return failure;
    return Codec<T>::convert(stored.code.type, bits, value);
}

/// Types that can be stored, but not be the result of a read, because they own nothing.
template <class T>
struct BorrowingCodec {
    static constexpr unsigned preferred_length = any_length;
    template <class Source>
    static Failure decode(const Stored<Source>&, T&) noexcept {
        static_assert(always_false<T>,
                      "kvs: a value cannot be read as a type that only points to it. Read std::string or "
                      "std::vector<std::byte>, or copy into a buffer with get_into.");
        return {};
    }
};

template <>
struct Codec<std::string_view> : BorrowingCodec<std::string_view> {
    static Failure encode(std::string_view text, Encoded& encoded) noexcept { return encode_text(text, encoded); }
};
template <>
struct Codec<const char*> : BorrowingCodec<const char*> {
    static Failure encode(const char* text, Encoded& encoded) noexcept {
        return encode_text(text != nullptr ? std::string_view(text) : std::string_view(), encoded);
    }
};
template <>
struct Codec<char*> : Codec<const char*> {};
template <std::size_t Size>
struct Codec<char[Size]> : Codec<const char*> {
    static Failure encode(const char (&text)[Size], Encoded& encoded) noexcept {
        const void* nul = std::memchr(text, 0, Size);
        const std::size_t size = nul != nullptr ? static_cast<std::size_t>(static_cast<const char*>(nul) - text) : Size;
        return encode_text({text, size}, encoded);
    }
};
template <>
struct Codec<std::string> {
    static constexpr unsigned preferred_length = any_length;
    static Failure encode(const std::string& text, Encoded& encoded) noexcept { return encode_text(text, encoded); }
    template <class Source>
    static Failure decode(const Stored<Source>& stored, std::string& text) {
        if (!is_text(stored.code.type)) return mismatch(Type::utf8, stored.code.type);
        return load_payload(stored, text);
    }
};

template <std::size_t Extent>
struct Codec<std::span<const std::byte, Extent>> : BorrowingCodec<std::span<const std::byte, Extent>> {
    static Failure encode(std::span<const std::byte> bytes, Encoded& encoded) noexcept {
        encoded = {Type::bytes, 0, bytes.data(), bytes.size()};
        return {};
    }
};
template <std::size_t Extent>
struct Codec<std::span<std::byte, Extent>> : Codec<std::span<const std::byte, Extent>> {};
template <>
struct Codec<std::vector<std::byte>> {
    static constexpr unsigned preferred_length = any_length;
    static Failure encode(const std::vector<std::byte>& bytes, Encoded& encoded) noexcept {
        encoded = {Type::bytes, 0, bytes.data(), bytes.size()};
        return {};
    }
    template <class Source>
    static Failure decode(const Stored<Source>& stored, std::vector<std::byte>& bytes) {
        if (stored.code.type != Type::bytes) return mismatch(Type::bytes, stored.code.type);
        return load_payload(stored, bytes);
    }
};

template <class T>
requires(enable_bytes<T>) struct Codec<T> {
    static_assert(std::is_trivially_copyable_v<T>,
                  "kvs::enable_bytes<T>: only a trivially copyable type can be stored as its bytes.");
    static constexpr unsigned preferred_length = any_length;

    static Failure encode(const T& value, Encoded& encoded) noexcept {
        encoded = {Type::bytes, 0, reinterpret_cast<const std::byte*>(&value), sizeof(T)};
        return {};
    }
    template <class Source>
    static Failure decode(const Stored<Source>& stored, T& value) noexcept {
        if (stored.code.type != Type::bytes) return mismatch(Type::bytes, stored.code.type);
        Extent where;
        if (Failure failure = extent(stored, where)) return failure;
        if (where.size != sizeof(T))
            return {errc::type_mismatch, "the value has another number of bytes than the type",
                    Fact::of_bytes(sizeof(T)), Fact::of_bytes(where.size)};
        stored.source.copy_out(where.offset, reinterpret_cast<std::byte*>(&value), sizeof(T));
        return {};
    }
};

}  // namespace detail
}  // namespace kvs

#endif  // KVS_DETAIL_CODEC_HPP
