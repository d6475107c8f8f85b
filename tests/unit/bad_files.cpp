// Bad input of every kind: keys and values, files that are damaged, of other programs, or hostile, paths that
// cannot be opened, files that somebody else has open, the end of the format's 4 GiB, the child of a fork. Each with
// its code and with a message that names what is wrong, and with the file untouched.
//
// Files are forged by `SeedImage`, which has nothing of the library in it. What could crash or hang runs in a child.
#include <kvs/kvs.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/seed_image.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs::errc;
using kvs::Mode;
using kvs_test::Complaints;
using kvs_test::contents_of;
using kvs_test::expect_error;
using kvs_test::in_child;
using kvs_test::Pipe;
using kvs_test::SeedImage;
using kvs_test::TempDir;
using kvs_test::write_file;

using Store = kvs::SeedStore<8>;
constexpr Mode every_mode[] = {Mode::open_or_create, Mode::open_existing, Mode::read_only};
const kvs::Options quiet{.sync = kvs::sync_manual};

using Numbers = std::vector<std::uint64_t>;

/// Opening `path` in each of `modes` fails with this code and message and leaves the file byte for byte as it is.
void expect_refused(const std::string& path, errc code, std::vector<std::string> parts,
                    std::initializer_list<Mode> modes = {Mode::open_or_create, Mode::open_existing, Mode::read_only}) {
    const std::string before = contents_of(path);
    for (const Mode mode : modes) {
        INFO("mode " << static_cast<int>(mode));
        expect_error(code, {path}, [&] { Store s(path, {.mode = mode}); });
        for (const std::string& part : parts) expect_error(code, {part}, [&] { Store s(path, {.mode = mode}); });
        std::error_code error;
        const Store s(path, {.mode = mode}, error);
        CHECK(error == code);
        CHECK(!s.is_open());
    }
    CHECK((contents_of(path) == before));
}

/// Runs every operation that takes a key.
void for_each_operation(Store& s, const kvs::Key<8>& key, const std::function<void(std::function<void()>)>& run) {
    std::array<char, 16> buffer{};
    run([&] { s.set(key, 1); });
    run([&] { s.set(key, "text"); });
    run([&] { static_cast<void>(s.get<int>(key)); });
    run([&] { static_cast<void>(s.get<std::string>(key)); });
    run([&] { static_cast<void>(s.get_or(key, 1)); });
    run([&] { static_cast<void>(s.get_or(key, "text")); });
    run([&] { static_cast<void>(s.get_into(key, buffer)); });
    run([&] { static_cast<void>(s.value(key)); });
    run([&] { static_cast<void>(s.type(key)); });
    run([&] { static_cast<void>(s.contains(key)); });
    run([&] { static_cast<void>(s.erase(key)); });
    run([&] { s.register_defaults({{key, 1}}); });
}

/// The problems of `verify()` at this offset and bucket.
std::size_t problems_at(const kvs::Report& report, std::uint64_t offset, std::uint32_t bucket) {
    std::size_t count = 0;
    for (const kvs::Problem& problem : report.problems)
        if (problem.offset == offset && problem.bucket == bucket) ++count;
    return count;
}

std::string text_of(const kvs::Report& report) {
    std::string text;
    for (const kvs::Problem& problem : report.problems)
        text += "\n  offset " + std::to_string(problem.offset) + ", bucket " + std::to_string(problem.bucket) + ": " +
                problem.text;
    return text;
}

}  // namespace

// ---- keys and values -----------------------------------------------------------------------------------------------

TEST_CASE("a bad key is refused by every operation, and nothing changes", "[bad_files]") {
    using namespace std::string_view_literals;
    TempDir dir;
    Store s{dir.file(), quiet};
    s.set("good", 1);
    s.set("12345678", 2);
    CHECK(s.get<int>("12345678") == 2);  // so that the short way of a look-up knows it
    const std::string before = contents_of(dir.file());
    struct Bad {
        std::string_view key;
        errc code;
        std::vector<std::string> parts;
    };
    const Bad all[] = {
        {""sv, errc::key_empty, {"empty"}},
        {"\0"sv, errc::key_empty, {"NUL"}},
        {"\0\0\0\0\0\0\0\0"sv, errc::key_empty, {"NUL"}},
        {"123456789"sv, errc::key_too_long, {"\"12345678", "8 bytes", "9 bytes"}},
        {"12345678\0"sv, errc::key_too_long, {"8 bytes", "9 bytes"}},
        {"\0\0\0\0\0\0\0\0\0"sv, errc::key_too_long, {"8 bytes", "9 bytes"}},
        {"go\0d"sv, errc::not_text, {"NUL", "8 bytes", "4 bytes"}},
        {"good\0"sv, errc::not_text, {"NUL", "5 bytes"}},
        {"\0good"sv, errc::not_text, {"NUL", "5 bytes"}},
        {"a\0\0\0\0\0\0\0"sv, errc::not_text, {"NUL", "8 bytes"}},
        {"good123\0"sv, errc::not_text, {"NUL", "8 bytes"}},
        // The last NUL would be the padding of a shorter key.
        {"a\0\0\0\0\0\0\0"sv, errc::not_text, {"NUL", "8 bytes"}},
    };
    for (const Bad& bad : all) {
        INFO("key of " << bad.key.size() << " bytes, " << kvs::detail::printable(bad.key));
        for_each_operation(s, kvs::Key<8>(bad.key), [&](const std::function<void()>& operation) {
            expect_error(bad.code, {dir.file()}, operation);
            for (const std::string& part : bad.parts) expect_error(bad.code, {part}, operation);
        });
    }
    const std::string longer(1 << 20, 'k');
    for_each_operation(s, kvs::Key<8>(longer), [&](const std::function<void()>& operation) {
        expect_error(errc::key_too_long, {"\"kkkkkkkk", "1048576 bytes"}, operation);
    });
    CHECK((contents_of(dir.file()) == before));
    CHECK(s.size() == 2);
    CHECK(s.verify().ok());
    // A key of the full key length may hold NULs, but not at its end.
    for (const std::string_view key : {"a\0\0\0\0\0\0b"sv, "\0\0\0\0\0\0\0b"sv, "\0a\0b\0c\0d"sv}) {
        s.set(key, 3);
        CHECK(s.get<int>(key) == 3);
    }
    CHECK(s.size() == 5);
    CHECK(s.verify().ok());
}

TEST_CASE("a bad value is refused, and the key keeps the one it has", "[bad_files]") {
    using namespace std::string_view_literals;
    TempDir dir;
    Store s{dir.file(), quiet};
    s.set("key", "old");
    const std::string before = contents_of(dir.file());
    const auto refuse = [&](errc code, const auto& value, const std::vector<std::string>& parts) {
        for (const char* key : {"key", "new"}) {
            expect_error(code, {dir.file(), key}, [&] { s.set(key, value); });
            for (const std::string& part : parts) expect_error(code, {part}, [&] { s.set(key, value); });
            std::error_code error;
            s.set(key, value, error);
            CHECK(error == code);
        }
    };
    refuse(errc::not_text, "with\0NUL"sv, {"NUL"});
    refuse(errc::not_text, "\0"sv, {"NUL"});
    refuse(errc::not_text, std::string(100, '\0'), {"NUL"});
    for (const char* text : {"\x80", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
                             "12345678\xff", "1234567\xc3\x28"})
        refuse(errc::not_text, std::string(text), {"UTF-8"});
    refuse(errc::value_too_long, std::string(65537, 'x'), {"65536 bytes", "65537 bytes"});
    refuse(errc::value_too_long, std::vector<std::byte>(65535), {"65534 bytes", "65535 bytes"});
    CHECK((contents_of(dir.file()) == before));
    CHECK(s.size() == 1);
    CHECK(s.get<std::string>("key") == "old");
    s.set("key", std::string(65536, 'x'));
    s.set("bytes", std::vector<std::byte>(65534, std::byte{7}));
    CHECK(s.get<std::string>("key") == std::string(65536, 'x'));
    CHECK(s.get<std::vector<std::byte>>("bytes") == std::vector<std::byte>(65534, std::byte{7}));
}

