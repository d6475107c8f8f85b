// The walker judges files in other tests: here it is judged itself, on a real file and on files with one thing wrong.
#include "../support/walker.hpp"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../catch.hpp"

namespace {

using kvs_test::Violation;
using kvs_test::Walk;
using kvs_test::walk_bytes;

const std::string golden_path = KVS_TEST_SOURCE_DIR "/tests/golden/original-settings.akvs";

std::string big_endian(std::uint64_t value, unsigned bytes) {
    std::string text;
    for (unsigned i = bytes; i-- != 0;) text += static_cast<char>(value >> 8 * i & 0xff);
    return text;
}

/// A file made by hand, by nobody's code but this. Key length 4; groups 8 to 15 have the lengths 16, 1, 1, 1, 1, 1,
/// 1, 1.
class Forge {
public:
    static constexpr std::uint64_t end_of_index = 262154;

    Forge() : file_("AKVS" + big_endian(4, 2) + big_endian(0x00000004, 4) + std::string(262144, '\0')) {}

    /// Appends a record to the chain of its bucket; returns its offset.
    std::uint64_t add(std::string key, std::uint64_t room, unsigned type, std::string value) {
        key.resize(4, '\0');
        value.resize(room, '\0');
        return add_to(bucket(key, room), key, type, value);
    }
    std::uint64_t add_to(std::uint32_t bucket, const std::string& key, unsigned type, const std::string& value) {
        const std::uint64_t record = file_.size();
        file_ += key + static_cast<char>(type) + value + big_endian(0, 4);
        std::uint64_t& link = links_.try_emplace(bucket, slot(bucket)).first->second;
        set(link, record, 4);
        link = file_.size() - 4;
        return record;
    }

    /// The bucket of a key, worked out from FORMAT.md once more.
    static std::uint32_t bucket(std::string key, std::uint64_t room) {
        key.resize(4, '\0');
        std::uint32_t h = 2166136261u;
        for (const char c : key) h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
        const std::map<std::uint64_t, std::vector<std::uint32_t>> groups{{1, {0, 9, 10, 11, 12, 13, 14, 15}},
                                                                         {2, {1}},
                                                                         {4, {2}},
                                                                         {8, {3}},
                                                                         {16, {8}},
                                                                         {32, {4}},
                                                                         {256, {5}},
                                                                         {4096, {6}},
                                                                         {65536, {7}}};
        const auto& g = groups.at(room);
        return (h & 0xfff) + 4096 * g[h % g.size()];
    }
    static std::uint64_t slot(std::uint32_t bucket) { return 10 + 4 * std::uint64_t{bucket}; }

    void set(std::uint64_t offset, std::uint64_t value, unsigned bytes) {
        file_.replace(static_cast<std::size_t>(offset), bytes, big_endian(value, bytes));
    }
    void set(std::uint64_t offset, std::string_view bytes) {
        file_.replace(static_cast<std::size_t>(offset), bytes.size(), bytes);
    }
    const std::string& file() const { return file_; }
    std::string& file() { return file_; }

private:
    std::string file_;
    std::map<std::uint32_t, std::uint64_t> links_;
};

/// The findings as text, each as "violation offset".
std::multiset<std::string> findings(const std::string& file) {
    std::multiset<std::string> all;
    for (const auto& finding : walk_bytes(file).findings)
        all.insert(std::string(to_string(finding.violation)) + " " + std::to_string(finding.offset));
    return all;
}
std::string at(const char* violation, std::uint64_t offset) {
    return std::string(violation) + " " + std::to_string(offset);
}
using Findings = std::multiset<std::string>;

/// Two keys in the same bucket of value length 2, and so of every length but 1.
std::pair<std::string, std::string> colliding_keys() {
    std::map<std::uint32_t, std::string> seen;
    for (unsigned i = 0;; ++i) {
        const std::string key = "k" + std::to_string(i % 1000);
        const auto [other, is_new] = seen.emplace(Forge::bucket(key, 2), key);
        if (!is_new && other->second != key) return {other->second, key};
    }
}

}  // namespace

