#include <kvs/format.hpp>
#include <kvs/kvs.hpp>

#include <array>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../catch.hpp"
#include "../support/expect_error.hpp"
#include "../support/temp_dir.hpp"

namespace {

enum class Difficulty : std::uint8_t { easy, hard };
enum class Offset : std::int16_t { left = -300 };

struct Point {
    float x, y;
    bool operator==(const Point&) const = default;
};

using Store = kvs::SeedStore<32>;
using kvs_test::expect_error;
using kvs_test::TempDir;

}  // namespace

template <>
inline constexpr bool kvs::enable_bytes<Point> = true;

TEST_CASE("the first program of the documentation does what it says", "[store]") {
    TempDir dir;
    Store prefs{dir.file()};
    prefs.set("volume", 0.8f);
    const float v = prefs.get_or("volume", 1.0f);
    CHECK(v == 0.8f);
    const std::optional<std::string> n = prefs.get<std::string>("player.name");
    CHECK(!n);
    CHECK(prefs.contains("volume"));
    CHECK(prefs.erase("volume"));
    CHECK(!prefs.erase("volume"));
    CHECK(!prefs.contains("volume"));
    prefs.sync();
}

TEST_CASE("every storable type comes back", "[store]") {
    TempDir dir;
    const std::vector<std::byte> blob{std::byte{0}, std::byte{1}, std::byte{255}};
    {
        Store s{dir.file()};
        s.set("bool", true);
        s.set("char", 'c');
        s.set("i8", std::int8_t{-5});
        s.set("u8", std::uint8_t{200});
        s.set("short", short{-300});
        s.set("u16", std::uint16_t{60000});
        s.set("int", -70000);
        s.set("unsigned", 4000000000u);
        s.set("long long", std::numeric_limits<long long>::min());
        s.set("u64", std::numeric_limits<std::uint64_t>::max());
        s.set("float", 0.1f);
        s.set("double", 0.1);
        s.set("enum", Difficulty::hard);
        s.set("signed enum", Offset::left);
        s.set("literal", "literal");
        s.set("string", std::string("gr\xc3\xbc\xc3\x9f"));
        s.set("view", std::string_view("view"));
        const char* pointer = "pointer";
        s.set("pointer", pointer);
        char array[16] = "array";
        s.set("array", array);
        s.set("vector", blob);
        s.set("span", std::span<const std::byte>(blob));
        s.set("struct", Point{1.5f, -2});
        s.set("value", kvs::Value(42));
    }
    const Store s{dir.file(), {.mode = kvs::Mode::read_only}};
    CHECK(s.get<bool>("bool") == true);
    CHECK(s.get<char>("char") == 'c');
    CHECK(s.get<std::int8_t>("i8") == std::int8_t{-5});
    CHECK(s.get<std::uint8_t>("u8") == std::uint8_t{200});
    CHECK(s.get<short>("short") == short{-300});
    CHECK(s.get<std::uint16_t>("u16") == std::uint16_t{60000});
    CHECK(s.get<int>("int") == -70000);
    CHECK(s.get<unsigned>("unsigned") == 4000000000u);
    CHECK(s.get<long long>("long long") == std::numeric_limits<long long>::min());
    CHECK(s.get<std::uint64_t>("u64") == std::numeric_limits<std::uint64_t>::max());
    CHECK(s.get<float>("float") == 0.1f);
    CHECK(s.get<double>("double") == 0.1);
    CHECK(s.get<Difficulty>("enum") == Difficulty::hard);
    CHECK(s.get<Offset>("signed enum") == Offset::left);
    CHECK(s.get<std::string>("literal") == "literal");
    CHECK(s.get<std::string>("string") == "gr\xc3\xbc\xc3\x9f");
    CHECK(s.get<std::string>("view") == "view");
    CHECK(s.get<std::string>("pointer") == "pointer");
    CHECK(s.get<std::string>("array") == "array");
    CHECK(s.get<std::vector<std::byte>>("vector") == blob);
    CHECK(s.get<std::vector<std::byte>>("span") == blob);
    CHECK(s.get<Point>("struct") == Point{1.5f, -2});
    CHECK(s.get<kvs::Value>("value") == kvs::Value(42));

    CHECK(s.type("bool") == kvs::Type::boolean);
    CHECK(s.type("int") == kvs::Type::i32);
    CHECK(s.type("literal") == kvs::Type::ascii);
    CHECK(s.type("string") == kvs::Type::utf8);
    CHECK(s.type("struct") == kvs::Type::bytes);
    CHECK(s.type("nothing") == std::nullopt);
    CHECK(s.size() == 23);
    CHECK(s.verify().ok());
}

