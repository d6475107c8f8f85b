// What a string is, ASCII, UTF-8 or neither, and where its first NUL is: against a decoder that reads one character
// after the other, by the definition of UTF-8 in RFC 3629.
#include <kvs/detail/text.hpp>
#include <kvs/kvs.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/expect_error.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs::detail::text_kind;
using kvs::detail::TextKind;
using kvs_test::Campaign;
using kvs_test::expect_error;
using kvs_test::TempDir;

/// The character that begins at `text[at]`, and in `size` its bytes; -1 if there is none. Works out the number first
/// and judges it then: the shortest way to write it, no surrogate, at most U+10FFFF.
std::int32_t decode(std::string_view text, std::size_t at, std::size_t& size) {
    const auto byte = [&](std::size_t i) -> std::int32_t { return static_cast<unsigned char>(text[i]); };
    std::int32_t point = byte(at);
    if (point < 128) {
        size = 1;
        return point;
    }
    if (point < 192) return -1;  // a continuation without a beginning
    size = point < 224 ? 2 : point < 240 ? 3 : point < 248 ? 4 : 0;
    if (size == 0 || at + size > text.size()) return -1;
    point -= size == 2 ? 192 : size == 3 ? 224 : 240;
    for (std::size_t i = 1; i < size; ++i) {
        if (byte(at + i) < 128 || byte(at + i) > 191) return -1;
        point = point * 64 + byte(at + i) - 128;
    }
    const std::size_t shortest = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    const bool surrogate = point >= 0xd800 && point <= 0xdfff;
    return size == shortest && !surrogate && point <= 0x10ffff ? point : -1;
}

/// The first thing that is wrong with a text decides.
TextKind oracle(std::string_view text) {
    bool ascii = true;
    for (std::size_t at = 0, size = 0; at < text.size(); at += size) {
        const std::int32_t point = decode(text, at, size);
        if (point < 0) return TextKind::invalid;
        if (point == 0) return TextKind::has_nul;
        ascii = ascii && point < 128;
    }
    return ascii ? TextKind::ascii : TextKind::utf8;
}

/// Counts disagreements, and reports the first few of them.
class Comparison {
public:
    void operator()(std::string_view text) {
        ++compared_;
        const TextKind wanted = oracle(text);
        valid_ += wanted == TextKind::utf8 ? 1 : 0;
        if (text_kind(text) == wanted || ++wrong_ > 5) return;
        std::string hex;
        for (const char c : text) {
            char digits[4];
            std::snprintf(digits, sizeof digits, "%02x ", static_cast<unsigned>(static_cast<unsigned char>(c)));
            hex += digits;
        }
        INFO(hex);
        CHECK(static_cast<int>(text_kind(text)) == static_cast<int>(wanted));
    }
    std::uint64_t compared() const { return compared_; }
    std::uint64_t valid() const { return valid_; }
    std::uint64_t wrong() const { return wrong_; }

private:
    std::uint64_t compared_ = 0;
    std::uint64_t valid_ = 0;
    std::uint64_t wrong_ = 0;
};

}  // namespace

TEST_CASE("all sequences of one, two and three bytes are judged as UTF-8 is defined", "[text]") {
    Comparison compare;
    char bytes[3];
    for (unsigned a = 0; a < 256; ++a) {
        bytes[0] = static_cast<char>(a);
        compare({bytes, 1});
        for (unsigned b = 0; b < 256; ++b) {
            bytes[1] = static_cast<char>(b);
            compare({bytes, 2});
            for (unsigned c = 0; c < 256; ++c) {
                bytes[2] = static_cast<char>(c);
                compare({bytes, 3});
            }
        }
    }
    CHECK(compare.wrong() == 0);
    CHECK(compare.compared() == 256 + 65536 + 16777216);
    // Two bytes: 1,920 characters. Three: 63,488 - 2,048 surrogates, and a character of two bytes with an ASCII one
    // other than NUL before or behind it.
    CHECK(compare.valid() == 1920 + (65536 - 2048 - 2048) + 2 * 1920 * 127);
}

TEST_CASE("all beginnings of four bytes and many ends are judged as UTF-8 is defined", "[text]") {
    Comparison compare;
    const unsigned samples[] = {0x00, 0x01, 0x41, 0x7f, 0x80, 0x81, 0x8f, 0x90, 0x9f, 0xa0, 0xbe,
                                0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xff};
    char bytes[4];
    for (unsigned a = 0; a < 256; ++a) {
        bytes[0] = static_cast<char>(a);
        for (unsigned b = 0; b < 256; ++b) {
            bytes[1] = static_cast<char>(b);
            for (const unsigned c : samples) {
                bytes[2] = static_cast<char>(c);
                for (const unsigned d : samples) {
                    bytes[3] = static_cast<char>(d);
                    compare({bytes, 4});
                }
            }
        }
    }
    CHECK(compare.wrong() == 0);
    CHECK(compare.compared() == 256 * 256 * 21 * 21);
    CHECK(compare.valid() > 10000);
}