TEST_CASE("the walker reads a file by hand", "[walker]") {
    Forge forge;
    const std::uint64_t u8 = forge.add("a", 1, 0x00, "P");
    forge.add("b", 2, 0x11, "\xff\xfe");
    forge.add("c", 4, 0x22, std::string("\x3f\x80\0\0", 4));
    forge.add("d", 8, 0x03, "\x01\x02\x03\x04\x05\x06\x07\x08");
    forge.add("e", 16, 0x44, "sixteen bytes is");
    forge.add("f", 32, 0x50, "\xe2\x82\xac");
    forge.add("g", 256, 0x61, std::string("\0\3xyz", 5));
    forge.add("h", 8, 0x20, "-0.50000");
    forge.add("i", 32, 0x21, "inf");
    forge.add("j", 1, 0x30, "\xff");
    forge.add(std::string("k\0\0l", 4), 1, 0x00, "Q");
    forge.add(std::string("\0\0\0l", 4), 1, 0x00, "R");
    const auto [first, second] = colliding_keys();
    const std::uint64_t deleted = forge.add_to(Forge::bucket(first, 2), std::string(4, '\0'), 0x77, "??");
    forge.add(first, 2, 0x01, "11");
    forge.add(second, 2, 0x01, "22");

    const Walk walk = walk_bytes(forge.file());
    INFO(walk.text());
    CHECK(walk.ok());
    CHECK(walk.key_length == 4);
    CHECK(walk.weights == 4);
    CHECK(walk.lengths() == std::vector<std::uint64_t>{1, 2, 4, 8, 16, 32, 256, 4096, 65536});
    CHECK(walk.records == 15);
    CHECK(walk.deleted == 1);
    CHECK(walk.unreached_bytes == 0);
    CHECK(walk.live_end == forge.file().size());
    CHECK(walk.entries.size() == 14);
    CHECK(walk.entries.at("a").offset == u8);
    CHECK(walk.entries.at("a").bits() == 80);
    CHECK(walk.entries.at("b").bits() == 0xfffe);
    CHECK(walk.entries.at("c").bits() == 0x3f800000);
    CHECK(walk.entries.at("d").bits() == 0x0102030405060708);
    CHECK(walk.entries.at("e").value == "sixteen bytes is");
    CHECK(walk.entries.at("f").value == "\xe2\x82\xac");
    CHECK(walk.entries.at("g").value == "xyz");
    CHECK(walk.entries.at("h").value == "-0.50000");
    CHECK(walk.entries.at("h").is_decimal_text());
    CHECK(walk.entries.at("i").value == "inf");
    CHECK(walk.entries.at("j").kind() == 3);
    CHECK(walk.entries.at(std::string("k\0\0l", 4)).value == "Q");
    CHECK(walk.entries.at(std::string("\0\0\0l", 4)).value == "R");
    CHECK(walk.entries.at(first).value == "11");
    CHECK(walk.entries.at(second).bucket == walk.entries.at(first).bucket);
    CHECK(deleted < walk.entries.at(first).offset);
}

TEST_CASE("the walker reads the original program's file", "[walker]") {
    const std::string file = kvs_test::contents_of(golden_path);
    const Walk walk = walk_bytes(file);
    INFO(walk.text());
    CHECK(walk.ok());
    CHECK(walk.key_length == 97);
    CHECK(walk.weights == 0x01010101);
    CHECK(walk.lengths() == std::vector<std::uint64_t>{1, 2, 4, 8, 32, 256, 4096, 65536});
    CHECK(walk.records == 14);
    CHECK(walk.entries.size() == 14);
    CHECK(walk.live_end == 263974);
    CHECK(walk.unreached_bytes == 0);
    CHECK(walk.entries.at("ui.brightness").bits() == 0xf4);
    CHECK(walk.entries.at("gain").value == "0.250000");
}