// ---- type bytes ----------------------------------------------------------------------------------------------------

TEST_CASE("a type byte that is unknown, or of another length, is damage of that key alone", "[bad_files]") {
    // The length of the values that a type byte stands for, 0 if it is none; as the format tells it.
    const auto length_of = [](unsigned type) -> std::uint64_t {
        const unsigned kind = type >> 4, low = type & 15;
        if (type == 0x20) return 8;
        if (type == 0x21) return 32;
        if (kind <= 1 || kind == 2) return low < 4 ? 1u << low : 0;
        if (kind == 3) return low == 0 ? 1 : 0;
        if (kind > 6) return 0;
        constexpr std::uint64_t named[] = {32, 256, 4096, 65536};
        return low < 4 ? named[low] : 1u << low;
    };
    TempDir dir;
    const std::string path = dir.file();
    for (unsigned type = 0; type < 256; ++type) {
        INFO("type byte " << type);
        SeedImage image(8);
        std::map<std::string, std::uint64_t> record;
        std::map<std::string, std::uint64_t> bytes;
        for (const std::uint64_t p : Numbers({1, 2, 4, 8, 16, 32, 64, 256})) {
            const std::string key = "p" + std::to_string(p);
            record[key] = image.add(key, type, std::string("1"), p);
            bytes[key] = p;
            image.add("n" + std::to_string(p), 0x40, "", 32);
        }
        image.write(path);
        Store s{path, quiet};
        CHECK(s.size() == 16);
        const kvs::Report report = s.verify();
        for (const auto& entry : bytes) {
            const std::string& key = entry.first;
            const std::uint64_t p = entry.second;
            INFO("value length " << p);
            const std::uint32_t bucket = image.bucket(key, p);
            const std::uint64_t type_at = record[key] + 8;
            CHECK(s.contains(key));
            // A payload of "1" and NULs is good text, good bytes of 0x3100 bytes (too many for these lengths), a good
            // number, and good decimal text.
            std::error_code error;
            static_cast<void>(s.value(key, error));
            if (length_of(type) != p) {
                CHECK(error == errc::corrupt);
                std::error_code type_error;
                static_cast<void>(s.type(key, type_error));
                CHECK(type_error == errc::corrupt);
                const std::string wanted = std::to_string(p) + (p == 1 ? " byte" : " bytes");
                expect_error(errc::corrupt, {path, key, wanted, "0x"}, [&] { s.value(key); });
                CHECK(problems_at(report, type_at, bucket) == 1);
            } else {
                CHECK(error == ((type >> 4) == 6 ? kvs::make_error_code(errc::corrupt) : std::error_code{}));
                CHECK(problems_at(report, type_at, bucket) == 0);
                CHECK(problems_at(report, record[key] + 9, bucket) == ((type >> 4) == 6 ? 1 : 0));
            }
        }
        // The others are fine, iteration reports each damaged one and goes on, and setting mends.
        std::size_t good = 0, bad = 0;
        std::error_code error;
        for (auto it = s.begin(error); it != s.end(); it.increment(error)) ++(error ? bad : good);
        CHECK(good + bad == 16);
        CHECK(good >= 8);
        CHECK(s.get<std::string>("n1") == "");
        for (const auto& [key, p] : bytes) s.set(key, 5);
        CHECK(s.size() == 16);
        CHECK(s.verify().ok());
        for (const auto& [key, p] : bytes) CHECK(s.get<int>(key) == 5);
    }
}

TEST_CASE("a byte count larger than its field is damage, and never read", "[bad_files]") {
    TempDir dir;
    for (const std::uint64_t p : Numbers({16, 32, 64, 128, 256, 512, 2048, 4096, 65536})) {
        for (const std::uint64_t count : {p - 2, p - 1, p, std::uint64_t{65535}}) {
            if (count > 65535) continue;
            INFO("field of " << p << " bytes, count " << count);
            SeedImage image(8);
            unsigned low = 0;
            while ((std::uint64_t{1} << low) != p) ++low;
            constexpr unsigned named[][2] = {{5, 0}, {8, 1}, {12, 2}, {16, 3}};
            for (const auto& [log, nibble] : named)
                if (low == log) low = nibble;
            const std::uint64_t record = image.add("blob", 0x60 | low, "", p);
            image.set_number(record + 9, 2, count);
            image.write(dir.file());
            const Store s{dir.file(), {.mode = Mode::read_only}};
            std::error_code error;
            const auto value = s.get<std::vector<std::byte>>("blob", error);
            if (count == p - 2) {
                CHECK(!error);
                CHECK(value == std::vector<std::byte>(count));
                CHECK(s.verify().ok());
                continue;
            }
            CHECK(error == errc::corrupt);
            expect_error(errc::corrupt,
                         {dir.file(), "blob", std::to_string(p - 2) + " bytes", std::to_string(count) + " bytes"},
                         [&] { s.value("blob"); });
            CHECK(problems_at(s.verify(), record + 9, image.bucket("blob", p)) == 1);
            std::error_code entry_error;
            static_cast<void>(s.begin()->value(entry_error));
            CHECK(entry_error == errc::corrupt);
        }
    }
}

// ---- headers, and files of other programs --------------------------------------------------------------------------

TEST_CASE("a file of another key length is refused with both lengths", "[bad_files]") {
    TempDir dir;
    for (const std::uint64_t other : Numbers({0, 1, 7, 9, 32, 97, 1024, 1025, 65535})) {
        SeedImage image(8);
        image.set_number(4, 2, other);
        image.write(dir.file());
        expect_refused(dir.file(), errc::key_length_mismatch, {"8 bytes", std::to_string(other) + " byte"});
    }
}

TEST_CASE("every word of weights is valid", "[bad_files]") {
    TempDir dir;
    for (const std::uint32_t weights : {0u, 0xffffffffu, 0x01010101u, 0x12345678u, 0xfedcba98u}) {
        INFO("weights " << weights);
        SeedImage image(8, weights);
        image.add_int("number", 7);
        image.add("text", 0x40, "text", 32);
        image.write(dir.file());
        Store s{dir.file(), quiet};
        CHECK(s.get<int>("number") == 7);
        CHECK(s.get<std::string>("text") == "text");
        for (int length = 0; length < 65536; length = length * 3 + 1)
            s.set("l" + std::to_string(length), std::string(static_cast<std::size_t>(length), 'x'));
        CHECK(s.verify().ok());
        CHECK(s.get<std::string>("l40")->size() == 40);
    }
}

