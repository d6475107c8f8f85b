// The bytes of paired files: FORMAT_PAIRS.md against the constants, and against files read by a walker that was written
// from that text alone.
#include <kvs/detail/pair_layout.hpp>
#include <kvs/detail/superblock.hpp>
#include <kvs/kvs.hpp>

#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/files.hpp"
#include "../support/pair_walker.hpp"
#include "../support/temp_dir.hpp"

namespace {

namespace pair_layout = kvs::detail::pair_layout;
namespace at = kvs::detail::pair_layout::superblock;
namespace shared = kvs::detail::pair_layout::shared;

/// The rows of the document's tables, "heading: field" to "offset bytes".
std::map<std::string, std::string> rows_of_document() {
    std::istringstream lines(kvs_test::contents_of(KVS_TEST_SOURCE_DIR "/include/kvs/FORMAT_PAIRS.md"));
    std::map<std::string, std::string> rows;
    std::string heading;
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind("## ", 0) == 0) heading = line.substr(3);
        if (line.rfind("| ", 0) != 0 || line.rfind("| Offset", 0) == 0) continue;
        std::vector<std::string> cells;
        std::istringstream cell_stream(line.substr(1));
        for (std::string cell; std::getline(cell_stream, cell, '|');) {
            const std::size_t first = cell.find_first_not_of(' ');
            cells.push_back(first == std::string::npos ? ""
                                                       : cell.substr(first, cell.find_last_not_of(' ') - first + 1));
        }
        rows[heading + ": " + cells.at(2)] = cells.at(0) + " " + cells.at(1);
    }
    return rows;
}

std::string row(std::uint64_t offset, std::uint64_t bytes) {
    return std::to_string(offset) + " " + std::to_string(bytes);
}

}  // namespace

TEST_CASE("CRC-32C and CRC-16 give the published values, with and without the instruction", "[format][crc]") {
    const auto crc = [](const std::string& bytes, bool portable) {
        return kvs::detail::crc32c_of_words(bytes.data(), bytes.size(), portable);
    };
    std::string rising(32, '\0'), falling(32, '\0');
    for (int i = 0; i < 32; ++i) rising[static_cast<std::size_t>(i)] = static_cast<char>(i);
    for (int i = 0; i < 32; ++i) falling[static_cast<std::size_t>(i)] = static_cast<char>(31 - i);
    for (const bool portable : {false, true}) {
        // RFC 3720, B.4
        CHECK(crc(std::string(32, '\0'), portable) == 0x8a9136aau);
        CHECK(crc(std::string(32, '\xff'), portable) == 0x62a8ab43u);
        CHECK(crc(rising, portable) == 0x46dd794eu);
        CHECK(crc(falling, portable) == 0x113fdb5cu);
    }
    CHECK(kvs_test::PairWalker::crc32c("123456789") == 0xe3069283u);
    CHECK(kvs_test::PairWalker::crc16("123456789") == 0x31c3u);
    kvs_test::Campaign campaign(20268);
    INFO(campaign.replay());
    for (int i = 0; i < 2000; ++i) {
        std::string bytes(8 * campaign.pick(30), '\0');
        for (char& c : bytes) c = static_cast<char>(campaign.random()());
        CHECK(crc(bytes, false) == kvs_test::PairWalker::crc32c(bytes));
        CHECK(crc(bytes, true) == kvs_test::PairWalker::crc32c(bytes));
        const std::uint64_t bits = campaign.random()() >> 16;
        std::string six(6, '\0');
        for (unsigned b = 0; b < 6; ++b) six[b] = static_cast<char>(bits >> 8 * (5 - b));
        CHECK(kvs::detail::crc16_of_48_bits(bits) == kvs_test::PairWalker::crc16(six));
    }
}