TEST_CASE("the walker finds what is wrong with a header", "[walker]") {
    Forge forge;
    const std::string good = forge.file();
    CHECK(findings(good).empty());
    CHECK(findings("") == Findings{"magic 0"});
    CHECK(findings("AKV") == Findings{"magic 0"});
    CHECK(findings("BKVS" + good.substr(4)) == Findings{"magic 0"});
    CHECK(findings("AKVS") == Findings{"file_size 4"});
    CHECK(findings(good.substr(0, 262153)) == Findings{"file_size 262153"});
    forge.set(4, 0, 2);
    CHECK(findings(forge.file()) == Findings{"key_length 4"});
    forge.set(4, 1025, 2);
    CHECK(findings(forge.file()) == Findings{"key_length 4"});
    forge.set(4, 1024, 2);
    CHECK(findings(forge.file()).empty());
    forge.set(4, 1, 2);
    CHECK(findings(forge.file()).empty());
}

TEST_CASE("the walker finds links that may not be followed", "[walker]") {
    Forge forge;
    const std::uint64_t record = forge.add("a", 8, 0x03, "12345678");
    const std::uint64_t behind = forge.add("bb", 8, 0x03, "12345678");
    const std::uint64_t slot = Forge::slot(Forge::bucket("a", 8));
    const std::uint64_t next = behind - 4;
    REQUIRE(Forge::bucket("a", 8) != Forge::bucket("bb", 8));
    const std::uint64_t size = forge.file().size();
    const auto with_link = [&](std::uint64_t link, std::uint64_t target) {
        Forge broken = forge;
        broken.set(link, target, 4);
        return findings(broken.file());
    };
    CHECK(with_link(slot, record).empty());
    CHECK(with_link(slot, 0).empty());
    for (const std::uint64_t target :
         {std::uint64_t{1}, std::uint64_t{262153}, size - 16, size, std::uint64_t{0xffffffff}}) {
        INFO(target);
        CHECK(with_link(slot, target) == Findings{at("link_outside", slot)});
        CHECK(with_link(next, target) == Findings{at("link_outside", next)});
    }
    for (const std::uint64_t target : {record, record + 1, record + 16}) {
        INFO(target);
        CHECK(with_link(next, target) == Findings{at("link_not_rising", next)});
    }
    // The other record is in another chain, and its key belongs there.
    CHECK(with_link(next, behind) == Findings{at("wrong_bucket", behind), at("overlap", behind)});
    // Cut short, the file ends within a record.
    Forge cut = forge;
    cut.file().resize(size - 1);
    CHECK(findings(cut.file()) == Findings{at("link_outside", Forge::slot(Forge::bucket("bb", 8)))});
    // Longer than its records is no violation, but seen.
    Forge longer = forge;
    longer.file().resize(size + 100, '!');
    CHECK(findings(longer.file()).empty());
    CHECK(walk_bytes(longer.file()).live_end == size);
    // A record that no link leads to is seen as unused space.
    Forge hole = forge;
    hole.set(slot, 0, 4);
    CHECK(walk_bytes(hole.file()).unreached_bytes == 17);
}