TEST_CASE("a key holds one value, whatever it held before", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    s.set("k", std::uint8_t{1});
    s.set("k", std::string(300, 'x'));
    s.set("k", 2.5);
    s.set("k", std::int64_t{-1});
    CHECK(s.size() == 1);
    CHECK(s.type("k") == kvs::Type::i64);
    CHECK(s.get<int>("k") == -1);
    s.set("k", "now text");
    CHECK(s.get<std::string>("k") == "now text");
    CHECK(s.verify().ok());
    CHECK(s.verify().keys == 1);
    CHECK(s.erase("k"));
    CHECK(s.size() == 0);
    CHECK(s.empty());
    CHECK(!s.value("k"));
}

TEST_CASE("an erased record is used again, and its link is kept", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    for (int i = 0; i < 1000; ++i) s.set("key" + std::to_string(i), i);
    const auto before = s.stats();
    for (int i = 0; i < 1000; i += 2) CHECK(s.erase("key" + std::to_string(i)));
    CHECK(s.stats().deleted_records == 500);
    for (int i = 0; i < 1000; i += 2) s.set("key" + std::to_string(i), i);
    const auto after = s.stats();
    CHECK(after.live_bytes == before.live_bytes);
    CHECK(after.deleted_records == 0);
    for (int i = 0; i < 1000; ++i) CHECK(s.get<int>("key" + std::to_string(i)) == i);
    CHECK(s.verify().ok());
}

TEST_CASE("absent, wrong type and wrong value are different answers", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    s.set("text", "hello");
    s.set("large", 300);
    CHECK(s.get<int>("absent") == std::nullopt);
    expect_error(kvs::errc::type_mismatch, {dir.file(), "text", "i32", "ascii"}, [&] { s.get<int>("text"); });
    expect_error(kvs::errc::type_mismatch, {"large", "u8", "i32"}, [&] { s.get<std::uint8_t>("large"); });
    expect_error(kvs::errc::type_mismatch, {"large", "boolean"}, [&] { s.get<bool>("large"); });
    CHECK(s.get_or("absent", 7) == 7);
    CHECK(s.get_or("text", 7) == 7);
    CHECK(s.get_or("large", std::uint8_t{7}) == 7);
    CHECK(s.get_or("large", std::uint16_t{7}) == 300);
    CHECK(s.get_or("large", 0.5) == 300.0);
    CHECK(s.get_or("absent", "fallback") == "fallback");
    CHECK(s.get_or("text", "fallback") == "hello");
    CHECK(s.get_or("text", std::string_view("fallback")) == "hello");
}

TEST_CASE("get_into copies without allocating, and never cuts", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    s.set("name", "Aitocir");
    s.set("blob", std::vector<std::byte>(3, std::byte{9}));
    s.set("number", 1);
    std::array<char, 8> text{};
    CHECK(s.get_into("name", text) == std::size_t{7});
    CHECK(std::string_view(text.data()) == "Aitocir");
    char exact[7];
    CHECK(s.get_into("name", exact) == std::size_t{7});
    char small[6];
    expect_error(kvs::errc::value_too_long, {"name", "6 bytes", "7 bytes"}, [&] { s.get_into("name", small); });
    std::array<std::byte, 16> bytes{};
    CHECK(s.get_into("blob", bytes) == std::size_t{3});
    CHECK(s.get_into("name", std::span<std::byte>(bytes)) == std::size_t{7});
    CHECK(s.get_into("absent", text) == std::nullopt);
    expect_error(kvs::errc::type_mismatch, {"blob"}, [&] { s.get_into("blob", text); });
    expect_error(kvs::errc::type_mismatch, {"number"}, [&] { s.get_into("number", bytes); });
    std::error_code error;
    CHECK(!s.get_into("name", small, error));
    CHECK(error == kvs::errc::value_too_long);
    CHECK(s.get_into("name", exact, error) == std::size_t{7});
    CHECK(!error);
}

