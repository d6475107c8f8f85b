// What a string's bytes are: ASCII, UTF-8 or neither.
#ifndef KVS_DETAIL_TEXT_HPP
#define KVS_DETAIL_TEXT_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kvs::detail {

enum class TextKind : std::uint8_t { ascii, utf8, has_nul, invalid };

/// The length of the UTF-8 sequence at `at`, 0 if it is not well-formed: too long for its value, a surrogate, above
/// U+10FFFF, or cut short. (The Unicode Standard, table 3-7.)
constexpr std::size_t utf8_sequence(const unsigned char* at, std::size_t left) noexcept {
    const auto continues = [&](std::size_t i, unsigned low = 0x80, unsigned high = 0xbf) {
        return i < left && at[i] >= low && at[i] <= high;
    };
    const unsigned lead = at[0];
    if (lead < 0x80) return 1;
    if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
    if (lead >= 0xe0 && lead <= 0xef) {
        const unsigned low = lead == 0xe0 ? 0xa0 : 0x80;
        const unsigned high = lead == 0xed ? 0x9f : 0xbf;
        return continues(1, low, high) && continues(2) ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        const unsigned low = lead == 0xf0 ? 0x90 : 0x80;
        const unsigned high = lead == 0xf4 ? 0x8f : 0xbf;
        return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
    }
    return 0;
}

inline TextKind text_kind(std::string_view text) noexcept {
    const auto* at = reinterpret_cast<const unsigned char*>(text.data());
    const auto* const end = at + text.size();
    TextKind kind = TextKind::ascii;
    while (at != end) {
        // Eight characters at a time as long as they are ASCII and none is NUL (the bit trick is exact for bytes below
        // 0x80: only a NUL borrows).
        if (end - at >= 8) {
            std::uint64_t word = 0;
            std::memcpy(&word, at, 8);
            constexpr std::uint64_t high = 0x8080808080808080u;
            if (((word | (word - 0x0101010101010101u)) & high) == 0) {
                at += 8;
                continue;
            }
        }
        if (*at == 0) return TextKind::has_nul;
        const std::size_t bytes = utf8_sequence(at, static_cast<std::size_t>(end - at));
        if (bytes == 0) return TextKind::invalid;
        if (bytes != 1) kind = TextKind::utf8;
        at += bytes;
    }
    return kind;
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_TEXT_HPP