TEST_CASE("the walker finds keys that are not of their bucket", "[walker]") {
    Forge forge;
    const std::uint64_t record = forge.add("abcd", 4, 0x02, "1234");
    const auto with_key = [&](std::string_view key) {
        Forge broken = forge;
        broken.set(record, key);
        return findings(broken.file());
    };
    CHECK(with_key("abcd").empty());
    CHECK(with_key("abce") == Findings{at("wrong_bucket", record)});
    CHECK(with_key(std::string_view("\0bcd", 4)) == Findings{at("half_key", record)});
    CHECK(with_key(std::string_view("ab\0d", 4)) == Findings{at("wrong_bucket", record)});
    CHECK(with_key(std::string_view("a\0c\0", 4)) == Findings{at("wrong_bucket", record)});
    CHECK(with_key(std::string_view("\0b\0\0", 4)) == Findings{at("half_key", record)});
    CHECK(with_key(std::string_view("\0\0\0\0", 4)).empty());  // deleted

    // A field that ends with NUL and holds one before is no key, also where its hash leads here.
    for (const bool first : {false, true}) {
        const std::string field = first ? std::string("\0b\0\0", 4) : std::string("a\0b\0", 4);
        Forge none;
        const std::uint64_t there = none.add(field, 4, 0x02, "1234");
        CHECK(findings(none.file()) == Findings{at(first ? "half_key" : "wrong_bucket", there)});
    }

    // The right bucket within the group, but a group of another length.
    Forge other;
    const std::uint64_t misplaced = other.add_to(Forge::bucket("abcd", 4) - 4096, "abcd", 0x01, "12");
    CHECK(findings(other.file()).empty());  // that is its bucket for 2 bytes
    Forge wrong;
    const std::uint32_t right = Forge::bucket("abcd", 1);
    const std::uint64_t in_wrong_group =
        wrong.add_to(right < 4096 ? right + 9 * 4096 : right & 0xfff, "abcd", 0x00, "1");
    CHECK(findings(wrong.file()) == Findings{at("wrong_bucket", in_wrong_group)});
    CHECK(misplaced == Forge::end_of_index);
}

TEST_CASE("the walker knows every type byte", "[walker]") {
    const std::map<std::uint64_t, std::set<unsigned>> known{
        {1, {0x00, 0x10, 0x30}},
        {2, {0x01, 0x11}},
        {4, {0x02, 0x12, 0x22}},
        {8, {0x03, 0x13, 0x20, 0x23}},
        {16, {0x44, 0x54, 0x64}},
        {32, {0x21, 0x40, 0x45, 0x50, 0x55, 0x60, 0x65}},
        {256, {0x41, 0x48, 0x51, 0x58, 0x61, 0x68}},
        {4096, {0x42, 0x4c, 0x52, 0x5c, 0x62, 0x6c}},
        {65536, {0x43, 0x53, 0x63}},
    };
    for (const auto& [room, bytes] : known) {
        Forge forge;
        const std::uint64_t record = forge.add("key", room, 0, std::string(room, '\0'));
        for (unsigned type = 0; type < 256; ++type) {
            INFO("type " << type << ", room " << room);
            forge.set(record + 4, type, 1);
            forge.set(record + 5, type == 0x20 || type == 0x21 ? std::string("1") : std::string(1, '\0'));
            const bool in_text = type >= 0x40 && type < 0x70;
            const bool unwritten = in_text && ((type & 15) == 5 || (type & 15) == 8 || (type & 15) == 12);
            Findings wanted;
            if (bytes.count(type) == 0) wanted.insert(at("type_byte", record + 4));
            if (bytes.count(type) == 1 && unwritten) wanted.insert(at("written_never", record + 4));
            const Findings found = findings(forge.file());
            if (found != wanted) CHECK(found == wanted);
        }
    }
}