TEST_CASE("files of other programs are not stores, and are left as they are", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    const std::string png("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    std::vector<std::string> contents{
        "volume = 0.8\n",
        std::string(300000, 'x'),
        png,
        png + std::string(400000, '\0'),
        "A",
        "AKVS",
        std::string("AKVS\0\x08\0\0\0", 9),
        "AKVT" + std::string(300000, '\0'),
        "akvs" + std::string(300000, '\0'),
        std::string("\0AKVS", 5) + std::string(300000, '\0'),
        std::string(262155, '\0'),  // larger than what an unfinished creation leaves
        std::string(262153, '\0') + "x",
        std::string(262154, '\0') + "x",
        std::string(10, '\0') + "x" + std::string(1000, '\0'),
        std::string(7, '\0') + "x",
        "x" + std::string(100, '\0'),
    };
    for (std::size_t i = 0; i < contents.size(); ++i) {
        INFO("content " << i << ", " << contents[i].size() << " bytes");
        write_file(path, contents[i]);
        expect_refused(path, errc::not_a_store, {"AKVS"});
        expect_error(errc::already_exists, {path}, [&] { Store s(path, {.mode = Mode::create_new}); });
        CHECK((contents_of(path) == contents[i]));
    }
}

TEST_CASE("an empty or never finished file is a store only for who may create one", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    std::string late(262154, '\0');
    late[8] = 'a';  // the last two bytes of the header come before the first eight
    late[9] = 'b';
    for (const std::string& content :
         {std::string(), std::string(1, '\0'), std::string(10, '\0'), std::string(4096, '\0'), late.substr(0, 10),
          std::string(262153, '\0'), std::string(262154, '\0'), late}) {
        INFO(content.size() << " bytes");
        write_file(path, content);
        expect_refused(path, errc::not_a_store, {"never created"}, {Mode::open_existing, Mode::read_only});
        expect_error(errc::already_exists, {path}, [&] { Store s(path, {.mode = Mode::create_new}); });
        CHECK((contents_of(path) == content));
        Store s{path, quiet};
        CHECK(s.recovery().outcome == kvs::Recovery::Outcome::created);
        s.set("k", 1);
        CHECK(s.verify().ok());
    }
}

TEST_CASE("a file shorter than its index is damaged", "[bad_files]") {
    TempDir dir;
    SeedImage image(8);
    for (const std::size_t bytes : {std::size_t{10}, std::size_t{11}, std::size_t{4096}, std::size_t{262153}}) {
        write_file(dir.file(), image.bytes().substr(0, bytes));
        expect_refused(dir.file(), errc::corrupt, {"index", "262154 bytes", std::to_string(bytes) + " bytes"});
    }
}

TEST_CASE("a file cut anywhere in its records opens, and what is left is served", "[bad_files]") {
    TempDir dir;
    SeedImage image(8);
    std::vector<std::pair<std::string, std::uint64_t>> ends;
    for (int i = 0; i < 40; ++i) {
        const std::string key = "k" + std::to_string(i);
        image.add_int(key, i);
        ends.emplace_back(key, image.size());
    }
    for (std::uint64_t size = SeedImage::records; size <= image.size(); ++size) {
        INFO("cut to " << size);
        write_file(dir.file(), image.bytes().substr(0, size));
        const std::string before = contents_of(dir.file());
        {
            Store s{dir.file(), quiet};
            for (int i = 0; i < 40; ++i) {
                std::error_code error;
                const auto value = s.get<int>(ends[static_cast<std::size_t>(i)].first, error);
                if (ends[static_cast<std::size_t>(i)].second <= size) {
                    REQUIRE(value == i);
                } else {
                    REQUIRE(error == errc::corrupt);
                }
            }
            s.set("other", "text");
            CHECK(s.get<std::string>("other") == "text");
        }
        // Only the space behind the end and the slot of the new key have changed.
        std::string after = contents_of(dir.file());
        CHECK(after.size() > before.size());
        const std::uint64_t slot = SeedImage::slot(image.bucket("other", 16));
        after.resize(before.size());
        for (std::uint64_t i = 0; i < 4; ++i) after[slot + i] = before[slot + i];
        CHECK((after == before));
    }
}

TEST_CASE("a file of more than 4 GiB is not a store, one of exactly 4 GiB can be", "[bad_files]") {
    TempDir dir;
    SeedImage image(8);
    image.add_int("k", 1);
    image.write(dir.file());
    std::filesystem::resize_file(dir.file(), (std::uint64_t{1} << 32) + 1);
    for (const Mode mode : every_mode)
        expect_error(errc::not_a_store, {dir.file(), "4294967296 bytes", "4294967297 bytes"},
                     [&] { Store s(dir.file(), {.mode = mode}); });
    std::filesystem::resize_file(dir.file(), std::uint64_t{1} << 32);
    const Store s(dir.file(), {.mode = Mode::read_only});
    CHECK(s.get<int>("k") == 1);
    CHECK(s.recovery().outcome == kvs::Recovery::Outcome::killed);
}

// ---- links ---------------------------------------------------------------------------------------------------------

namespace {

/// A file with four i32 keys in one chain, an i32 in another one and a text; one of the links is broken.
struct BrokenLink {
    SeedImage image{8};
    std::vector<std::string> chain;     // the keys of the chain, in order
    std::vector<std::uint64_t> record;  // where they are
    std::uint32_t bucket = 0;
    std::uint64_t text = 0;

    BrokenLink() {
        chain = image.keys_beside("first", 4, 4);
        chain[0] = "first";
        bucket = image.bucket("first", 4);
        record.push_back(image.add_int(chain[0], 0));
        record.push_back(image.add_int(chain[1], 1));
        text = image.add("text", 0x40, "some text", 32);
        record.push_back(image.add_int(chain[2], 2));
        record.push_back(image.add_int(chain[3], 3));
        image.add_int("beside", 100);
    }
    /// Where link `i` of the chain lies; 0 is the index slot.
    std::uint64_t link(std::size_t i) const { return i == 0 ? SeedImage::slot(bucket) : image.next(record[i - 1], 4); }
};

}  // namespace