TEST_CASE("the checks of a record's two headers are compared as well as each is checked alone", "[format][crc]") {
    using Header = kvs::detail::pair_layout::SlotHeader;
    kvs_test::Campaign campaign(20270);
    INFO(campaign.replay());
    int near = 0, far = 0;
    for (int i = 0; i < 3000; ++i) {
        const std::uint64_t offset = 8 * (50000 + campaign.pick(100000000)), other = offset + 24;
        const std::uint64_t epoch = pair_layout::first_epoch + campaign.pick(1 << 20);
        const Header a(epoch, 0x03, offset);
        const Header b(epoch + (campaign.random()() >> (24 + campaign.pick(40))), campaign.one_in(2) ? 0x03 : 0x13,
                       other);
        const auto agree = [&](const Header& damaged) {
            return Header::agree(a.word() ^ damaged.word(), offset ^ other);
        };
        // Of others nothing is said.
        const auto is_near = [&](const Header& header) {
            return header.type() == a.type() && (header.epoch() ^ a.epoch()) >> 24 == 0;
        };
        ++(is_near(b) ? near : far);
        REQUIRE(agree(b) == is_near(b));
        REQUIRE_FALSE(Header::agree(a.word() ^ b.word(), offset ^ (other + 8)));
        // Bursts of up to 16 bits, and any damage.
        for (unsigned at = 0; at < 64; ++at) {
            const std::uint64_t burst = (campaign.random()() >> 48 | 1) << at;
            REQUIRE_FALSE(agree(Header(b.word() ^ burst)));
            const Header any(campaign.random()());
            REQUIRE(agree(any) == (is_near(any) && any.is_good(other)));
            const Header close(a.word() ^ (campaign.random()() & 0x0000ffffff00ffff));
            REQUIRE(agree(close) == close.is_good(other));
        }
    }
    REQUIRE((near > 500 && far > 500));
}

TEST_CASE("XXH3 gives the published values, in one piece and in many", "[format][xxh3]") {
    // xxHash 0.8.1, cli/xsum_sanity_check.c: bytes made by this rule, no seed. Those of whole words.
    std::string bytes;
    std::uint64_t next = 2654435761u;
    for (int i = 0; i < 2400; ++i, next *= 11400714785074694797u) bytes += static_cast<char>(next >> 56);
    const std::map<std::size_t, std::uint64_t> published{
        {0, 0x2d06800538d394c2u},   {24, 0xa3fe70bf9d3510ebu},   {48, 0x397da259ecba1f11u},  {80, 0xbcdefbbb2c47c90au},
        {512, 0x617e49599013cb6bu}, {2048, 0xdd59e2c3a5f038e0u}, {2240, 0x6e73a90539cf2948u}};
    const auto hash = [](const std::string& text) {
        kvs::detail::Xxh3State state;
        for (std::size_t i = 0; i < text.size(); i += 8)
            state.add(kvs::detail::local_word(reinterpret_cast<const std::byte*>(text.data()) + i, 8));
        return state.whole_value();
    };
    for (const auto& [size, value] : published) CHECK(hash(bytes.substr(0, size)) == value);
    // Around the lengths where the buffer is emptied, and of the longest slot there is.
    for (std::size_t words = 0; words < 300; ++words)
        REQUIRE(static_cast<std::uint32_t>(hash(bytes.substr(0, 8 * words))) ==
                kvs_test::PairWalker::xxh3(bytes.substr(0, 8 * words)));
    std::string longest;
    while (longest.size() < 1024 + 16 + 65536) longest += bytes.substr(0, 8 * 37);
    longest.resize(1024 + 16 + 65536);
    CHECK(static_cast<std::uint32_t>(hash(longest)) == kvs_test::PairWalker::xxh3(longest));
}