TEST_CASE("every character is valid by itself, and none above the last", "[text]") {
    std::uint64_t valid = 0;
    for (std::uint32_t point = 0x80; point < 0x200000; ++point) {
        char bytes[4];
        std::size_t size = 4;
        if (point < 0x800) {
            size = 2;
            bytes[0] = static_cast<char>(0xc0 | point >> 6);
        } else if (point < 0x10000) {
            size = 3;
            bytes[0] = static_cast<char>(0xe0 | point >> 12);
        } else {
            bytes[0] = static_cast<char>(0xf0 | point >> 18);
        }
        for (std::size_t i = 1; i < size; ++i)
            bytes[i] = static_cast<char>(0x80 | (point >> 6 * (size - 1 - i) & 0x3f));
        const bool is_character = point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
        const bool good = text_kind({bytes, size}) == TextKind::utf8;
        if (good != is_character) {
            INFO("U+" << std::hex << point);
            CHECK(good == is_character);
        }
        valid += good ? 1 : 0;
    }
    CHECK(valid == 0x110000 - 0x80 - 0x800);
}

TEST_CASE("a sequence is judged alike at every place in a string", "[text]") {
    Comparison compare;
    const std::string sequences[] = {
        "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98", "\x80", "\xed\xa0\x80",
        "\xc0\x80", "\xff",         std::string(1, 0),  "\x01", "\x7f"};
    for (const std::string& sequence : sequences)
        for (const char filler : {'a', '\x01', '\x7f'})
            for (std::size_t before = 0; before <= 20; ++before)
                for (std::size_t after = 0; after <= 20; ++after)
                    for (const std::string& second : {std::string(), sequence, std::string("\xc3\xa9")})
                        compare(std::string(before, filler) + sequence + std::string(after, filler) + second);
    CHECK(compare.wrong() == 0);
    CHECK(compare.compared() == 13 * 3 * 21 * 21 * 3);
}

TEST_CASE("random strings are judged as UTF-8 is defined", "[text]") {
    Comparison compare;
    Campaign campaign(20251);
    INFO(campaign.replay());
    const std::uint64_t count = kvs_test::rounds(100000, 20000000);
    for (std::uint64_t i = 0; i < count; ++i) {
        std::string text;
        for (std::size_t left = campaign.pick(12); left != 0; --left) {
            switch (campaign.pick(8)) {
                case 0: text += static_cast<char>(campaign.pick(256)); break;
                case 1: text += static_cast<char>(0xc0 + campaign.pick(64)); break;
                case 2: text += static_cast<char>(0x80 + campaign.pick(64)); break;
                case 3: text += "\xe2\x82\xac"; break;
                case 4: text += "\xf0\x9f\x98\x80"; break;
                case 5: text += std::string(campaign.pick(9), 'x'); break;
                default: text += static_cast<char>(1 + campaign.pick(127)); break;
            }
        }
        compare(text);
    }
    CHECK(compare.wrong() == 0);
    CHECK(compare.valid() > count / 50);
}

TEST_CASE("a NUL is found at every position of a string", "[text]") {
    std::uint64_t checked = 0;
    // Beside a NUL, the byte 0x01 is where a borrow would show, 0x7f where a carry would; é is not ASCII.
    for (const std::string unit : {"a", "\x01", "\x7f", "\xc3\xa9"}) {
        for (std::size_t length = 1; length <= 20; ++length) {
            std::string text;
            while (text.size() + unit.size() <= length) text += unit;
            if (text.empty()) continue;
            const TextKind kind = unit.size() == 1 ? TextKind::ascii : TextKind::utf8;
            CHECK(static_cast<int>(text_kind(text)) == static_cast<int>(kind));
            for (std::size_t at = 0; at <= text.size(); at += unit.size()) {
                std::string with_nul = text;
                with_nul.insert(at, 1, '\0');
                INFO("length " << length << ", NUL at " << at);
                CHECK(static_cast<int>(text_kind(with_nul)) == static_cast<int>(TextKind::has_nul));
                for (std::size_t second = at + 1; second < with_nul.size(); ++second) {
                    std::string two = with_nul;
                    two[second] = '\0';
                    if (text_kind(two) != TextKind::has_nul) CHECK(false);
                }
                ++checked;
            }
        }
    }
    CHECK(checked == 3 * 230 + 2 * (2 + 3 + 4 + 5 + 6 + 7 + 8 + 9 + 10) + 11);
    CHECK(static_cast<int>(text_kind("")) == static_cast<int>(TextKind::ascii));
}

TEST_CASE("a store takes text as what it is and refuses what is none", "[text]") {
    TempDir dir;
    kvs::SeedStore<8> store{dir.file()};
    store.set("k", "before");
    for (std::size_t at = 0; at <= 20; ++at) {
        std::string text(20, 'x');
        text.insert(at, 1, '\0');
        INFO("NUL at " << at);
        expect_error(kvs::errc::not_text, {"k", "NUL"}, [&] { store.set("k", text); });
        expect_error(kvs::errc::not_text, {"NUL"}, [&] { (void)kvs::Value(text); });
        text[at] = '\xbf';
        expect_error(kvs::errc::not_text, {"k", "UTF-8"}, [&] { store.set("k", text); });
        CHECK(store.get<std::string>("k") == "before");
    }
    CHECK(store.type("k") == kvs::Type::ascii);
    store.set("k", "gr\xc3\xbc\xc3\x9f");
    CHECK(store.type("k") == kvs::Type::utf8);
    CHECK(store.get<std::string>("k") == "gr\xc3\xbc\xc3\x9f");
    store.set("k", "");
    CHECK(store.type("k") == kvs::Type::ascii);
    CHECK(store.get<std::string>("k") == "");
    CHECK(store.verify().ok());
}