TEST_CASE("a link that leads nowhere damages the keys behind it and nothing else", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    const BrokenLink good;
    REQUIRE(good.image.bucket("beside", 4) != good.bucket);
    for (std::size_t at = 0; at < 4; ++at) {
        const std::uint64_t own = at == 0 ? SeedImage::slot(good.bucket) : good.record[at - 1];
        std::set<std::uint64_t> targets{1,   4,       9,          10,         11,         262150,    262153,
                                        own, own + 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
        for (std::uint64_t back = 0; back < 20; ++back) targets.insert(good.image.size() - back);  // no room there
        for (std::uint64_t beyond = 1; beyond < 20; ++beyond) targets.insert(good.image.size() + beyond);
        for (std::size_t i = 0; i < at; ++i) targets.insert(good.record[i]);  // backwards, and to itself
        if (at > 0) targets.insert(good.image.next(own, 4) + 3);              // into its own last byte
        for (const std::uint64_t target : targets) {
            const std::uint64_t lowest = at == 0 ? SeedImage::records : own + 17;
            if (target >= lowest && target + 17 <= good.image.size()) continue;  // leads somewhere
            INFO("link " << at << " to " << target);
            SeedImage image = good.image;
            image.set_link(good.link(at), target);
            image.write(path);
            const std::string before = contents_of(path);
            for (const Mode mode : {Mode::read_only, Mode::open_or_create}) {
                Store s(path, {.mode = mode, .sync = kvs::sync_manual});
                CHECK(s.recovery().damaged_chains == 1);
                CHECK(s.recovery().outcome != kvs::Recovery::Outcome::created);
                for (std::size_t i = 0; i < 4; ++i) {
                    std::error_code error;
                    const auto value = s.get<int>(good.chain[i], error);
                    if (i < at) {
                        CHECK(value == static_cast<int>(i));
                        CHECK(!error);
                        CHECK(s.contains(good.chain[i]));
                        continue;
                    }
                    CHECK(error == errc::corrupt);
                    std::size_t succeeded = 0;
                    for_each_operation(s, kvs::Key<8>(good.chain[i]), [&](const std::function<void()>& operation) {
                        try {
                            operation();
                            ++succeeded;
                        } catch (const kvs::Error& e) {
                            CHECK((e.code() == errc::corrupt ||
                                   (mode == Mode::read_only && e.code() == errc::read_only)));
                        }
                    });
                    CHECK(succeeded == 1);  // registering a default
                    expect_error(errc::corrupt, {path, good.chain[i], "link", "offset " + std::to_string(target)},
                                 [&] { static_cast<void>(s.contains(good.chain[i])); });
                    expect_error(mode == Mode::read_only ? errc::read_only : errc::corrupt, {path, good.chain[i]},
                                 [&] { s.set(good.chain[i], 1); });
                    expect_error(mode == Mode::read_only ? errc::read_only : errc::corrupt, {path, good.chain[i]},
                                 [&] { s.set(good.chain[i], "of another length"); });
                    expect_error(mode == Mode::read_only ? errc::read_only : errc::corrupt, {path, good.chain[i]},
                                 [&] { s.erase(good.chain[i]); });
                }
                CHECK(s.get<int>("beside") == 100);
                CHECK(s.get<std::string>("text") == "some text");
                const kvs::Report report = s.verify();
                INFO("report:" << text_of(report));
                CHECK(report.problem_count == 1);
                CHECK(problems_at(report, good.link(at), good.bucket) == 1);
                CHECK(report.problems[0].text.find("offset " + std::to_string(target)) != std::string::npos);
                CHECK(s.stats().keys == at + 2);
                std::size_t seen = 0, failed = 0;
                std::error_code error;
                for (auto it = s.begin(error); it != s.end(); it.increment(error)) ++(error ? failed : seen);
                CHECK(seen == at + 2);
                CHECK(failed == 1);
                expect_error(errc::corrupt, {path}, [&] { s.compact_to(dir.file("compact")); });
                s.copy_to(dir.file("copy"));
                CHECK((contents_of(dir.file("copy")) == before));
            }
            CHECK((contents_of(path) == before));

            // Keys that are whole can be written, new ones too, and none of that lands on what was lost. (Where the
            // file grows over the target of the link is the next test.)
            if (target + 17 > good.image.size() && target < 0x7fffffff) continue;
            {
                Store s(path, quiet);
                for (std::size_t i = 0; i < at; ++i) s.set(good.chain[i], static_cast<int>(1000 + i));
                s.set("text", "another text");
                s.set("beside", 200);
                for (int i = 0; i < 20; ++i) {
                    const std::string key = "new" + std::to_string(i);
                    if (image.bucket(key, 4) != good.bucket) s.set(key, i);
                }
                CHECK(s.erase("beside"));
                CHECK(s.verify().problem_count == 1);
            }
            std::string after = contents_of(path);
            REQUIRE(after.size() >= before.size());
            for (std::size_t i = at; i < 4; ++i)
                CHECK((after.substr(good.record[i], 17) == before.substr(good.record[i], 17)));
            const Store again(path, {.mode = Mode::read_only});
            CHECK(again.recovery().damaged_chains == 1);
            for (std::size_t i = 0; i < at; ++i) CHECK(again.get<int>(good.chain[i]) == static_cast<int>(1000 + i));
            CHECK(again.get<std::string>("text") == "another text");
            for (int i = 0; i < 20; ++i) {
                const std::string key = "new" + std::to_string(i);
                if (image.bucket(key, 4) != good.bucket) CHECK(again.get<int>(key) == i);
            }
        }
    }
}

// A file that lost its end, as a power cut or another program leaves it, has links to where the file is not. New
// records are put there, and then such a link leads into the middle of one: its chain must stay damaged all the same,
// or the next key of that bucket is written over somebody else's value.
TEST_CASE("a file that grows over the target of a broken link keeps the chain broken", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    const BrokenLink good;
    for (std::size_t at = 0; at < 4; ++at) {
        for (std::uint64_t beyond = 0; beyond < 120; beyond += 3) {
            const std::uint64_t target = good.image.size() - 16 + beyond;
            INFO("link " << at << " to " << target);
            SeedImage image = good.image;
            image.set_link(good.link(at), target);
            image.write(path);
            std::map<std::string, std::string> wanted;
            const auto check = [&](Store& s, bool damaged) {
                for (const auto& [key, value] : wanted) REQUIRE(s.get<std::string>(key) == value);
                REQUIRE(s.get<std::string>("text") == "some text");
                REQUIRE(s.get<int>("beside") == 100);
                for (std::size_t i = 0; i < at; ++i) REQUIRE(s.get<int>(good.chain[i]) == static_cast<int>(i));
                if (!damaged) return;
                for (std::size_t i = at; i < 4; ++i) {
                    std::error_code error;
                    REQUIRE(s.get<int>(good.chain[i], error) == std::nullopt);
                    REQUIRE(error == errc::corrupt);
                    s.set(good.chain[i], -1, error);
                    REQUIRE(error == errc::corrupt);
                }
                const kvs::Report report = s.verify();
                INFO("report:" << text_of(report));
                REQUIRE(report.problem_count == 1);
                REQUIRE(problems_at(report, good.link(at), good.bucket) == 1);
            };
            {
                Store s(path, quiet);
                REQUIRE(s.recovery().damaged_chains == 1);
                check(s, true);
                for (int i = 0; i < 8; ++i) {
                    const std::string key = "new" + std::to_string(i);
                    wanted[key] = std::string(static_cast<std::size_t>(i % 3), 'x');
                    s.set(key, wanted[key]);
                    check(s, true);
                }
            }
            // Opened again, the format cannot tell that the link was broken. But no value is lost.
            Store s(path, quiet);
            check(s, false);
            for (std::size_t i = 0; i < 4; ++i) {
                std::error_code error;
                s.set(good.chain[i], static_cast<int>(i), error);
            }
            check(s, false);
        }
    }
}

TEST_CASE("chains that run into each other, and records that overlap, are reported", "[bad_files]") {
    TempDir dir;
    const BrokenLink good;
    // A chain of its own bucket that leads into the middle of the other one, exactly or shifted by some bytes.
    for (const std::uint64_t shift : Numbers({0, 1, 5, 16})) {
        INFO("shift " << shift);
        const std::string problem = in_child([&] {
            Complaints complaints;
            SeedImage image = good.image;
            const std::string key = image.keys_beside("another", 4, 1)[0];
            const std::uint32_t bucket = image.bucket(key, 4);
            if (bucket == good.bucket) return std::string("the same bucket");
            image.set_link(SeedImage::slot(bucket), good.record[1] + shift);
            image.write(dir.file());
            Store s(dir.file(), quiet);
            for (std::size_t i = 0; i < 4; ++i)
                complaints.unless(s.get<int>(good.chain[i]) == static_cast<int>(i), "key " + std::to_string(i));
            std::error_code error;
            static_cast<void>(s.get<int>(key, error));
            complaints.unless(!s.contains(key, error), "a key that is nowhere is there");
            const kvs::Report report = s.verify();
            complaints.unless(!report.ok(), "nothing reported");
            std::size_t seen = 0;
            for (auto it = s.begin(error); it != s.end(); it.increment(error)) seen += error ? 0 : 1;
            complaints.unless(seen == 6, std::to_string(seen) + " entries seen");
            static_cast<void>(s.stats());
            return complaints.text();
        });
        CHECK(problem == "");
    }
}

// A walk of every chain from every bucket takes 65,536 times the number of records: for the file below, 10^11 steps.
TEST_CASE("65,536 slots that lead into one long chain cost one walk of it", "[bad_files]") {
    TempDir dir;
    const std::size_t records = static_cast<std::size_t>(kvs_test::rounds(1'000'000, 8'000'000));
    SeedImage image(8);
    // i32 records, and the chain is made of keys that do not belong into most of its buckets.
    std::string& bytes = image.bytes();
    bytes.reserve(bytes.size() + records * 17);
    for (std::size_t i = 0; i < records; ++i) {
        const std::string key = std::to_string(i);
        const std::uint64_t at = bytes.size();
        bytes.append(key).append(8 - key.size(), '\0').push_back(0x12);
        bytes.append(8, '\0');
        if (i + 1 < records) image.set_link(at + 13, at + 17);
    }
    for (std::uint32_t bucket = 0; bucket < 65536; ++bucket)
        image.set_link(SeedImage::slot(bucket), SeedImage::records);
    image.write(dir.file());
    const std::string problem = in_child([&] {
        Complaints complaints;
        Store s(dir.file(), quiet);
        complaints.unless(s.recovery().damaged_chains != 0, "open has not noticed");
        complaints.unless(!s.verify().ok(), "verify has not noticed");
        static_cast<void>(s.stats());
        std::error_code error;
        for (int i = 0; i < 20; ++i) {
            const std::string key = "no" + std::to_string(i);
            static_cast<void>(s.get<int>(key, error));
            static_cast<void>(s.get<std::string>(key, error));
            static_cast<void>(s.contains(key, error));
            s.set(key, i, error);
            s.set(key, "text", error);
            s.erase(key, error);
        }
        complaints.unless(!s.verify().ok(), "verify has not noticed afterwards");
        return complaints.text();
    });
    CHECK(problem == "");
}

namespace {

/// Processor time of this process, to compare two ways through the same file on the same machine.
double processor_seconds() {
    timespec time{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}
template <class Work>
double cost_of(const Work& work) {
    const double before = processor_seconds();
    work();
    return processor_seconds() - before;
}

}  // namespace

// Iteration reads every bucket's chain. In a file whose buckets share one chain that is 65,536 walks of it; so the walk
// of one bucket has to end where the records that were reached are more than the file can hold, as in open.
TEST_CASE("iteration over chains that run into each other costs no more than the file is long", "[bad_files]") {
    TempDir dir;
    const std::size_t records = 3000;
    SeedImage image(8);
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < records; ++i) {
        const std::uint64_t at = image.add_loose(std::to_string(i), 0x12, "", 4);
        if (last != 0) image.set_link(image.next(last, 4), at);
        last = at;
    }
    for (std::uint32_t bucket = 0; bucket < 65536; ++bucket)
        image.set_link(SeedImage::slot(bucket), SeedImage::records);
    image.write(dir.file());
    const std::string problem = in_child([&] {
        Complaints complaints;
        const Store s(dir.file(), {.mode = Mode::read_only});
        std::size_t seen = 0, failed = 0;
        std::error_code error;
        const double verifying = cost_of([&] { static_cast<void>(s.verify()); });
        const double iterating = cost_of([&] {
            for (auto it = s.begin(error); it != s.end(); it.increment(error)) ++(error ? failed : seen);
        });
        complaints.unless(seen <= records, std::to_string(seen) + " entries of " + std::to_string(records));
        // Every one of the 65,536 buckets may report its damage; walking 3,000 records for each is too much.
        complaints.unless(iterating < 0.001 + 200 * verifying,
                          "iteration takes " + std::to_string(iterating / verifying) + " times as long as verify");
        return complaints.text();
    });
    CHECK(problem == "");
}

// Opening looks for keys that are there in two value lengths. Two long chains of one hash, of different lengths, must
// not be walked once for each record of the other.
TEST_CASE("two long chains of one hash do not make opening slow", "[bad_files]") {
    TempDir dir;
    SeedImage image(8, 0x01010101u);
    // All i32 in one chain: 8,000 keys and what a text of 8 hexadecimal digits hashes to.
    const std::size_t records = 8000;
    const std::vector<std::string> keys = [&] {
        // Of two characters a and b in the middle of a key, FNV-1a makes (h ^ a) * p ^ b: for any a there may be a b
        // that gives the low 12 bits that are wanted, so search over the last two characters only.
        std::vector<std::string> found;
        const std::uint32_t wanted = image.hash("k") & 0xfff;
        for (std::uint32_t n = 0; found.size() < 2 * records; ++n) {
            std::string key(8, 'a');
            for (std::size_t i = 0; i < 5; ++i) key[i] = static_cast<char>('a' + (n >> 4 * i & 15));
            std::uint32_t h = 2166136261u;
            for (std::size_t i = 0; i < 6; ++i) h = (h ^ static_cast<unsigned char>(key[i])) * 16777619u;
            for (unsigned a = '0'; a <= 'z' && found.size() < 2 * records; ++a)
                for (unsigned b = '0'; b <= 'z'; ++b)
                    if (((((h ^ a) * 16777619u) ^ b) * 16777619u & 0xfff) == wanted) {
                        key[6] = static_cast<char>(a);
                        key[7] = static_cast<char>(b);
                        found.push_back(key);
                        break;
                    }
        }
        return found;
    }();
    // One group has values of 4 bytes and, with these weights, five have one of 2 bytes or 1.
    std::map<std::uint32_t, std::uint64_t> end;
    for (std::size_t i = 0; i < keys.size() && i < 2 * records; ++i) {
        const std::uint64_t bytes = i % 2 == 0 ? 4 : 8;
        const std::uint32_t bucket = image.bucket(keys[i], bytes);
        const std::uint64_t record = image.add_loose(keys[i], i % 2 == 0 ? 0x12 : 0x13, "", bytes);
        image.set_link(end.count(bucket) != 0 ? end[bucket] : SeedImage::slot(bucket), record);
        end[bucket] = image.next(record, bytes);
    }
    REQUIRE(end.size() == 2);
    image.write(dir.file());
    std::optional<Store> s;
    const double opening = cost_of([&] { s.emplace(dir.file(), kvs::Options{.mode = Mode::read_only}); });
    kvs::Report report;
    const double verifying = cost_of([&] { report = s->verify(); });
    CHECK(s->size() == keys.size());
    CHECK(s->recovery().duplicate_keys == 0);
    CHECK(report.ok());
    INFO("open takes " << opening << " s of processor time, verify, which does more, " << verifying);
    CHECK(opening < 0.001 + 20 * verifying);
}

TEST_CASE("a file that is a store with any one byte changed is opened or refused", "[bad_files]") {
    TempDir dir;
    const BrokenLink good;
    kvs_test::Campaign campaign(20250701);
    INFO(campaign.replay());
    const std::uint64_t states = kvs_test::rounds(1500, 60000);
    std::vector<std::uint64_t> interesting;
    for (std::uint64_t i = 0; i < 10; ++i) interesting.push_back(i);
    for (std::uint64_t i = SeedImage::records; i < good.image.size(); ++i) interesting.push_back(i);
    for (std::size_t i = 0; i < 4; ++i) interesting.push_back(SeedImage::slot(good.bucket) + i);
    const std::string problem = in_child([&] {
        for (std::uint64_t i = 0; i < states; ++i) {
            SeedImage image = good.image;
            std::string where;
            for (std::uint64_t n = campaign.pick(3) + 1; n != 0; --n) {
                const std::uint64_t at =
                    campaign.one_in(4) ? campaign.pick(image.size()) : interesting[campaign.pick(interesting.size())];
                image.bytes()[at] = static_cast<char>(campaign.one_in(3) ? 0 : campaign.pick(256));
                where += std::to_string(at) + " ";
            }
            image.write(dir.file());
            std::error_code error;
            Store s(dir.file(), quiet, error);
            if (error) {
                if ((error != errc::not_a_store && error != errc::key_length_mismatch && error != errc::corrupt))
                    return where + error.message();
                continue;
            }
            std::vector<std::string> keys = good.chain;
            keys.insert(keys.end(), {"text", "beside", "absent"});
            for (const std::string& key : keys) {
                static_cast<void>(s.value(key, error));
                s.set(key, 5, error);
                if (!error && s.get<int>(key, error) != 5) return where + "set is not read: " + key;
                s.set(key, std::string(100, 'x'), error);
                if (!error && s.get<std::string>(key, error) != std::string(100, 'x'))
                    return where + "set of text is not read: " + key;
                if (s.erase(key, error) && s.contains(key, error)) return where + "erased is there: " + key;
            }
            static_cast<void>(s.verify(error));
            static_cast<void>(s.stats(error));
            for (auto it = s.begin(error); it != s.end(); it.increment(error))
                if (!error) static_cast<void>(it->value(error));
            s.clear(error);
            if (s.verify(error).problem_count != 0) return where + "problems after clear";
        }
        return std::string();
    });
    CHECK(problem == "");
}

// ---- paths ---------------------------------------------------------------------------------------------------------

TEST_CASE("a path that is no file says so", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.path().string();
    for (const Mode mode : every_mode) {
        INFO("mode " << static_cast<int>(mode));
        expect_error(errc::not_a_store, {path}, [&] { Store s(path, {.mode = mode}); });
        expect_error(errc::not_a_store, {"/dev/null"}, [&] { Store s("/dev/null", {.mode = mode}); });
    }
    expect_error(errc::already_exists, {path}, [&] { Store s(path, {.mode = Mode::create_new}); });
    const std::string pipe = dir.file("pipe");
    REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    for (const Mode mode : every_mode) expect_error(errc::not_a_store, {pipe}, [&] { Store s(pipe, {.mode = mode}); });
    CHECK(std::filesystem::is_fifo(pipe));
}

TEST_CASE("a directory that is missing, or is a file, is not found", "[bad_files]") {
    TempDir dir;
    const std::string missing = dir.file("missing/store.akvs");
    write_file(dir.file("file"), "text");
    const std::string below_file = dir.file("file/store.akvs");
    for (const Mode mode : {Mode::open_or_create, Mode::open_existing, Mode::read_only, Mode::create_new}) {
        INFO("mode " << static_cast<int>(mode));
        expect_error(errc::not_found, {missing}, [&] { Store s(missing, {.mode = mode}); });
        expect_error(errc::not_found, {below_file}, [&] { Store s(below_file, {.mode = mode}); });
    }
    CHECK(!std::filesystem::exists(dir.file("missing")));
    CHECK(contents_of(dir.file("file")) == "text");
    std::filesystem::create_symlink("loop", dir.file("loop"));
    std::filesystem::create_symlink("nowhere", dir.file("dangling"));
    std::error_code error;
    Store loop(dir.file("loop"), {}, error);
    CHECK(error);
    Store dangling(dir.file("dangling"), {.mode = Mode::open_existing}, error);
    CHECK(error == errc::not_found);
    const std::string too_long = dir.file(std::string(300, 'n'));
    expect_error(errc::io_error, {too_long.substr(0, 100)}, [&] { Store s(too_long); });
}

TEST_CASE("modes that do not fit the file are refused", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    for (const Mode mode : {Mode::open_existing, Mode::read_only}) {
        expect_error(errc::not_found, {path}, [&] { Store s(path, {.mode = mode}); });
        CHECK(!std::filesystem::exists(path));
    }
    { Store(path, {.mode = Mode::create_new}).set("k", 1); }
    const std::string before = contents_of(path);
    expect_error(errc::already_exists, {path}, [&] { Store s(path, {.mode = Mode::create_new}); });
    CHECK((contents_of(path) == before));

    Store s(path, {.mode = Mode::read_only});
    CHECK(s.get<int>("k") == 1);
    expect_error(errc::read_only, {path, "k"}, [&] { s.set("k", 2); });
    expect_error(errc::read_only, {path, "k"}, [&] { s.set("k", "text"); });
    expect_error(errc::read_only, {path, "new"}, [&] { s.set("new", 2); });
    expect_error(errc::read_only, {path, "k"}, [&] { s.erase("k"); });
    expect_error(errc::read_only, {path, "absent"}, [&] { s.erase("absent"); });
    expect_error(errc::read_only, {path}, [&] { s.clear(); });
    s.sync();  // nothing to do is no error
    CHECK(s.get<int>("k") == 1);
    CHECK(s.size() == 1);
    CHECK((contents_of(path) == before));
}

// Root passes every permission check, so this is done by somebody else.
TEST_CASE("files and directories without permission", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    { Store(path, quiet).set("k", 1); }
    const std::string before = contents_of(path);
    const auto as_nobody = [](const std::function<std::string()>& body) {
        return in_child([&]() -> std::string {
            if (::geteuid() == 0 && (::setgid(65534) != 0 || ::setuid(65534) != 0)) return "cannot become nobody";
            return body();
        });
    };
    const auto code_of = [&](Mode mode, const std::string& file) {
        std::error_code error;
        Store s(file, {.mode = mode}, error);
        return error;
    };
    REQUIRE(::chmod(dir.path().c_str(), 0755) == 0);
    REQUIRE(::chmod(path.c_str(), 0444) == 0);
    CHECK(as_nobody([&] {
              Complaints complaints;
              for (const Mode mode : {Mode::open_or_create, Mode::open_existing})
                  complaints.unless(code_of(mode, path) == errc::read_only, "writing a read-only file");
              Store s(path, {.mode = Mode::read_only});
              complaints.unless(s.get<int>("k") == 1, "reading a read-only file");
              for (const Mode mode : {Mode::open_or_create, Mode::create_new})
                  complaints.unless(code_of(mode, dir.file("new")) == errc::read_only,
                                    "creating in a read-only directory");
              complaints.unless(code_of(Mode::open_existing, dir.file("new")) == errc::not_found, "absent there");
              std::error_code error;
              s.copy_to(dir.file("copy"), error);
              complaints.unless(error == errc::read_only, "a copy into a read-only directory");
              s.compact_to(dir.file("copy"), error);
              complaints.unless(error == errc::read_only, "a compact copy into a read-only directory");
              try {
                  Store w(path);
              } catch (const kvs::Error& e) {
                  complaints.unless(std::string_view(e.what()).find(path) != std::string_view::npos, "no path");
                  complaints.unless(std::string_view(e.what()).find("ermission") != std::string_view::npos, e.what());
              }
              return complaints.text();
          }) == "");
    REQUIRE(::chmod(path.c_str(), 0000) == 0);
    CHECK(as_nobody([&] {
              Complaints complaints;
              complaints.unless(code_of(Mode::open_or_create, path) == errc::read_only, "no permission at all");
              complaints.unless(code_of(Mode::read_only, path) == errc::io_error, "no permission to read");
              return complaints.text();
          }) == "");
    REQUIRE(::chmod(dir.path().c_str(), 0700) == 0);
    REQUIRE(::chmod(path.c_str(), 0666) == 0);
    CHECK(as_nobody([&] {
              Complaints complaints;
              complaints.unless(code_of(Mode::open_or_create, path) == errc::read_only, "a directory without access");
              complaints.unless(code_of(Mode::read_only, path) == errc::io_error, "reading there");
              return complaints.text();
          }) == "");
    CHECK((contents_of(path) == before));
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(dir.path())) ++files;
    CHECK(files == 1);
}