TEST_CASE("FORMAT_PAIRS.md says what the constants say", "[format]") {
    const std::map<std::string, std::string> document = rows_of_document();
    std::map<std::string, std::string> wanted;
    const auto file = [&](const char* what, const std::string& where) {
        wanted["The file: " + std::string(what)] = where;
    };
    file("header, as in the seed format", row(0, kvs::detail::layout::header_bytes));
    file("index, as in the seed format", row(kvs::detail::layout::index_offset, 4 * 65536));
    file("superblock copy 0, first twin", row(pair_layout::superblock_offset(0, 0), pair_layout::page_bytes));
    file("superblock copy 1, first twin", row(pair_layout::superblock_offset(1, 0), pair_layout::page_bytes));
    file("superblock copy 0, second twin", row(pair_layout::superblock_offset(0, 1), pair_layout::page_bytes));
    file("superblock copy 1, second twin", row(pair_layout::superblock_offset(1, 1), pair_layout::page_bytes));
    file("shared area: words, counters and small room for the journal",
         row(pair_layout::shared_offset, pair_layout::page_bytes));
    file("shared area: room for the journal", row(shared::journal, shared::journal_bytes));
    file("records", std::to_string(pair_layout::records_offset) + " ");

    const auto field = [&](const char* what, unsigned word, unsigned byte, unsigned bytes) {
        wanted["Superblock: " + std::string(what)] = row(8 * word + byte, bytes);
    };
    field("magic `AKVSPAIR`", at::magic, 0, 8);
    field("format version: 2", at::versions, 0, 4);
    field("checksum policy: 1 CRC-32C, 2 XXH3", at::versions, 4, 1);
    field("index policy: 1 chains, 2 growing index", at::versions, 5, 1);
    field("key length", at::geometry, 0, 4);
    field("weights", at::geometry, 4, 4);
    field("generation", at::generation, 0, 8);
    field("D", at::durable_epoch, 0, 8);
    field("E", at::durable_end, 0, 8);
    field("number of records below E", at::records, 0, 8);
    field("number of keys", at::keys, 0, 8);
    field("C", at::void_epoch, 0, 8);
    field("flags: bit 0 = closed cleanly", at::flags, 0, 8);
    field("boot id: which run of the machine wrote it", at::boot, 0, 16);
    field("device of the file", at::device, 0, 8);
    field("inode of the file", at::inode, 0, 8);
    field("mount id, 0 where there is none", at::mount, 0, 8);
    field("place of the growing index: offset and size, 0 without one", at::index_place, 0, 16);
    field("lone slot: offset of a slot, 0 = none", at::lone_slot, 0, 8);
    field("lone slot: its checksum and byte count", at::lone_content, 0, 8);
    field("CRC-32C of the 152 bytes before this word", at::checksum, 4, 4);

    const auto word = [&](const char* what, std::uint64_t offset, std::uint64_t bytes) {
        wanted["The shared area: " + std::string(what)] = row(offset, bytes);
    };
    word("stamp: layout, word size and byte order", shared::stamp, 8);
    word("opening stamp: another number after every open by a handle that was alone", shared::opening, 8);
    word("live end", shared::live_end, 8);
    word("D", shared::durable_epoch, 8);
    word("C", shared::void_epoch, 8);
    word("value lengths in use: bit i for records with values of 2^i bytes", shared::lengths, 8);
    word("lock word: a count and, in the lowest byte, the owner byte of the writer", shared::lock, 8);
    word("sleepers: bit 0 = somebody waits for the lock, bit 1 = for a change", shared::sleepers, 8);
    word("twice the number of changes, and one more during one", shared::changes, 8);
    word("mount id of the handle that opened the file alone", shared::mount, 8);
    word("pending: 0 = nothing, 1 = something to sync, else the offset of the only slot that is", shared::pending, 8);
    word("failed: 1 = a flush failed", shared::failed, 8);
    word("in use: 1 = the superblock on the device is not clean", shared::in_use, 8);
    word("E", shared::durable_end, 8);
    word("generation of the superblock known to be on the device, 0 = not known", shared::durable_generation, 8);
    word("number of records", shared::records, 8);
    word("number of keys", shared::keys, 8);
    word("place of the growing index", shared::index_place, 16);
    word("journal: 1 = to be applied", shared::journal_valid, 8);
    word("journal: its length in words", shared::journal_words, 8);
    word("journal: its offset", shared::journal_place, 8);
    word("version counters, 256 of 4 bytes", shared::counters, 4 * shared::counter_count);
    word("small room for the journal", shared::small_journal, shared::small_journal_bytes);
    word("room for the journal", shared::journal, shared::journal_bytes);

    for (const auto& [what, where] : wanted) {
        INFO(what);
        REQUIRE(document.count(what) == 1);
        CHECK(document.at(what) == where);
    }
    // What is not a number of bytes from a constant is the tables of records, slots and locks, and fields of 0.
    std::size_t others = 0;
    for (const auto& [what, where] : document) others += wanted.count(what) == 0 ? 1 : 0;
    CHECK(others == 6 + 6 + 3 + 1);
    const std::string text = kvs_test::contents_of(KVS_TEST_SOURCE_DIR "/include/kvs/FORMAT_PAIRS.md");
    for (const std::string& sentence : {
             "The stamp is `0x4b56530100000000` + 65536 times the size of a pointer + " +
                 std::to_string(shared::layout_number) + ",",
             "if it is not longer than " + std::to_string(pair_layout::records_offset) + " bytes",
             "for an index slot: at or behind " + std::to_string(pair_layout::records_offset) + ",",
         }) {
        INFO(sentence);
        CHECK(text.find(sentence) != std::string::npos);
    }
    CHECK(shared::stamp_of(8) == 0x4b56530100000000 + 65536 * 8 + shared::layout_number);
    CHECK(pair_layout::first_epoch == 1073741825);
    CHECK(pair_layout::last_epoch == 1099511627774);
    CHECK(kvs::detail::layout::gate_lock == 4294967296);
    CHECK(kvs::detail::layout::presence_lock == 4294967297);
    CHECK(pair_layout::owner_locks == 4294967312);
    // A record of a 32-byte key and an 8-byte value.
    CHECK(pair_layout::next_record(400000, 32) - pair_layout::check_bytes - 400000 < 8);
    CHECK(pair_layout::record_bytes(32, 3) + pair_layout::check_bytes <= 96);
}