TEST_CASE("settings are read, set and fall back by name and type", "[store]") {
    TempDir dir;
    Store prefs{dir.file()};
    static constexpr kvs::Setting<float> volume{"volume", 0.8f};
    const kvs::Setting<std::string> name{"player.name", "nobody"};
    CHECK(prefs[volume] == 0.8f);
    CHECK(static_cast<std::string>(prefs[name]) == "nobody");
    prefs[volume] = 0.5f;
    prefs[name] = "Ada";
    CHECK(prefs.get(volume) == 0.5f);
    CHECK(prefs.get(name) == "Ada");
    CHECK(prefs[name] == "Ada");
    CHECK(fmt::format("{:.1f} {:>4}", prefs[volume], prefs[name]) == "0.5  Ada");
    prefs.set(volume, 1);  // an int where a float is meant is a float
    CHECK(prefs.type("volume") == kvs::Type::f32);
    CHECK(prefs.contains(volume));
    CHECK(prefs.erase(volume));
    CHECK(prefs.get(volume) == 0.8f);
    const Store& reader = prefs;
    const std::string read = reader[name];
    CHECK(read == "Ada");
    const kvs::Setting<int> too_long{"a name with more bytes than the key length of 32", 0};
    expect_error(kvs::errc::key_too_long, {"a name with more", "32 bytes", "48 bytes"}, [&] { prefs.get(too_long); });
}

TEST_CASE("registered defaults stand under the stored values", "[store]") {
    TempDir dir;
    Store prefs{dir.file()};
    prefs.register_defaults({{"volume", 0.8f}, {"name", "nobody"}, {"lives", 3}});
    CHECK(prefs.get<float>("volume") == 0.8f);
    CHECK(prefs.get<std::string>("name") == "nobody");
    CHECK(prefs.get_or("lives", 9) == 3);
    CHECK(prefs.type("lives") == kvs::Type::i32);
    CHECK(prefs.value("lives") == kvs::Value(3));
    char buffer[16];
    CHECK(prefs.get_into("name", buffer) == std::size_t{6});
    CHECK(!prefs.contains("volume"));
    CHECK(prefs.empty());
    prefs.set("volume", 0.1f);
    CHECK(prefs.get<float>("volume") == 0.1f);
    prefs.erase("volume");
    CHECK(prefs.get<float>("volume") == 0.8f);
    expect_error(kvs::errc::type_mismatch, {"name"}, [&] { prefs.get<int>("name"); });
    CHECK(prefs.get_or("name", 5) == 5);
    prefs.register_defaults({{"volume", 0.9f}, {"more", true}});
    CHECK(prefs.get<float>("volume") == 0.9f);
    CHECK(prefs.get<bool>("more") == true);
    CHECK(prefs.get<int>("lives") == 3);
    const std::string bad(33, 'k');
    expect_error(kvs::errc::key_too_long, {"kkkk"}, [&] { prefs.register_defaults({{"fine", 1}, {bad, 2}}); });
    CHECK(!prefs.get<int>("fine"));
}