// ---- others who have the file open ---------------------------------------------------------------------------------

TEST_CASE("a second writer, or a reader beside a writer, is refused, while readers get on", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    { Store(path, quiet).set("k", 1); }
    const std::string before = contents_of(path);

    const auto check_beside = [&](Mode holder) {
        for (const Mode mode : {Mode::open_or_create, Mode::open_existing, Mode::read_only}) {
            INFO("held with mode " << static_cast<int>(holder) << ", opened with " << static_cast<int>(mode));
            if (holder == Mode::read_only && mode == Mode::read_only) {
                const Store s(path, {.mode = mode});
                CHECK(s.get<int>("k") == 1);
            } else {
                expect_error(errc::in_use, {path}, [&] { Store s(path, {.mode = mode}); });
            }
        }
        expect_error(errc::already_exists, {path}, [&] { Store s(path, {.mode = Mode::create_new}); });
    };

    for (const Mode holder : every_mode) {
        {
            const Store here(path, {.mode = holder});
            check_beside(holder);
        }
        Pipe ready;
        Pipe done;
        const pid_t child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            ready.close_reading();
            done.close_writing();
            {
                std::error_code error;
                const Store there(path, {.mode = holder}, error);
                ready.write(error ? "e" : "k");
                done.wait();
            }
            ::_exit(0);
        }
        ready.close_writing();
        done.close_reading();
        REQUIRE(ready.wait());
        check_beside(holder);
        done.close_writing();
        CHECK(kvs_test::end_of(child) == "");
        const Store after(path, {.mode = Mode::open_existing, .sync = kvs::sync_manual});
        CHECK(after.get<int>("k") == 1);
    }
    CHECK((contents_of(path) == before));

    // A lock is freed by a death, whatever it was.
    Pipe ready;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const Store there(path, {});
        ready.write("k");
        for (;;) ::pause();
    }
    ready.close_writing();
    REQUIRE(ready.wait());
    expect_error(errc::in_use, {path}, [&] { Store s(path); });
    REQUIRE(::kill(child, SIGKILL) == 0);
    CHECK(kvs_test::end_of(child) != "");
    CHECK(Store(path).get<int>("k") == 1);
}

