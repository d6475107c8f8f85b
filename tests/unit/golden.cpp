// A file written by the original program is read exactly, and stays a file of that format when it is changed.
#include <kvs/kvs.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../catch.hpp"
#include "../support/expect_error.hpp"
#include "../support/temp_dir.hpp"
#include "../support/walker.hpp"

namespace {

using kvs_test::contents_of;
using kvs_test::expect_error;
using kvs_test::TempDir;

using Threads = kvs::SeedStore<97>;
using Unshared = kvs::Store<97, kvs::NoBackup, kvs::Unshared>;

const std::string golden = KVS_TEST_SOURCE_DIR "/tests/golden/original-settings.akvs";

/// What tests/golden/README.md says is in the file.
struct Setting {
    std::string key;
    std::uint8_t type_byte;
    kvs::Value value;
};
const std::vector<Setting>& settings() {
    static const std::vector<Setting> all{
        {"ui.volume", 0x00, std::uint8_t{80}},
        {"ui.brightness", 0x10, std::int8_t{-12}},
        {"window.width", 0x02, std::uint32_t{2560}},
        {"window.height", 0x02, std::uint32_t{1080}},
        {"window.left", 0x12, std::int32_t{-7}},
        {"session.started", 0x03, std::uint64_t{1447000000123}},
        {"balance.cents", 0x13, std::int64_t{-250000000001}},
        {"sound.on", 0x30, true},
        {"music.on", 0x30, false},
        {"player.name", 0x40, "Aitocir"},
        {"exactly.32", 0x40, "1234567890abcdef1234567890ABCDEF"},
        {"server.url", 0x41, "https://example.org/api/v1/settings?user=42&lang=en"},
        {"gain", 0x20, 0.25f},
        {"ratio", 0x21, 1.5},
    };
    return all;
}

template <class Store>
void check_content(const Store& store) {
    CHECK(store.size() == 14);
    for (const Setting& setting : settings()) {
        INFO(setting.key);
        CHECK(store.contains(setting.key));
        CHECK(store.type(setting.key) == setting.value.type());
        CHECK(store.value(setting.key) == setting.value);
    }
    CHECK(store.template get<std::uint8_t>("ui.volume") == std::uint8_t{80});
    CHECK(store.template get<std::int8_t>("ui.brightness") == std::int8_t{-12});
    CHECK(store.template get<std::uint32_t>("window.width") == 2560u);
    CHECK(store.template get<std::uint32_t>("window.height") == 1080u);
    CHECK(store.template get<std::int32_t>("window.left") == -7);
    CHECK(store.template get<std::uint64_t>("session.started") == 1447000000123u);
    CHECK(store.template get<std::int64_t>("balance.cents") == -250000000001);
    CHECK(store.template get<bool>("sound.on") == true);
    CHECK(store.template get<bool>("music.on") == false);
    CHECK(store.template get<std::string>("player.name") == "Aitocir");
    CHECK(store.template get<std::string>("exactly.32") == "1234567890abcdef1234567890ABCDEF");
    CHECK(store.template get<std::string>("server.url") == "https://example.org/api/v1/settings?user=42&lang=en");
    CHECK(store.template get<float>("gain") == 0.25f);
    CHECK(store.template get<double>("ratio") == 1.5);

    // As other types, where nothing is lost.
    CHECK(store.template get<std::int64_t>("ui.volume") == 80);
    CHECK(store.template get<double>("balance.cents") == -250000000001.0);
    CHECK(store.template get<double>("gain") == 0.25);
    CHECK(store.template get<float>("ratio") == 1.5f);
    expect_error(kvs::errc::type_mismatch, {golden.substr(golden.rfind('/') + 1), "window.left", "u32", "i32"},
                 [&] { (void)store.template get<std::uint32_t>("window.left"); });
    expect_error(kvs::errc::type_mismatch, {"gain", "i32", "f32"},
                 [&] { (void)store.template get<std::int32_t>("gain"); });
    expect_error(kvs::errc::type_mismatch, {"sound.on"}, [&] { (void)store.template get<std::uint8_t>("sound.on"); });

    CHECK(store.get_or("gain", 1.0f) == 0.25f);
    CHECK(store.get_or("ratio", 9.0) == 1.5);
    CHECK(store.get_or("gain", 3) == 3);
    CHECK(store.get_or("player.name", "nobody") == "Aitocir");
    CHECK(store.get_or("player.name", 5) == 5);
    CHECK(store.get_or("music.on", true) == false);
    CHECK(store.get_or("no such key", 5) == 5);
    CHECK(!store.contains("no such key"));

    char text[32];
    CHECK(store.get_into("exactly.32", text) == std::size_t{32});
    CHECK(std::string_view(text, 32) == "1234567890abcdef1234567890ABCDEF");

    std::map<std::string, kvs::Value> found;
    for (const auto& entry : store) {
        CHECK(entry.type() == entry.value().type());
        CHECK(found.emplace(entry.key(), entry.value()).second);
    }
    CHECK(found.size() == settings().size());
    for (const Setting& setting : settings()) {
        INFO(setting.key);
        CHECK((found.count(setting.key) == 1 && found.at(setting.key) == setting.value));
    }

    const kvs::Report report = store.verify();
    CHECK(report.ok());
    CHECK(report.keys == 14);
    CHECK(report.records == 14);
    CHECK(report.deleted_records == 0);
    CHECK(store.recovery().outcome == kvs::Recovery::Outcome::clean);
    CHECK(store.recovery().keys == 14);
    CHECK(store.recovery().damaged_chains == 0);
    CHECK(store.recovery().duplicate_keys == 0);
    CHECK(store.stats().live_bytes == 263974);
}

/// What a store must hold after a change: content, and the type byte in the file.
using Wanted = std::map<std::string, Setting>;

Wanted wanted_at_first() {
    Wanted wanted;
    for (const Setting& setting : settings()) wanted.emplace(setting.key, setting);
    return wanted;
}

/// The value of a key as the walker sees it, to be compared with a `kvs::Value` of this type.
kvs::Value value_of(const kvs_test::Walked& walked, kvs::Type type) {
    const auto& text = walked.value;
    switch (type) {
        case kvs::Type::u8: return static_cast<std::uint8_t>(walked.bits());
        case kvs::Type::u16: return static_cast<std::uint16_t>(walked.bits());
        case kvs::Type::u32: return static_cast<std::uint32_t>(walked.bits());
        case kvs::Type::u64: return walked.bits();
        case kvs::Type::i8: return static_cast<std::int8_t>(walked.bits());
        case kvs::Type::i16: return static_cast<std::int16_t>(walked.bits());
        case kvs::Type::i32: return static_cast<std::int32_t>(walked.bits());
        case kvs::Type::i64: return static_cast<std::int64_t>(walked.bits());
        case kvs::Type::f32:
            return walked.is_decimal_text() ? std::stof(text)
                                            : std::bit_cast<float>(static_cast<std::uint32_t>(walked.bits()));
        case kvs::Type::f64: return walked.is_decimal_text() ? std::stod(text) : std::bit_cast<double>(walked.bits());
        case kvs::Type::boolean: return walked.bits() != 0;
        case kvs::Type::ascii:
        case kvs::Type::utf8: return text;
        case kvs::Type::bytes: break;
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    return std::vector<std::byte>(bytes, bytes + text.size());
}

void check_file(const std::string& path, const Wanted& wanted) {
    const kvs_test::Walk walk = kvs_test::walk_file(path);
    INFO(walk.text());
    CHECK(walk.ok());
    CHECK(walk.key_length == 97);
    CHECK(walk.weights == 0x01010101);
    CHECK(walk.live_end == walk.file_bytes);
    CHECK(walk.unreached_bytes == 0);
    CHECK(walk.entries.size() == wanted.size());
    for (const auto& [key, setting] : wanted) {
        INFO(key);
        REQUIRE(walk.entries.count(key) == 1);
        const kvs_test::Walked& entry = walk.entries.at(key);
        CHECK(unsigned{entry.type} == unsigned{setting.type_byte});
        CHECK(value_of(entry, setting.value.type()) == setting.value);
    }
    const Threads store{path, {.mode = kvs::Mode::read_only}};
    CHECK(store.verify().ok());
    CHECK(store.size() == wanted.size());
    for (const auto& [key, setting] : wanted) {
        INFO(key);
        CHECK(store.value(key) == setting.value);
    }
}

}  // namespace

TEMPLATE_TEST_CASE("a file of the original program is read exactly", "[golden]", Threads, Unshared) {
    const std::string before = contents_of(golden);
    REQUIRE(before.size() == 263974);
    {
        const TestType store{golden, {.mode = kvs::Mode::read_only}};
        check_content(store);
        check_content(store);  // again, with every key found before
    }
    CHECK(contents_of(golden) == before);
}

TEMPLATE_TEST_CASE("opening and closing a file of the original program leaves every byte", "[golden]", Threads,
                   Unshared) {
    TempDir dir;
    const std::string before = contents_of(golden);
    const std::string copy = dir.file("original-settings.akvs");
    kvs_test::write_file(copy, before);
    {
        TestType store{copy};
        check_content(store);
        CHECK(!store.erase("no such key"));
        store.sync();
        std::error_code error;
        store.set("no such text", "\xff", error);
        CHECK(error == kvs::errc::not_text);
    }
    CHECK(contents_of(copy) == before);
}

TEST_CASE("another key length than the file's is refused, and both are named", "[golden]") {
    for (const kvs::Mode mode : {kvs::Mode::read_only, kvs::Mode::open_existing, kvs::Mode::open_or_create}) {
        TempDir dir;
        const std::string before = contents_of(golden);
        const std::string copy = dir.file();
        kvs_test::write_file(copy, before);
        expect_error(kvs::errc::key_length_mismatch, {copy, "97 bytes", "32 bytes"},
                     [&] { kvs::SeedStore<32> store(copy, {.mode = mode}); });
        expect_error(kvs::errc::key_length_mismatch, {copy, "97 bytes", "98 bytes"},
                     [&] { kvs::SeedStore<98> store(copy, {.mode = mode}); });
        CHECK(contents_of(copy) == before);
    }
}

TEST_CASE("the walker reads the file of the original program", "[golden]") {
    const kvs_test::Walk walk = kvs_test::walk_file(golden);
    CHECK(walk.records == 14);
    CHECK(walk.deleted == 0);
    check_file(golden, wanted_at_first());
}

TEMPLATE_TEST_CASE("a file of the original program stays one when it is changed", "[golden]", Threads, Unshared) {
    TempDir dir;
    const std::string before = contents_of(golden);
    const kvs_test::Walk walk_before = kvs_test::walk_bytes(before);
    const std::string copy = dir.file("original-settings.akvs");
    kvs_test::write_file(copy, before);

    Wanted wanted = wanted_at_first();
    const std::vector<std::byte> blob{std::byte{1}, std::byte{0}, std::byte{255}};
    const std::string long_text(300, 'y');
    const std::string full_key(97, 'K');
    {
        TestType store{copy};
        const auto set = [&](const std::string& key, std::uint8_t type_byte, const auto& value) {
            store.set(key, value);
            wanted.insert_or_assign(key, Setting{key, type_byte, value});
        };
        // The same type.
        set("window.width", 0x02, std::uint32_t{2561});
        set("sound.on", 0x30, false);
        set("exactly.32", 0x40, "shorter");
        // Another type of the same length.
        set("window.height", 0x12, std::int32_t{-1080});
        set("music.on", 0x00, std::uint8_t{7});
        set("session.started", 0x23, 0.1);
        set("player.name", 0x50, "\xc3\x84itocir");
        // Another length.
        set("ui.volume", 0x03, std::uint64_t{80});
        set("server.url", 0x00, std::uint8_t{1});
        set("ui.brightness", 0x42, long_text);
        // The old codes; each is also looked up first, so that its place is known.
        CHECK(store.template get<float>("gain") == 0.25f);
        set("gain", 0x22, 0.75f);
        CHECK(store.template get<double>("ratio") == 1.5);
        set("ratio", 0x23, 2.5);
        // New keys; the first three find deleted records of their lengths only by chance of the bucket.
        set("new.u8", 0x00, std::uint8_t{3});
        set("new.text", 0x41, std::string(33, 'z'));
        set("new.bytes", 0x60, blob);
        set(full_key, 0x43, std::string(65536, 'x'));
        // Gone.
        CHECK(store.erase("window.left"));
        wanted.erase("window.left");
        CHECK(store.erase("balance.cents"));
        wanted.erase("balance.cents");
        CHECK(!store.erase("balance.cents"));
        CHECK(store.size() == wanted.size());
        CHECK(store.verify().ok());
    }
    check_file(copy, wanted);

    // Keys that kept their length kept their record; what was not touched has every byte it had.
    const std::string after = contents_of(copy);
    const kvs_test::Walk walk = kvs_test::walk_bytes(after);
    std::set<std::string> kept;
    for (const auto& [key, entry] : walk.entries)
        if (walk_before.entries.count(key) == 1 && walk_before.entries.at(key).offset == entry.offset) kept.insert(key);
    CHECK(kept == std::set<std::string>{"window.width", "sound.on", "exactly.32", "window.height", "music.on",
                                        "session.started", "player.name"});
    CHECK(after.substr(0, 10) == before.substr(0, 10));
    // Erased: window.left, balance.cents, and the five that went to another length.
    CHECK(walk.deleted == 7);

    // Set again to what they were: the deleted records are used, except that the numbers with a fraction are no text
    // now.
    {
        TestType store{copy};
        store.set("ui.volume", std::uint8_t{80});
        store.set("window.left", std::int32_t{-7});
        store.set("balance.cents", std::int64_t{-250000000001});
        store.set("ui.brightness", std::int8_t{-12});
        store.set("server.url", "https://example.org/api/v1/settings?user=42&lang=en");
    }
    const kvs_test::Walk again = kvs_test::walk_file(copy);
    for (const char* key : {"ui.volume", "window.left", "balance.cents", "ui.brightness", "server.url"}) {
        INFO(key);
        CHECK(again.entries.at(key).offset == walk_before.entries.at(key).offset);
    }
}

TEST_CASE("numbers kept as text give way to numbers of any type", "[golden]") {
    TempDir dir;
    const std::string copy = dir.file("original-settings.akvs");
    const kvs_test::Walk before = kvs_test::walk_file(golden);
    const auto changed = [&](const auto& gain, std::uint8_t gain_byte, const auto& ratio, std::uint8_t ratio_byte) {
        kvs_test::write_file(copy, contents_of(golden));
        Wanted wanted = wanted_at_first();
        {
            Threads store{copy};
            store.set("gain", gain);
            store.set("ratio", ratio);
            CHECK(store.size() == 14);
            CHECK(store.value("gain") == kvs::Value(gain));
            CHECK(store.value("ratio") == kvs::Value(ratio));
        }
        wanted.insert_or_assign("gain", Setting{"gain", gain_byte, gain});
        wanted.insert_or_assign("ratio", Setting{"ratio", ratio_byte, ratio});
        check_file(copy, wanted);
        return kvs_test::walk_file(copy);
    };
    // A double has 8 bytes, as the text of a float has: it takes the same record, and the text is gone.
    const kvs_test::Walk doubles = changed(0.25, 0x23, 1.5, 0x23);
    CHECK(doubles.entries.at("gain").offset == before.entries.at("gain").offset);
    CHECK(doubles.entries.at("ratio").offset != before.entries.at("ratio").offset);
    CHECK(doubles.deleted == 1);
    const kvs_test::Walk floats = changed(0.25f, 0x22, 1.5f, 0x22);
    CHECK(floats.deleted == 2);
    // A text of up to 32 bytes takes the record of a double's text.
    const kvs_test::Walk texts = changed(std::uint64_t{1}, 0x03, "1.5", 0x40);
    CHECK(texts.entries.at("gain").offset == before.entries.at("gain").offset);
    CHECK(texts.entries.at("ratio").offset == before.entries.at("ratio").offset);
    CHECK(texts.deleted == 0);
}