TEST_CASE("twins report by code, clear it on success and do not throw", "[store]") {
    TempDir dir;
    std::error_code error = kvs::make_error_code(kvs::errc::corrupt);
    Store s(dir.file(), {}, error);
    REQUIRE(!error);
    REQUIRE(s.is_open());
    s.set("k", 1, error);
    CHECK(!error);
    const std::string long_key(33, 'k');
    s.set(long_key, 1, error);
    CHECK(error == kvs::errc::key_too_long);
    CHECK(s.get<int>("k", error) == 1);
    CHECK(!error);
    CHECK(!s.get<std::string>("k", error));
    CHECK(error == kvs::errc::type_mismatch);
    CHECK(s.get_or("k", 2, error) == 1);
    CHECK(!error);
    CHECK(s.get_or(long_key, 2, error) == 2);
    CHECK(error == kvs::errc::key_too_long);
    CHECK(s.contains("k", error));
    CHECK(!error);
    CHECK(s.type("k", error) == kvs::Type::i32);
    CHECK(s.value("k", error) == kvs::Value(1));
    CHECK(!s.erase(long_key, error));
    CHECK(error == kvs::errc::key_too_long);
    CHECK(s.erase("k", error));
    CHECK(!error);
    s.sync(error);
    CHECK(!error);
    CHECK(s.verify(error).ok());
    CHECK(s.stats(error).keys == 0);
    s.clear(error);
    CHECK(!error);

    Store second(dir.file(), {}, error);
    CHECK(error == kvs::errc::in_use);
    CHECK(!second.is_open());
    CHECK(second.path().empty());
    CHECK(!second.get<int>("k", error));
    CHECK(error == kvs::errc::not_found);

    STATIC_REQUIRE(noexcept(s.set("k", 1, error)));
    STATIC_REQUIRE(noexcept(s.get<int>("k", error)));
    STATIC_REQUIRE(noexcept(s.get<std::string>("k", error)));
    STATIC_REQUIRE(noexcept(s.get_or("k", 1, error)));
    STATIC_REQUIRE(noexcept(s.get_into("k", std::declval<char(&)[1]>(), error)));
    STATIC_REQUIRE(noexcept(s.value("k", error)));
    STATIC_REQUIRE(noexcept(s.type("k", error)));
    STATIC_REQUIRE(noexcept(s.contains("k", error)));
    STATIC_REQUIRE(noexcept(s.erase("k", error)));
    STATIC_REQUIRE(noexcept(s.clear(error)));
    STATIC_REQUIRE(noexcept(s.sync(error)));
    STATIC_REQUIRE(noexcept(s.copy_to("c", error)));
    STATIC_REQUIRE(noexcept(s.compact_to("c", error)));
    STATIC_REQUIRE(noexcept(s.verify(error)));
    STATIC_REQUIRE(noexcept(s.stats(error)));
    STATIC_REQUIRE(noexcept(s.begin(error)));
    STATIC_REQUIRE(noexcept(std::declval<Store::iterator&>().increment(error)));
}

TEST_CASE("iteration finds every entry once", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    CHECK(s.begin() == s.end());
    std::map<std::string, int> wanted;
    for (int i = 0; i < 500; ++i) {
        wanted["key" + std::to_string(i)] = i;
        s.set("key" + std::to_string(i), i);
    }
    s.erase("key250");
    wanted.erase("key250");
    std::map<std::string, int> found;
    for (const auto& entry : s) {
        CHECK(entry.type() == kvs::Type::i32);
        CHECK(entry.value() == kvs::Value(entry.get<int>()));
        CHECK(found.emplace(entry.key(), entry.get<int>()).second);
    }
    CHECK(found == wanted);

    std::error_code error;
    std::size_t count = 0;
    for (auto it = s.begin(error); it != s.end(); it.increment(error)) {
        CHECK(!error);
        CHECK(it->get<std::string>(error).empty());
        CHECK(error == kvs::errc::type_mismatch);
        ++count;
    }
    CHECK(count == wanted.size());
}

// A copied entry pointed into the buffer of the iterator it came from.
TEST_CASE("entries can be kept", "[store]") {
    TempDir dir;
    std::vector<kvs::Entry> all;
    {
        Store s{dir.file()};
        for (int i = 0; i < 20; ++i) s.set("key" + std::to_string(i), "value" + std::to_string(i));
        all.assign(s.begin(), s.end());
    }
    CHECK(all.size() == 20);
    for (const auto& entry : all) CHECK(entry.get<std::string>() == "value" + std::string(entry.key().substr(3)));
}

TEST_CASE("erasing and clearing while iterating is safe", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    for (unsigned i = 0; i < 300; ++i) s.set("key" + std::to_string(i), std::string(i % 60, 'x'));
    for (const auto& entry : s) s.erase(std::string(entry.key()));
    CHECK(s.empty());
    for (int i = 0; i < 300; ++i) s.set("key" + std::to_string(i), i);
    std::size_t seen = 0;
    for (auto it = s.begin(); it != s.end(); ++it)
        if (++seen == 10) s.clear();
    CHECK(seen == 10);
}