TEST_CASE("a file replaced while it is open belongs to its handle, and its name to the new one", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    Store old(path, quiet);
    old.set("k", 1);
    old.sync();
    std::filesystem::rename(path, dir.file("moved"));
    Store fresh(path, quiet);
    CHECK(fresh.empty());
    fresh.set("k", 2);
    old.set("k", 3);
    CHECK(old.get<int>("k") == 3);
    CHECK(fresh.get<int>("k") == 2);
    expect_error(errc::in_use, {}, [&] { Store s(dir.file("moved")); });
    std::filesystem::remove(path);
    fresh.set("k", 4);
    CHECK(fresh.get<int>("k") == 4);
}

// ---- 4 GiB ---------------------------------------------------------------------------------------------------------

namespace {

/// Files of 4 GiB without the space for them: what is allocated is only made longer.
struct SparsePlatform : kvs::detail::PosixPlatform {
    static int allocate(File file, std::uint64_t, std::uint64_t to) noexcept {
        FileStatus now;
        if (const int e = status(file, now); e != 0) return e;
        return now.bytes < to ? resize(file, to) : 0;
    }
};

}  // namespace

TEST_CASE("at 4 GiB a new record is refused as store_full, and nothing changes", "[bad_files]") {
    using Large = kvs::Store<8, kvs::NoBackup, SparsePlatform>;
    constexpr std::uint64_t limit = std::uint64_t{1} << 32;
    constexpr std::uint64_t byte_record = 8 + 1 + 1 + 4;
    constexpr std::uint64_t int_record = 8 + 1 + 4 + 4;
    TempDir dir;
    const std::string path = dir.file();
    const auto tail = [&](std::uint64_t from) {
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        std::string bytes(static_cast<std::size_t>(std::filesystem::file_size(path) - from), '\0');
        const ssize_t done = ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(from));
        ::close(file);
        bytes.resize(done < 0 ? 0 : static_cast<std::size_t>(done));
        return bytes;
    };
    const auto head = [&] {
        std::string bytes(SeedImage::records + 64, '\0');
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        const ssize_t done = ::pread(file, bytes.data(), bytes.size(), 0);
        ::close(file);
        bytes.resize(done < 0 ? 0 : static_cast<std::size_t>(done));
        return bytes;
    };
    // `room`: bytes between the end of the last record and the limit.
    for (const std::uint64_t room : {std::uint64_t{0}, std::uint64_t{1}, byte_record - 1, byte_record, byte_record + 1,
                                     int_record - 1, int_record, byte_record + int_record}) {
        INFO("room " << room);
        const std::uint64_t record = limit - room - int_record;
        {
            SeedImage image(8);
            image.set_link(SeedImage::slot(image.bucket("last", 4)), record);
            image.write(path);
            SeedImage record_only(8);
            const std::uint64_t at = record_only.add_int("last", 7);
            const std::string bytes = record_only.bytes().substr(at);
            std::filesystem::resize_file(path, record + int_record);
            const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
            REQUIRE(::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(record)) == 17);
            ::close(file);
        }
        Large s(path, quiet);
        CHECK(s.recovery().outcome == kvs::Recovery::Outcome::clean);
        CHECK(s.get<int>("last") == 7);
        CHECK(s.verify().ok());
        const std::string head_before = head();
        const std::string tail_before = tail(record);

        const auto refuse = [&](auto value) {
            expect_error(errc::store_full, {path, "new", "4294967296 bytes"}, [&] { s.set("new", value); });
            CHECK(!s.contains("new"));
            // A value of another length needs a new record too; the old one stays.
            expect_error(errc::store_full, {path, "last"}, [&] { s.set("last", value); });
            CHECK(s.get<int>("last") == 7);
            CHECK(s.size() == 1);
            CHECK((head() == head_before));
            CHECK((tail(record) == tail_before));
        };
        refuse(std::string(100, 'x'));
        refuse(std::string(65536, 'x'));
        if (room < 8 + 1 + 8 + 4) refuse(std::uint64_t{1});
        if (room < byte_record) refuse(std::uint8_t{1});
        s.set("last", 8);  // in place
        CHECK(s.get<int>("last") == 8);

        if (room >= byte_record) {
            s.set("byte", std::uint8_t{42});
            CHECK(s.get<int>("byte") == 42);
            CHECK(s.verify().ok());
            std::error_code error;
            s.set("byte2", std::uint8_t{42}, error);
            CHECK((error == errc::store_full) == (room < 2 * byte_record));
        }
        if (room == byte_record + int_record) {
            s.erase("byte2");
            CHECK(s.get<int>("byte") == 42);
        }
        CHECK(s.verify().ok());
        // Erased records are used again, and `clear` makes room.
        CHECK(s.erase("last"));
        const std::string other = SeedImage(8).keys_beside("last", 4, 1)[0];
        s.set(other, 9);
        CHECK(s.get<int>(other) == 9);
        s.clear();
        s.set("new", std::string(100, 'x'));
        CHECK(s.get<std::string>("new") == std::string(100, 'x'));
        CHECK(s.verify().ok());
    }
}

