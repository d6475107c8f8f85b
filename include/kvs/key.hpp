// Keys: checked and hashed once, at compile time where they are literals.
#ifndef KVS_KEY_HPP
#define KVS_KEY_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include <kvs/detail/fnv.hpp>
#include <kvs/detail/memory.hpp>
#include <kvs/error.hpp>

namespace kvs {

namespace detail {

// Not constexpr on purpose: a constant evaluation that reaches the call stops the build and shows the name.
void a_key_literal_holds_a_nul_byte();

/// A name and its hash before padding, for keys whose length is known before the store's key length.
struct HashedName {
    std::string_view name;
    std::uint32_t hash = fnv::offset_basis;

    constexpr explicit HashedName(std::string_view bytes) noexcept : name(bytes) {
        for (const char c : bytes) hash = fnv::add(hash, static_cast<unsigned char>(c));
    }
};

/// Run-time text that can be a key: `std::string`, `std::string_view`, `const char*` and their like.
template <class Text>
concept KeyText = std::is_convertible_v<const Text&, std::string_view> && !std::is_array_v<Text>;

/// Up to 8 characters as a word in memory order, the rest NUL. Usable at compile time.
constexpr std::uint64_t word_of(std::string_view text) noexcept {
    if (!std::is_constant_evaluated() && text.size() >= 8) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data(), 8);
        return word;
    }
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < text.size() && i < 8; ++i)
        word |= std::uint64_t{static_cast<unsigned char>(text[i])} << 8 * (little_endian ? i : 7 - i);
    return word;
}

}  // namespace detail

/// A key of a store whose key length is `KeyLen`: 1 to `KeyLen` bytes, no NUL among them (a key of exactly `KeyLen`
/// bytes may hold NULs, but does not end with one: that would be the padding of a shorter key).
///
/// Made implicitly wherever a store wants a key. From a string literal its length is checked and its hash computed at
/// compile time; other text is checked at run time, and a key that is not valid is reported by the operation it is
/// given to. A key owns its bytes: it can be kept and used again, by any thread.
template <std::size_t KeyLen>
class Key {
    static_assert(KeyLen >= 1 && KeyLen <= detail::layout::longest_key,
                  "kvs: the key length of a store is 1 to 1024 bytes.");

public:
    /// From a string literal, at compile time. An array of `const char` that is no constant expression does not
    /// compile: declare it `static constexpr`, or give a `std::string_view` of it.
    template <std::size_t Size>
    consteval Key(const char (&literal)[Size]) noexcept : Key(std::string_view(literal, Size - 1), Words{}) {
        static_assert(Size > 1, "kvs::Key: a key has at least one byte.");
        static_assert(Size - 1 <= KeyLen,
                      "kvs::Key: this key literal is longer than the store's key length. Shorten the key, or give the "
                      "store a larger key length: kvs::Store<KeyLen>.");
        if (code_ != errc{}) detail::a_key_literal_holds_a_nul_byte();
        set_hash(detail::HashedName(std::string_view(literal, Size - 1)).hash);
    }

    /// From a character array that can change, up to its first NUL. O(length).
    template <std::size_t Size>
    Key(char (&text)[Size]) noexcept : Key(until_nul(text, Size), Words{}) {}

    /// From run-time text. O(length). A null `const char*` counts as empty.
    template <detail::KeyText Text>
    Key(const Text& text) noexcept : Key(view_of(text), Words{}) {}

    Key(std::nullptr_t) = delete;

    /// From a name hashed before. O(length), without hashing.
    constexpr explicit Key(const detail::HashedName& name) noexcept : Key(name.name, Words{}) { set_hash(name.hash); }

    /// The bytes of the key, without padding; of a key that is too long the first `KeyLen`.
    std::string_view view() const noexcept {
        return {reinterpret_cast<const char*>(words_), length_ < KeyLen ? length_ : KeyLen};
    }

    /// The hash of the file format: FNV-1a over the key and its padding. O(length) if the key was made from run-time
    /// text, else O(1).
    constexpr std::uint32_t hash() const noexcept {
        if (hash_known_ != 0) return hash_;
        return detail::fnv::pad(detail::HashedName(view()).hash, KeyLen - view().size());
    }

    /// `errc{}` if the key is valid, else `key_empty`, `key_too_long` or `not_text` (a NUL inside).
    constexpr errc problem() const noexcept { return code_; }

    /// Same bytes.
    friend bool operator==(const Key& a, const Key& b) noexcept { return a.view() == b.view(); }

    // ---- for the library -------------------------------------------------------------------------------------------