TEST_CASE("the walker looks into values", "[walker]") {
    struct Case {
        std::uint64_t room;
        unsigned type;
        std::string value;
        const char* wanted;  // "" for nothing
    };
    const auto text = [](std::string_view value) { return std::string(value); };
    using namespace std::string_view_literals;
    const std::vector<Case> cases{
        {1, 0x30, text("\0"sv), ""},
        {1, 0x30, text("\xff"sv), ""},
        {1, 0x30, text("\x01"sv), "value"},
        {1, 0x30, text("\x80"sv), "value"},
        {4, 0x22, text("\x7f\xc0\x12\x34"sv), ""},
        {16, 0x44, text("text"sv), ""},
        {16, 0x44, text(""sv), ""},
        {16, 0x44, text("t\xc3\xa9xt"sv), "value"},
        {16, 0x54, text("t\xc3\xa9xt"sv), ""},
        {16, 0x54, text("t\xc3"sv), "value"},
        {16, 0x54, text("\xc0\x80"sv), "value"},
        {16, 0x54, text("\xed\xa0\x80"sv), "value"},
        {16, 0x54, text("\xf4\x90\x80\x80"sv), "value"},
        {16, 0x54, text("\x80"sv), "value"},
        {16, 0x44, text("text\0more"sv), "padding"},
        {16, 0x44, text("text\0\0\0\0\0\0\0\0\0\0\0e"sv), "padding"},
        {16, 0x64, text("\0\0"sv), ""},
        {16, 0x64,
         text("\0\x0e"
              "12345678901234"sv),
         ""},
        {16, 0x64,
         text("\0\x0f"
              "12345678901234"sv),
         "value"},
        {16, 0x64, text("\xff\xff"sv), "value"},
        {16, 0x64, text("\0\x02\0\0"sv), ""},
        {16, 0x64, text("\0\x02\0\0x"sv), "padding"},
        {32, 0x60, text("\0\x1e"sv), ""},
        {32, 0x60, text("\0\x1f"sv), "value"},
        {8, 0x20, text("0.250000"sv), ""},
        {8, 0x20, text("-1"sv), ""},
        {8, 0x20, text("12345678"sv), ""},
        {8, 0x20, text("1234567."sv), ""},
        {8, 0x20, text("-inf"sv), ""},
        {8, 0x20, text("nan"sv), ""},
        {8, 0x20, text(""sv), "value"},
        {8, 0x20, text("-"sv), "value"},
        {8, 0x20, text("."sv), "value"},
        {8, 0x20, text("1.2.3"sv), "value"},
        {8, 0x20, text("1e5"sv), "value"},
        {8, 0x20, text("+1"sv), "value"},
        {8, 0x20, text(" 1"sv), "value"},
        {8, 0x20, text("1,5"sv), "value"},
        {8, 0x20,
         text("1\0"
              "5"sv),
         "padding"},
        {32, 0x21, text("1.500000000000000"sv), ""},
        {32, 0x21, text("one"sv), "value"},
    };
    for (const Case& c : cases) {
        Forge forge;
        forge.add("key", c.room, c.type, c.value);
        std::string found;
        for (const auto& finding : walk_bytes(forge.file()).findings) found += to_string(finding.violation);
        INFO("type " << c.type << ", value " << c.value);
        CHECK(found == c.wanted);
    }
}

TEST_CASE("the walker finds keys with two records and records that overlap", "[walker]") {
    Forge forge;
    const std::uint64_t first = forge.add("key", 4, 0x02, "1234");
    const std::uint64_t second = forge.add("key", 4, 0x02, "1234");
    CHECK(findings(forge.file()) == Findings{at("two_records", second)});
    CHECK(walk_bytes(forge.file()).entries.at("key").offset == first);

    Forge lengths;
    lengths.add("key", 8, 0x03, "12345678");
    const std::uint64_t elsewhere = lengths.add("key", 32, 0x40, "text");
    CHECK(findings(lengths.file()) == Findings{at("two_records", elsewhere)});
    // A key that fills the key length is another one.
    Forge full;
    full.add("key", 8, 0x03, "12345678");
    full.add("keyk", 8, 0x03, "12345678");
    CHECK(findings(full.file()).empty());

    // A record inside another one's value: key "inn", u8 5.
    Forge inside;
    inside.add("more", 16, 0x44, "bytes than the records reached have together");
    const std::uint64_t outer =
        inside.add("out", 32, 0x60, std::string("\0\x10", 2) + "inn" + std::string("\0\0\x05\0\0\0\0", 7));
    inside.set(Forge::slot(Forge::bucket("more", 16)), 0, 4);
    inside.set(Forge::slot(Forge::bucket("inn", 1)), outer + 7, 4);
    CHECK(findings(inside.file()) == Findings{at("overlap", outer + 7)});
    CHECK(walk_bytes(inside.file()).entries.size() == 2);

    // Every bucket leads into the same chain: the walk ends, and says so.
    Forge knot;
    std::uint64_t link = 0;
    for (int i = 0; i < 50; ++i) link = knot.add_to(0, "key" + std::to_string(i % 10), 0x00, "1");
    for (std::uint32_t bucket = 0; bucket < 4096; ++bucket) knot.set(Forge::slot(bucket), Forge::end_of_index, 4);
    const Walk walk = walk_bytes(knot.file());
    CHECK(walk.has(Violation::overlap));
    CHECK(walk.records == 50);
    CHECK(link < knot.file().size());
}