// ---- no store in the object ----------------------------------------------------------------------------------------

TEST_CASE("a store that was moved from answers not_found", "[bad_files]") {
    TempDir dir;
    Store moved{dir.file(), quiet};
    Store s = std::move(moved);
    std::error_code failed;
    Store never(dir.file(), {}, failed);
    CHECK(failed == errc::in_use);
    for (Store* closed : {&moved, &never}) {
        for_each_operation(*closed, "k", [&](const std::function<void()>& operation) {
            expect_error(errc::not_found, {"no store is open"}, operation);
        });
        expect_error(errc::not_found, {}, [&] { closed->clear(); });
        expect_error(errc::not_found, {}, [&] { closed->sync(); });
        expect_error(errc::not_found, {}, [&] { closed->copy_to(dir.file("copy")); });
        expect_error(errc::not_found, {}, [&] { closed->compact_to(dir.file("copy")); });
        expect_error(errc::not_found, {}, [&] { static_cast<void>(closed->verify()); });
        expect_error(errc::not_found, {}, [&] { static_cast<void>(closed->stats()); });
        expect_error(errc::not_found, {}, [&] { static_cast<void>(closed->begin()); });
        std::error_code error;
        CHECK(closed->begin(error) == closed->end());
        CHECK(error == errc::not_found);
        CHECK(closed->size() == 0);
        CHECK(closed->empty());
        CHECK(!closed->is_open());
        CHECK(closed->path().empty());
    }
    s.set("k", 1);
    CHECK(s.get<int>("k") == 1);
}