TEST_CASE("clear removes all keys and frees their space", "[store]") {
    TempDir dir;
    {
        Store s{dir.file()};
        for (int i = 0; i < 2000; ++i) s.set("key" + std::to_string(i), std::string(100, 'x'));
        s.clear();
        CHECK(s.empty());
        CHECK(!s.contains("key1"));
        CHECK(s.begin() == s.end());
        s.set("key1", 1);
        CHECK(s.size() == 1);
        CHECK(s.verify().ok());
    }
    Store s{dir.file()};
    CHECK(s.size() == 1);
    CHECK(s.get<int>("key1") == 1);
    CHECK(std::filesystem::file_size(dir.file()) == 262154 + 32 + 1 + 4 + 4);
}

// The short way of a look-up compared bytes only, so a key that is too long was answered with the value of the key that
// it begins with, once that key had been found before.
TEST_CASE("a key that is not valid is never taken for the key it begins with", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    const std::string full(32, 'k');
    s.set(full, 1);
    s.set("short", 2);
    CHECK(s.get<int>(full) == 1);
    CHECK(s.get<int>("short") == 2);
    const std::string too_long(33, 'k');
    const std::string with_nul("short\0", 6);
    expect_error(kvs::errc::key_too_long, {"32 bytes", "33 bytes"}, [&] { s.get<int>(too_long); });
    expect_error(kvs::errc::not_text, {"short"}, [&] { s.get<int>(with_nul); });
    expect_error(kvs::errc::key_too_long, {}, [&] { s.get_or(too_long, 5); });
    expect_error(kvs::errc::key_too_long, {}, [&] { s.contains(too_long); });
    expect_error(kvs::errc::not_text, {}, [&] { s.set(with_nul, 5); });
    CHECK(s.size() == 2);
}

TEST_CASE("a store can be moved and goes on", "[store]") {
    TempDir dir;
    Store a{dir.file("a")};
    a.set("k", 1);
    Store b{std::move(a)};
    CHECK(!a.is_open());
    CHECK(b.get<int>("k") == 1);
    expect_error(kvs::errc::not_found, {}, [&] { a.set("k", 1); });
    CHECK(a.size() == 0);
    Store c{dir.file("c")};
    c = std::move(b);  // closes the store that was open there
    CHECK(c.get<int>("k") == 1);
    CHECK(c.path() == dir.file("a"));
    Store again{dir.file("c")};
    CHECK(again.empty());
}

TEST_CASE("a path can be given in any usual form", "[store]") {
    TempDir dir;
    const std::string text = dir.file();
    { Store s{text}; }
    { Store s{std::string_view(text)}; }
    { Store s{text.c_str()}; }
    { Store s{std::filesystem::path(text)}; }
    expect_error(kvs::errc::not_found, {}, [&] { Store s{""}; });
    expect_error(kvs::errc::not_found, {}, [&] { Store s{static_cast<const char*>(nullptr)}; });
    expect_error(kvs::errc::not_found, {}, [&] { Store s{std::string("a\0b", 3)}; });
}

TEST_CASE("a file is created with the permissions asked for, and opens under another name", "[store]") {
    TempDir dir;
    { Store s{dir.file("private")}; }
    { Store s{dir.file("group"), {.permissions = 0640}}; }
    using std::filesystem::perms;
    CHECK(std::filesystem::status(dir.file("private")).permissions() == (perms::owner_read | perms::owner_write));
    CHECK((std::filesystem::status(dir.file("group")).permissions() & perms::group_read) == perms::group_read);
    std::filesystem::create_symlink(dir.file("private"), dir.file("link"));
    Store s{dir.file("link")};
    s.set("k", 1);
    expect_error(kvs::errc::in_use, {"private"}, [&] { Store other{dir.file("private")}; });
}