TEST_CASE("the walker finds hand-made damage in the original program's file", "[walker]") {
    const std::string good = kvs_test::contents_of(golden_path);
    const Walk walk = walk_bytes(good);
    const auto damaged = [&](std::uint64_t offset, unsigned byte) {
        std::string file = good;
        file[static_cast<std::size_t>(offset)] = static_cast<char>(byte);
        return findings(file);
    };
    const auto& name = walk.entries.at("player.name");
    const auto& sound = walk.entries.at("sound.on");
    const auto& gain = walk.entries.at("gain");
    CHECK(damaged(0, 'B') == Findings{"magic 0"});
    CHECK(damaged(4, 9) == Findings{"key_length 4"});
    CHECK(damaged(name.offset, 'q') == Findings{at("wrong_bucket", name.offset)});
    CHECK(damaged(name.offset + 96, 'q') == Findings{at("wrong_bucket", name.offset)});
    CHECK(damaged(name.offset + 97, 0x41) == Findings{at("type_byte", name.offset + 97)});
    CHECK(damaged(name.offset + 97, 0x45) == Findings{at("written_never", name.offset + 97)});
    CHECK(damaged(name.offset + 98, 0xe4) == Findings{at("value", name.offset + 98)});
    CHECK(damaged(name.offset + 129, 'x') == Findings{at("padding", name.offset + 129)});
    CHECK(damaged(name.offset + 130, 0xff) == Findings{at("link_outside", name.offset + 130)});
    CHECK(damaged(name.offset + 133, 1) == Findings{at("link_outside", name.offset + 130)});
    CHECK(damaged(sound.offset + 98, 1) == Findings{at("value", sound.offset + 98)});
    CHECK(damaged(gain.offset + 98, 'x') == Findings{at("value", gain.offset + 98)});
    // Other weights: the keys of the group are in the wrong bucket or have the wrong type for it.
    CHECK(!damaged(9, 0x02).empty());

    // No flipped bit in a link or key goes unseen.
    std::uint64_t flipped = 0;
    for (const auto& [key, entry] : walk.entries) {
        INFO(key);
        std::vector<std::uint64_t> offsets{10 + 4 * std::uint64_t{entry.bucket}, 11 + 4 * std::uint64_t{entry.bucket},
                                           12 + 4 * std::uint64_t{entry.bucket}, 13 + 4 * std::uint64_t{entry.bucket}};
        for (std::uint64_t i = 0; i < 97; i += 8) offsets.push_back(entry.offset + i);
        for (std::uint64_t i = 0; i < 4; ++i) offsets.push_back(entry.offset + 98 + entry.room + i);
        for (const std::uint64_t offset : offsets) {
            const auto byte = static_cast<unsigned char>(good[static_cast<std::size_t>(offset)]);
            const unsigned bit = 1u << offset % 8;
            if (damaged(offset, byte ^ bit).empty()) {
                INFO("offset " << offset);
                CHECK(false);
            }
            ++flipped;
        }
    }
    CHECK(flipped == 14 * 21);
}