// ---- forks ---------------------------------------------------------------------------------------------------------

namespace {

/// What a child of a fork may not do, and that it is told so; `s` is the parent's store.
template <class AnyStore>
std::string use_in_child(AnyStore& s, const std::string& copy) {
    Complaints complaints;
    std::error_code error;
    std::array<char, 16> buffer{};
    const auto expect = [&](const char* what) {
        complaints.unless(error == errc::forked, std::string(what) + ": " + error.message());
        error.clear();
    };
    static_cast<void>(s.template get<int>("k", error)), expect("get");
    static_cast<void>(s.template get<std::string>("text", error)), expect("get of text");
    static_cast<void>(s.template get<int>("absent", error)), expect("get of an absent key");
    static_cast<void>(s.get_or("k", 5, error)), expect("get_or");
    static_cast<void>(s.get_into("text", buffer, error)), expect("get_into");
    static_cast<void>(s.value("k", error)), expect("value");
    static_cast<void>(s.type("k", error)), expect("type");
    static_cast<void>(s.contains("k", error)), expect("contains");
    s.set("k", 99, error), expect("set");
    s.set("new", "text", error), expect("set of a new key");
    s.erase("k", error), expect("erase");
    s.erase("absent", error), expect("erase of an absent key");
    s.clear(error), expect("clear");
    s.sync(error), expect("sync");
    s.copy_to(copy, error), expect("copy_to");
    s.compact_to(copy, error), expect("compact_to");
    static_cast<void>(s.verify(error)), expect("verify");
    static_cast<void>(s.stats(error)), expect("stats");
    static_cast<void>(s.begin(error)), expect("begin");
    s.register_defaults({{"d", 1}}, error), expect("register_defaults");
    try {
        s.set("k", 99);
        complaints.unless(false, "set has not thrown");
    } catch (const kvs::Error& e) {
        complaints.unless(e.code() == errc::forked, e.what());
    }
    { const AnyStore dropped = std::move(s); }  // closes, in the child
    return complaints.text();
}

}  // namespace

TEST_CASE("the child of a fork is told that the store is its parent's, and leaves the file alone", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    for (const kvs::SyncPolicy sync : {kvs::sync_manual, kvs::sync_each, kvs::Options{}.sync}) {
        Store s(path, {.sync = sync});
        s.set("k", 1);
        s.set("text", "text");
        CHECK(s.get<int>("k") == 1);
        auto it = s.begin();
        const auto size = std::filesystem::file_size(path);
        CHECK(in_child([&] {
                  std::error_code error;
                  it.increment(error);
                  if (error != errc::forked) return "increment: " + error.message();
                  return use_in_child(s, dir.file("copy"));
              }) == "");
        CHECK(std::filesystem::file_size(path) == size);  // a close would have cut off the space got in advance
        CHECK(!std::filesystem::exists(dir.file("copy")));
        CHECK(s.get<int>("k") == 1);
        s.set("k", 2);
        s.set("more", 3);
        s.sync();
        // The lock is the parent's still.
        expect_error(errc::in_use, {path}, [&] { Store other(path); });
        CHECK(s.get<int>("k") == 2);
        CHECK(s.verify().ok());
        s.clear();
    }
    // A child opens stores of its own.
    CHECK(in_child([&] {
              Store s(path);
              s.set("child", 1);
              return s.get<int>("child") == 1 ? "" : "not read";
          }) == "");
    CHECK(Store(path).get<int>("child") == 1);
}

TEST_CASE("a child that outlives its parent's store keeps nobody out for ever", "[bad_files]") {
    TempDir dir;
    const std::string path = dir.file();
    Pipe done;
    pid_t child = -1;
    {
        Store s(path, quiet);
        s.set("k", 1);
        child = ::fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            done.close_writing();
            { const Store dropped = std::move(s); }
            done.wait();
            ::_exit(0);
        }
        done.close_reading();
        s.set("k", 2);
    }
    // The child may still be about to drop its store; its descriptor shares the lock until then.
    std::error_code error;
    do {
        const Store s(path, quiet, error);
        if (!error) CHECK(s.get<int>("k") == 2);
    } while (error == errc::in_use);
    CHECK(!error);
    done.close_writing();
    CHECK(kvs_test::end_of(child) == "");
}

namespace {

/// Forks in the middle of a change: while a writer holds the writers' mutex and a version counter is odd.
struct ForkingPlatform : kvs::detail::PosixPlatform {
    static inline bool armed = false;
    static inline std::function<std::string()> in_the_child;
    static inline std::string result;

    static void on_store(const std::byte*, std::size_t) noexcept {
        if (!std::exchange(armed, false)) return;
        result = in_child([] { return in_the_child(); });
    }
};

}  // namespace

TEST_CASE("a fork in the middle of a change does not leave the child waiting", "[bad_files]") {
    using Forking = kvs::Store<8, kvs::NoBackup, ForkingPlatform>;
    TempDir dir;
    for (const kvs::SyncPolicy sync : {kvs::sync_manual, kvs::sync_each, kvs::Options{}.sync}) {
        Forking s(dir.file(), {.sync = sync});
        s.set("k", 1);
        s.set("text", "text");
        ForkingPlatform::in_the_child = [&] { return use_in_child(s, dir.file("copy")); };
        const std::function<void()> changes[] = {
            [&] { s.set("k", 2); },    [&] { s.set("k", 3.5); }, [&] { s.set("other", 2); },
            [&] { s.erase("other"); }, [&] { s.clear(); },       [&] { s.set("k", 4); },
        };
        for (const auto& change : changes) {
            ForkingPlatform::result = "no fork";
            ForkingPlatform::armed = true;
            change();
            CHECK(ForkingPlatform::result == "");
        }
        CHECK(s.get<int>("k") == 4);
        CHECK(s.size() == 1);
        CHECK(s.verify().ok());
        s.set("text", "text");
    }
}