// `verify` looks for keys that are there twice among those of one hash.
TEST_CASE("long keys of one hash that differ at their end only are not taken for one", "[store]") {
    using Key = kvs::Key<97>;
    const std::string same(80, 'k');
    std::map<std::uint32_t, std::string> ends;
    std::string one, other;
    for (std::uint32_t i = 0; one.empty(); ++i) {
        other = same + std::to_string(i);
        const auto [at, is_new] = ends.emplace(Key(other).hash(), other);
        if (!is_new) one = at->second;
    }
    TempDir dir;
    kvs::SeedStore<97> s{dir.file()};
    s.set(one, 1);
    s.set(other, 2);
    CHECK(s.get<int>(one) == 1);
    CHECK(s.get<int>(other) == 2);
    const kvs::Report report = s.verify();
    CHECK(report.ok());
    CHECK(report.keys == 2);
}

TEST_CASE("copies are whole stores, also of a store in use", "[store]") {
    TempDir dir;
    Store s{dir.file()};
    for (unsigned i = 0; i < 100; ++i) s.set("key" + std::to_string(i), std::string(i, 'x'));
    for (int i = 0; i < 50; ++i) s.erase("key" + std::to_string(i));
    s.copy_to(dir.file("copy"));
    s.compact_to(std::filesystem::path(dir.file("compact")));
    s.set("later", 1);
    s.copy_to(dir.file("copy"));  // replaces the first
    for (const char* name : {"copy", "compact"}) {
        const Store copy{dir.file(name), {.mode = kvs::Mode::read_only}};
        CHECK(copy.verify().ok());
        CHECK(copy.get<std::string>("key99") == std::string(99, 'x'));
        CHECK(!copy.contains("key49"));
        CHECK(copy.recovery().outcome == kvs::Recovery::Outcome::clean);
        CHECK(copy.contains("later") == (name == std::string("copy")));
    }
    CHECK(std::filesystem::file_size(dir.file("compact")) < std::filesystem::file_size(dir.file("copy")));
    expect_error(kvs::errc::in_use, {dir.file()}, [&] { s.copy_to(dir.file()); });
    expect_error(kvs::errc::in_use, {dir.file()}, [&] { s.compact_to(dir.file()); });
    expect_error(kvs::errc::not_found, {}, [&] { s.copy_to(dir.file("no/such/directory")); });
    CHECK(s.get<int>("later") == 1);
    // Nothing temporary is left behind.
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(dir.path())) ++files;
    CHECK(files == 3);
}

TEST_CASE("recovery tells what opening found", "[store]") {
    TempDir dir;
    { CHECK(Store{dir.file()}.recovery().outcome == kvs::Recovery::Outcome::created); }
    { CHECK(Store{dir.file()}.recovery().outcome == kvs::Recovery::Outcome::clean); }
    {
        Store s{dir.file()};
        s.set("k", 1);
        std::filesystem::copy_file(dir.file(), dir.file("image"));  // as a killed process leaves it
    }
    Store s{dir.file("image")};
    CHECK(s.recovery().outcome == kvs::Recovery::Outcome::killed);
    CHECK(s.recovery().keys == 1);
    CHECK(s.get<int>("k") == 1);
}

TEST_CASE("a recovery is printed with everything that is not as usual", "[store]") {
    kvs::Recovery recovery;
    CHECK(fmt::format("{}", recovery) == "clean: 0 records, 0 keys, 0 damaged chains, 0 duplicate keys");
    recovery = {.outcome = kvs::Recovery::Outcome::killed,
                .rolled_back = 1,
                .mended_records = 2,
                .damaged_records = 3,
                .lost_records = 4,
                .lost_bytes = 5,
                .damaged_superblocks = 1,
                .mended_superblocks = 2,
                .attached = true,
                .header_damaged = true,
                .salvaged = true};
    CHECK(fmt::format("{}", recovery) ==
          "killed: 0 records, 0 keys, 0 damaged chains, 0 duplicate keys, 1 values rolled back, 2 records mended, 3 "
          "damaged records, 4 lost records, 5 lost bytes, 1 damaged superblock pages, 2 superblock pages mended, "
          "attached, header damaged, salvaged");
}

TEST_CASE("a store without a user keeps working when one is opened and nothing is done", "[store]") {
    TempDir dir;
    { Store s{dir.file()}; }
    const auto time = std::filesystem::last_write_time(dir.file());
    { Store s{dir.file()}; }
    CHECK(std::filesystem::file_size(dir.file()) == 262154);
    CHECK(std::filesystem::last_write_time(dir.file()) == time);
}