    /// `KeyLen` bytes, padding included, and NULs up to the next multiple of 8.
    const std::byte* padded() const noexcept { return reinterpret_cast<const std::byte*>(words_); }
    static constexpr std::size_t word_count = (KeyLen + 7) / 8;
    /// The same as words in memory order.
    constexpr const std::uint64_t* words() const noexcept { return words_; }

    /// A hash that is quick to compute at run time; of this process only, never in a file.
    constexpr std::uint64_t quick_hash() const noexcept { return quick_hash_; }

    detail::Failure failure() const noexcept {
        using detail::Fact;
        switch (code_) {
            case errc::key_too_long:
                return {code_, "the key is too long", Fact::at_most(KeyLen), Fact::of_bytes(length_)};
            case errc::key_empty: return {code_, "the key is empty, or nothing but NUL bytes"};
            case errc::not_text:
                return {code_, "the key holds a NUL byte, which only a key of the full key length may, inside",
                        Fact::of_bytes(KeyLen), Fact::of_bytes(length_)};
            default: return {};
        }
    }

private:
    struct Words {};
    static constexpr std::uint64_t golden_ratio = 0x9e3779b97f4a7c15u;  // its fraction, times 2^64

    constexpr Key(std::string_view text, Words) noexcept
        : length_(text.size() < UINT32_MAX ? static_cast<std::uint32_t>(text.size()) : UINT32_MAX) {
        bool has_nul = false;
        std::uint64_t any = 0;
        std::uint64_t mixed = 0;
        std::size_t word = 0;
        std::string_view rest = text.substr(0, KeyLen);
        for (; rest.size() >= 8; rest.remove_prefix(8)) {
            take(word++, detail::word_of(rest), any, mixed);
            has_nul |= detail::has_zero_byte(words_[word - 1]);
        }
        if (!rest.empty()) {
            take(word, last_word(text.substr(0, KeyLen), rest.size()), any, mixed);
            // The bytes past the text are NUL, and none of its own.
            const std::uint64_t filler = ~std::uint64_t{0};
            has_nul |= detail::has_zero_byte(words_[word] | (filler ^ detail::keep_first(filler, rest.size())));
        }
        // Once more, so that the last characters too count in the upper bits, which choose a place: numbered keys of
        // one length would share a few.
        quick_hash_ = mixed * golden_ratio;
        if (length_ > KeyLen)
            code_ = errc::key_too_long;
        else if (any == 0)
            code_ = errc::key_empty;
        else if (has_nul && (length_ < KeyLen || text.back() == '\0'))
            code_ = errc::not_text;
    }

    constexpr void take(std::size_t at, std::uint64_t word, std::uint64_t& any, std::uint64_t& mixed) noexcept {
        words_[at] = word;
        any |= word;
        // Multiplication by the golden ratio's fraction spreads bits upwards; the rotation brings them down again.
        mixed = std::rotl((mixed ^ word) * golden_ratio, 29);
    }

    /// The last `count` (1 to 7) characters, by one load where the text is long enough.
    static constexpr std::uint64_t last_word(std::string_view text, std::size_t count) noexcept {
        if (!std::is_constant_evaluated() && text.size() >= 8) {
            const std::uint64_t word = detail::word_of(text.substr(text.size() - 8));
            const auto before = static_cast<unsigned>(8 * (8 - count));
            return detail::little_endian ? word >> before : word << before;
        }
        return detail::word_of(text.substr(text.size() - count));
    }

    constexpr void set_hash(std::uint32_t unpadded) noexcept {
        hash_ = detail::fnv::pad(unpadded, length_ < KeyLen ? KeyLen - length_ : 0);
        hash_known_ = 1;
    }

    template <class Text>
    static std::string_view view_of(const Text& text) noexcept {
        if constexpr (std::is_pointer_v<Text>)
            return text != nullptr ? std::string_view(text) : std::string_view();
        else
            return std::string_view(text);
    }
    static std::string_view until_nul(const char* text, std::size_t size) noexcept {
        const void* end = std::memchr(text, 0, size);
        return {text, end != nullptr ? static_cast<std::size_t>(static_cast<const char*>(end) - text) : size};
    }

    std::uint64_t words_[word_count] = {};
    // No padding between the members: Clang 14 leaves those behind it unset in an object that a consteval constructor
    // made. tests/unit/key.cpp asserts it.
    std::uint64_t quick_hash_ = 0;
    std::uint32_t length_ = 0;      // of the text it was made from, at most 2^32 - 1
    std::uint32_t hash_ = 0;        // 0 until it is known
    std::uint32_t hash_known_ = 0;  // 0 or 1
    errc code_{};
};

}  // namespace kvs

#endif  // KVS_KEY_HPP
