#include <kvs/key.hpp>

#include <string>
#include <string_view>
#include <type_traits>

#include "../catch.hpp"

namespace {

/// The hash as the format tells it: over every byte of the key length, padding included.
std::uint32_t fnv_over_padded(std::string_view key, std::size_t key_length) {
    std::string padded(key);
    padded.resize(key_length, '\0');
    std::uint32_t hash = 2166136261u;
    for (const char c : padded) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
    return hash;
}

// A gap between the members of a key was filled with garbage by Clang 14 when the key was made at compile time, and
// the members behind it were never set: look-ups by literal failed at random.
static_assert(std::has_unique_object_representations_v<kvs::Key<1>>);
static_assert(std::has_unique_object_representations_v<kvs::Key<32>>);
static_assert(std::has_unique_object_representations_v<kvs::Key<1024>>);

}  // namespace

TEST_CASE("a key hashes as if padded to the key length", "[key]") {
    CHECK(kvs::Key<32>("volume").hash() == fnv_over_padded("volume", 32));
    CHECK(kvs::Key<97>("ui.volume").hash() == fnv_over_padded("ui.volume", 97));
    CHECK(kvs::Key<1>("x").hash() == fnv_over_padded("x", 1));
    for (std::size_t length = 1; length <= 1024; length += 31) {
        const std::string text(length, 'k');
        INFO("length " << length);
        CHECK(kvs::Key<1024>(text).hash() == fnv_over_padded(text, 1024));
    }
}

TEST_CASE("a key hashes its bytes as unsigned", "[key]") {
    CHECK(kvs::Key<8>("\xc3\xa9").hash() == fnv_over_padded("\xc3\xa9", 8));
    CHECK(kvs::Key<8>(std::string("\xff\x80")).hash() == fnv_over_padded("\xff\x80", 8));
}

TEST_CASE("a literal and the same text at run time make the same key", "[key]") {
    const kvs::Key<32> literal{"player.name"};
    for (const std::string text : {"player.name"}) {
        const kvs::Key<32> from_string{text};
        const kvs::Key<32> from_pointer{text.c_str()};
        const kvs::Key<32> from_view{std::string_view(text)};
        for (const auto* key : {&from_string, &from_pointer, &from_view}) {
            CHECK(*key == literal);
            CHECK(key->hash() == literal.hash());
            CHECK(key->quick_hash() == literal.quick_hash());
            CHECK(key->view() == "player.name");
        }
    }
    // A buffer that a program filled is text up to its first NUL, whatever its size.
    char buffer[64] = "player.name";
    CHECK(kvs::Key<32>(buffer) == literal);
}

TEMPLATE_TEST_CASE_SIG("keys of every length survive the way through words", "[key]", ((std::size_t N), N), 1, 7, 8, 9,
                       32, 97, 1024) {
    std::string text;
    for (std::size_t length = 1; length <= N; ++length) {
        text.push_back(static_cast<char>('!' + length % 90));
        const kvs::Key<N> key{text};
        REQUIRE(key.problem() == kvs::errc{});
        REQUIRE(key.view() == text);
        REQUIRE(key.hash() == fnv_over_padded(text, N));
    }
}

TEST_CASE("what is not a key says why", "[key]") {
    using namespace std::string_view_literals;
    CHECK(kvs::Key<8>(""sv).problem() == kvs::errc::key_empty);
    CHECK(kvs::Key<8>(static_cast<const char*>(nullptr)).problem() == kvs::errc::key_empty);
    CHECK(kvs::Key<8>("\0\0\0"sv).problem() == kvs::errc::key_empty);
    CHECK(kvs::Key<8>("\0\0\0\0\0\0\0\0"sv).problem() == kvs::errc::key_empty);
    CHECK(kvs::Key<8>("123456789"sv).problem() == kvs::errc::key_too_long);
    CHECK(kvs::Key<8>("a\0b"sv).problem() == kvs::errc::not_text);
    CHECK(kvs::Key<8>("abc\0"sv).problem() == kvs::errc::not_text);
    CHECK(kvs::Key<16>("12345678\0bc"sv).problem() == kvs::errc::not_text);
    // A key that fills the key length needs no padding, so it may hold NULs, but not as its last byte: it would be the
    // same record as a shorter key.
    CHECK(kvs::Key<8>("\0\0\0\0\0\0\0x"sv).problem() == kvs::errc{});
    CHECK(kvs::Key<3>("a\0b"sv).problem() == kvs::errc{});
    CHECK(kvs::Key<3>("a\0b"sv).view() == "a\0b"sv);
    CHECK(kvs::Key<3>("ab\0"sv).problem() == kvs::errc::not_text);
    CHECK(kvs::Key<3>("a\0\0"sv).problem() == kvs::errc::not_text);
}
