// The bytes of paired files: FORMAT_PAIRS.md against the constants, and against files read by a walker that was written
// from that text alone.
#include <kvs/detail/pair_layout.hpp>
#include <kvs/detail/superblock.hpp>
#include <kvs/kvs.hpp>

#include <cstdint>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/pair_walker.hpp"
#include "../support/temp_dir.hpp"

namespace {

namespace pair_layout = kvs::detail::pair_layout;
namespace at = kvs::detail::pair_layout::superblock;
namespace shared = kvs::detail::pair_layout::shared;

std::string contents_of(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream bytes;
    bytes << file.rdbuf();
    return bytes.str();
}

/// The rows of the document's tables, "heading: field" to "offset bytes".
std::map<std::string, std::string> rows_of_document() {
    std::istringstream lines(contents_of(KVS_TEST_SOURCE_DIR "/include/kvs/FORMAT_PAIRS.md"));
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
    file("shared area", row(pair_layout::shared_offset, pair_layout::records_offset - pair_layout::shared_offset));
    file("records", std::to_string(pair_layout::records_offset) + " ");

    const auto field = [&](const char* what, unsigned word, unsigned byte, unsigned bytes) {
        wanted["Superblock: " + std::string(what)] = row(8 * word + byte, bytes);
    };
    field("magic `AKVSPAIR`", at::magic, 0, 8);
    field("format version: 1", at::versions, 0, 4);
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
    word("lock word: a count and, in the lowest byte, the owner byte of the writer", shared::lock, 8);
    word("opening stamp", shared::opening, 8);
    word("live end", shared::live_end, 8);
    word("D", shared::durable_epoch, 8);
    word("E", shared::durable_end, 8);
    word("generation of the superblock known to be on the device, 0 = not known", shared::durable_generation, 8);
    word("pending: 0 = nothing, 1 = something to sync, else the offset of the only slot that is", shared::pending, 8);
    word("failed: 1 = a flush failed", shared::failed, 8);
    word("number of records", shared::records, 8);
    word("number of keys", shared::keys, 8);
    word("C", shared::void_epoch, 8);
    word("place of the growing index", shared::index_place, 16);
    word("journal: 1 = to be applied", shared::journal_valid, 8);
    word("journal: its length in words", shared::journal_words, 8);
    word("journal: its offset", shared::journal_place, 8);
    word("version counters, 256 of 4 bytes", shared::counters, 4 * shared::counter_count);
    word("room for the journal", shared::journal, shared::journal_bytes);

    for (const auto& [what, where] : wanted) {
        INFO(what);
        REQUIRE(document.count(what) == 1);
        CHECK(document.at(what) == where);
    }
    // What is not a number of bytes from a constant is the tables of records and slots, and fields of 0.
    std::size_t others = 0;
    for (const auto& [what, where] : document) others += wanted.count(what) == 0 ? 1 : 0;
    CHECK(others == 6 + 6 + 1);
    CHECK(pair_layout::first_epoch == 1073741825);
    CHECK(pair_layout::last_epoch == 1099511627774);
    CHECK(pair_layout::owner_locks == 4294967312);
    // A record of a 32-byte key and an 8-byte value.
    CHECK(pair_layout::next_record(400000, 32) - pair_layout::check_bytes - 400000 < 8);
    CHECK(pair_layout::record_bytes(32, 3) + pair_layout::check_bytes <= 96);
}

TEST_CASE("a closed file of pairs is what FORMAT_PAIRS.md says, byte for byte read by a second reader", "[format]") {
    kvs_test::Campaign campaign(20269);
    INFO(campaign.replay());
    kvs_test::TempDir dir;
    const std::string path = dir.file();
    std::map<std::string, kvs_test::PairWalked> map;
    for (int round = 0; round < 12; ++round) {
        {
            kvs::Store<7> store(
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
        const std::string file = contents_of(path);
        const kvs_test::PairWalk walk = kvs_test::PairWalker(file).walk();
        CHECK(walk.problems == std::vector<std::string>());
        CHECK((walk.valid && walk.clean));
        CHECK(walk.key_length == 7);
        CHECK(walk.durable_end == file.size());
        CHECK(walk.entries == map);
    }
}