TEST_CASE("the stamp of a file is what FORMAT_PAIRS.md says", "[format]") {
    kvs_test::TempDir dir;
    { const kvs::Store<7> store(dir.file()); }
    std::uint64_t stamp = 0;
    std::memcpy(&stamp, kvs_test::contents_of(dir.file()).data() + shared::stamp, sizeof stamp);
    CHECK(stamp == 0x4b56530100000000 + 65536 * sizeof(void*) + 3);
}

TEMPLATE_TEST_CASE("a closed file of pairs is what FORMAT_PAIRS.md says, byte for byte read by a second reader",
                   "[format]", kvs::Crc32c, kvs::Xxh3) {
    kvs_test::Campaign campaign(20269);
    INFO(campaign.replay());
    kvs_test::TempDir dir;
    const std::string path = dir.file();
    std::map<std::string, kvs_test::PairWalked> map;
    for (int round = 0; round < 12; ++round) {
        {
            kvs::Store<7, TestType> store(
                path, {.sync = kvs::sync_manual, .weights = kvs::Weights{16, 16, 64, 128, 512, 1024, 2048, 2048}});
            for (std::uint64_t i = campaign.pick(200); i != 0; --i) {
                const std::string key = "k" + std::to_string(campaign.pick(90));
                switch (campaign.pick(8)) {
                    case 0:
                        store.erase(key);
                        map.erase(key);
                        break;
                    case 1:
                        if (campaign.one_in(30)) store.clear(), map.clear();
                        break;
                    case 2: store.sync(); break;
                    case 3: {
                        const auto n = static_cast<std::uint16_t>(campaign.pick(65536));
                        store.set(key, n);
                        map[key] = {0x01, {static_cast<char>(n >> 8), static_cast<char>(n)}};
                        break;
                    }
                    default: {
                        const std::string text(campaign.pick(2100), 't');
                        store.set(key, text);
                        constexpr std::size_t lengths[] = {16, 32, 64, 128, 256, 512, 1024, 2048, 4096};
                        constexpr unsigned codes[] = {4, 0, 6, 7, 1, 9, 10, 11, 2};
                        std::size_t fit = 0;
                        while (lengths[fit] < text.size()) ++fit;
                        map[key] = {0x40 | codes[fit], text};
                    }
                }
            }
        }
        const std::string file = kvs_test::contents_of(path);
        const kvs_test::PairWalk walk = kvs_test::PairWalker(file).walk();
        CHECK(walk.problems == std::vector<std::string>());
        CHECK((walk.valid && walk.clean));
        CHECK(walk.checksum == (std::is_same_v<TestType, kvs::Crc32c> ? 1 : 2));
        CHECK(walk.key_length == 7);
        CHECK(walk.durable_end == file.size());
        CHECK(walk.entries == map);
    }
}
