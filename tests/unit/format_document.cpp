// include/kvs/FORMAT.md says what detail/layout.hpp and weights.hpp say: every cell of every table that holds a number
// or a name is worked out here from the constants, every number in the rest of the text is one of them, and the
// examples are computed and written anew. A row more or less, or a number changed on either side, fails.
#include <kvs/detail/fnv.hpp>
#include <kvs/detail/layout.hpp>
#include <kvs/kvs.hpp>
#include <kvs/weights.hpp>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "../catch.hpp"
#include "../support/temp_dir.hpp"
#include "../support/walker.hpp"

namespace {

namespace layout = kvs::detail::layout;
using Row = std::vector<std::string>;

// ---- reading the document ------------------------------------------------------------------------------------------

struct Table {
    std::string heading;  ///< the last one above it
    Row columns;
    std::vector<Row> rows;
};

struct Document {
    std::vector<Table> tables;
    std::vector<std::string> fences;  ///< code between ``` lines
    std::string prose;                ///< everything else, indented formulas included
};

std::string trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return std::string(text.substr(first, text.find_last_not_of(" \t\r") - first + 1));
}

/// The cells of a table's line, without the marks of code.
Row cells_of(const std::string& line) {
    Row cells;
    std::string cell;
    for (std::size_t i = 1; i < line.size(); ++i) {
        if (line[i] == '|' && line[i - 1] != '\\') {
            cell.erase(std::remove(cell.begin(), cell.end(), '`'), cell.end());
            cells.push_back(trimmed(cell));
            cell.clear();
        } else {
            cell += line[i];
        }
    }
    return cells;
}

Document read_document() {
    std::ifstream in(KVS_TEST_SOURCE_DIR "/include/kvs/FORMAT.md");
    REQUIRE(in);
    Document document;
    std::string heading;
    bool in_fence = false;
    bool in_table = false;
    for (std::string line; std::getline(in, line);) {
        line = trimmed(line).empty() ? "" : line;
        if (line.rfind("```", 0) == 0) {
            in_fence = !in_fence;
            if (in_fence) document.fences.emplace_back();
            continue;
        }
        if (in_fence) {
            document.fences.back() += line + "\n";
            continue;
        }
        const bool table_line = !line.empty() && line[0] == '|';
        if (table_line && !in_table) {
            document.tables.push_back({heading, cells_of(line), {}});
            std::string rule;
            REQUIRE(std::getline(in, rule));
            CHECK(cells_of(rule) == Row(document.tables.back().columns.size(), "---"));
        } else if (table_line) {
            document.tables.back().rows.push_back(cells_of(line));
        } else {
            if (line.rfind("#", 0) == 0) heading = trimmed(line.substr(line.find_first_not_of('#')));
            document.prose += line + "\n";
        }
        in_table = table_line;
    }
    REQUIRE(!in_fence);
    return document;
}

/// The numbers in a text, as written, thousands separators taken out. Names with digits, such as u16, are none.
std::vector<std::string> numbers_in(const std::string& text) {
    const auto is_word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
    std::vector<std::string> numbers;
    for (std::size_t at = 0; at < text.size();) {
        if (!is_word(text[at])) {
            ++at;
            continue;
        }
        std::string word;
        const bool behind_letter =
            at >= 2 && text[at - 1] == '-' && std::isalpha(static_cast<unsigned char>(text[at - 2]));
        while (at < text.size()) {
            const bool thousands = text[at] == ',' && at + 3 < text.size() && !word.empty() &&
                                   std::all_of(text.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                                               text.begin() + static_cast<std::ptrdiff_t>(at) + 4,
                                               [](char c) { return c >= '0' && c <= '9'; });
            if (!is_word(text[at]) && !thousands) break;
            if (!thousands) word += text[at];
            ++at;
        }
        if (word[0] >= '0' && word[0] <= '9' && !behind_letter) numbers.push_back(word);
    }
    return numbers;
}

// ---- what the tables have to say -----------------------------------------------------------------------------------

/// A cell of words: what counts is the numbers in it, in order. Any other cell counts as a whole.
constexpr char prose_mark = '\1';
std::string prose(const std::vector<std::string>& numbers = {}) {
    std::string cell(1, prose_mark);
    for (const std::string& number : numbers) cell += number + " ";
    return cell;
}

std::string text_of(std::uint64_t number) { return std::to_string(number); }
std::string hex(std::uint64_t number, int digits) {
    std::ostringstream out;
    out << "0x" << std::hex;
    out.fill('0');
    out.width(digits);
    out << number;
    return out.str();
}
std::string hex_bytes(std::string_view bytes) {
    std::string text;
    for (const char c : bytes) text += hex(static_cast<unsigned char>(c), 2).substr(2) + " ";
    return trimmed(text);
}

/// "m + p + 5": what a record has besides key and value.
const std::uint64_t record_extra = layout::record_bytes(1, 0) - 2;
const std::string file_limit = text_of(layout::file_limit);

std::vector<Row> file_rows() {
    std::vector<std::string> magic;
    for (const char c : layout::magic) magic.push_back(hex(static_cast<unsigned char>(c), 2));
    return {
        {text_of(layout::magic_offset), text_of(sizeof layout::magic), "bytes", "magic", prose(magic), prose()},
        {text_of(layout::key_length_offset), text_of(layout::weights_offset - layout::key_length_offset), "u16",
         "key length", prose({"1", text_of(layout::longest_key)}), prose()},
        {text_of(layout::weights_offset), text_of(layout::header_bytes - layout::weights_offset), "u32", "weights",
         prose({text_of(layout::fixed_group_count), text_of(layout::group_count - 1)}), prose()},
        {text_of(layout::index_offset), text_of(layout::link_bytes * layout::bucket_count),
         "u32 × " + text_of(layout::bucket_count), "index", prose(), prose()},
        {text_of(layout::records_offset), "m + p + " + text_of(record_extra) + " each", "", "records", prose(),
         prose()},
    };
}

std::vector<Row> index_rows() {
    return {
        {"buckets", text_of(layout::bucket_count)},
        {"buckets in a group", text_of(layout::buckets_per_group)},
        {"groups", text_of(layout::group_count)},
        {"bytes of a link", text_of(layout::link_bytes)},
        {"offset of the index slot of bucket b",
         text_of(layout::slot_offset(0)) + " + " + text_of(layout::slot_offset(1) - layout::slot_offset(0)) + " * b"},
        {"group of bucket b", "b / " + text_of(layout::buckets_per_group)},
    };
}

Row group_row(std::uint32_t group) {
    const std::uint32_t first = group * layout::buckets_per_group;
    return {text_of(group), text_of(first), text_of(first + layout::buckets_per_group - 1),
            text_of(layout::slot_offset(first))};
}
std::vector<Row> fixed_group_rows() {
    std::vector<Row> rows;
    for (std::uint32_t group = 0; group < layout::fixed_group_count; ++group) {
        rows.push_back(group_row(group));
        rows.back().push_back(text_of(layout::value_bytes(layout::fixed_lengths[group])));
    }
    return rows;
}
std::vector<Row> weighted_group_rows() {
    std::vector<Row> rows;
    const kvs::Weights weights;
    for (std::uint32_t group = layout::fixed_group_count; group < layout::group_count; ++group) {
        const unsigned bit = 4 * (group - layout::fixed_group_count);
        rows.push_back(group_row(group));
        rows.back().push_back(text_of(bit) + " to " + text_of(bit + 3));
        rows.back().push_back(text_of(weights.header() >> bit & 15));
        rows.back().push_back(text_of(weights[group]));
    }
    return rows;
}

std::vector<Row> record_rows() {
    return {
        {"0", "m", "bytes", "key", prose()},
        {"m", text_of(layout::type_bytes), "u8", "type", prose()},
        {"m + " + text_of(layout::type_bytes), "p", "", "value", prose()},
        {"m + p + " + text_of(layout::type_bytes), text_of(layout::link_bytes), "u32", "next", prose()},
    };
}

std::vector<Row> type_rows() {
    std::vector<Row> rows;
    std::vector<bool> seen(256, false);
    for (unsigned byte = 0; byte < 0x40; ++byte) {
        const auto code = layout::decode_type(static_cast<std::uint8_t>(byte));
        if (!code.known) continue;
        std::string value = "unsigned integer";
        if (code.type >= kvs::Type::i8) value = "signed integer";
        if (code.type == kvs::Type::f32) value = "IEEE 754 binary32";
        if (code.type == kvs::Type::f64) value = "IEEE 754 binary64";
        if (code.decimal_text) value = "a number as decimal text";
        if (code.type == kvs::Type::boolean) value = "false or true";
        const bool written = layout::encode_type(code.type, code.length) == byte;
        CHECK(written == !code.decimal_text);
        rows.push_back({hex(byte, 2), to_string(code.type), text_of(layout::value_bytes(code.length)), value,
                        written ? "yes" : "never: an old code"});
    }
    rows.push_back({"0x40 + code", "ascii", "of the code", prose({"0x80"}), "yes"});
    rows.push_back({"0x50 + code", "utf8", "of the code", prose(), "yes"});
    rows.push_back({"0x60 + code", "bytes", "of the code", prose(), "yes"});
    return rows;
}

std::vector<Row> length_code_rows() {
    std::vector<Row> rows;
    for (unsigned code = 0; code < 16; ++code) {
        const unsigned length = layout::length_of_nibble(code);
        const std::uint64_t bytes = layout::value_bytes(length);
        const unsigned written = layout::nibble_of_length(length);
        rows.push_back({text_of(code), text_of(bytes), text_of(bytes), text_of(bytes - layout::count_bytes),
                        written == code ? "yes" : "no: code " + text_of(written)});
    }
    return rows;
}

std::vector<Row> value_rows() {
    const std::string too_many = "p - " + text_of(layout::count_bytes);
    return {
        {"numbers but the old codes", prose(), prose()},
        {"boolean", prose({"0x00", hex(layout::true_byte, 2)}), prose({"0x00"})},
        {"ascii, utf8", prose(), prose()},
        {"bytes", prose({text_of(layout::count_bytes)}), prose({text_of(layout::count_bytes)})},
        {"old codes", "never", prose()},
    };
}

std::vector<Row> fit_rows() {
    const std::string shortest = text_of(layout::value_bytes(layout::shortest_text));
    return {
        {"number or boolean", prose()},
        {"text of n bytes", "from " + shortest + " up, at least n"},
        {"n bytes", "from " + shortest + " up, at least n + " + text_of(layout::count_bytes)},
    };
}

std::vector<Row> hash_rows() {
    return {
        {"offset basis", text_of(kvs::detail::fnv::offset_basis)},
        {"prime", text_of(kvs::detail::fnv::prime)},
        {"bits of the hash within a group", hex(layout::buckets_per_group - 1, 3)},
        {"bit at which the group begins", text_of(static_cast<unsigned>(std::countr_zero(layout::buckets_per_group)))},
    };
}

constexpr std::size_t example_key_length = 8;
const std::string example_key = "volume";

std::vector<Row> hash_steps() {
    std::uint32_t h = 2166136261u;  // by the formula of the document, not by the library
    std::vector<Row> rows{{"", "", hex(h, 8)}};
    std::string field = example_key;
    field.resize(example_key_length, '\0');
    for (const char c : field) {
        h = (h ^ static_cast<unsigned char>(c)) * 16777619u;
        rows.push_back({hex(static_cast<unsigned char>(c), 2), c == '\0' ? "NUL" : std::string(1, c), hex(h, 8)});
    }
    CHECK(h == kvs::Key<example_key_length>(std::string_view(example_key)).hash());
    return rows;
}

std::vector<Row> bucket_rows() {
    std::vector<Row> rows;
    const kvs::detail::Geometry geometry;
    const std::uint32_t h = kvs::Key<example_key_length>(std::string_view(example_key)).hash();
    for (const unsigned length : {0u, 2u, 3u, 4u}) {
        std::vector<std::uint32_t> groups;
        std::string list;
        for (std::uint32_t group = 0; group < layout::group_count; ++group) {
            if (geometry.length_of_group(group) != length) continue;
            groups.push_back(group);
            list += (list.empty() ? "" : ", ") + text_of(group);
        }
        const std::size_t chosen = h % groups.size();
        const std::uint32_t bucket = (h & 0xfff) | groups[chosen] << 12;
        CHECK(bucket == geometry.bucket(h, length));
        rows.push_back({text_of(layout::value_bytes(length)), list, text_of(chosen), text_of(bucket),
                        text_of(layout::slot_offset(bucket))});
    }
    return rows;
}

std::vector<Row> limit_rows() {
    const std::uint64_t longest = layout::value_bytes(layout::length_count - 1);
    return {
        {"longest key", text_of(layout::longest_key)},
        {"longest text", text_of(longest)},
        {"most bytes in a value of type bytes", text_of(longest - layout::count_bytes)},
        {"end of the last record, and size of the file", file_limit},
    };
}

std::vector<Row> lock_rows() {
    return {
        {"gate", text_of(layout::gate_lock), "exclusive", prose()},
        {"gate", text_of(layout::gate_lock), "shared", prose()},
        {"presence", text_of(layout::presence_lock), "exclusive", prose()},
        {"presence", text_of(layout::presence_lock), "shared", prose()},
    };
}

std::vector<Row> creation_rows() {
    return {
        {"1", prose()},
        {"2", prose({"0", text_of(layout::records_offset - 1)})},
        {"3", prose({"8", text_of(layout::header_bytes - 1)})},
        {"4", prose()},
        {"5", prose({"0", "7", "8"})},
        {"6", prose()},
    };
}

/// The file of the worked example, as the library writes it.
std::string example_file() {
    kvs_test::TempDir dir;
    {
        kvs::SeedStore<8> store{dir.file("tiny.akvs")};
        store.set("volume", std::uint8_t{80});
        store.set("name", "Ada");
    }
    return kvs_test::contents_of(dir.file("tiny.akvs"));
}

/// The fields of the example: in the order of the file, at the places that the constants give.
std::vector<Row> field_rows() {
    const std::string file = example_file();
    const kvs::detail::Geometry geometry;
    std::vector<Row> rows;
    const auto add = [&](std::uint64_t offset, std::uint64_t bytes, const std::string& field) {
        rows.push_back({text_of(offset), hex_bytes(file.substr(offset, bytes)), field});
    };
    add(layout::magic_offset, sizeof layout::magic, "magic");
    add(layout::key_length_offset, 2, "key length");
    add(layout::weights_offset, 4, "weights");
    struct Example {
        kvs::Key<8> key;
        unsigned length;
        std::string type, value;
    };
    const Example examples[] = {{"volume", 0, "type u8", "value 80"},
                                {"name", 4, "type ascii, code 4", "value \"Ada\""}};
    std::uint64_t record = layout::records_offset;
    for (const Example& e : examples) {
        const std::uint32_t bucket = geometry.bucket(e.key.hash(), e.length);
        const std::uint64_t p = layout::value_bytes(e.length);
        add(layout::slot_offset(bucket), 4,
            "index slot of bucket " + text_of(bucket) + ", for \"" + std::string(e.key.view()) +
                "\" with p = " + text_of(p) + ": first record at " + text_of(record));
        record += layout::record_bytes(8, e.length);
    }
    record = layout::records_offset;
    for (const Example& e : examples) {
        const std::uint64_t p = layout::value_bytes(e.length);
        add(record, 8, "key \"" + std::string(e.key.view()) + "\"");
        add(record + 8, 1, e.type);
        add(record + 9, p, e.value);
        add(record + 9 + p, 4, "next: none");
        record += layout::record_bytes(8, e.length);
    }
    return rows;
}

std::vector<Row> words(std::size_t rows, std::size_t columns) { return {rows, Row(columns, prose())}; }

struct Expected {
    std::string heading;
    Row columns;
    std::vector<Row> rows;
};

std::vector<Expected> expected_tables() {
    const std::string example_weights = hex(kvs::Weights{}.header(), 8);
    std::vector<Row> keys = words(5, 3);
    keys[1][2] = keys[2][2] = "";  // a key is a key: no duty
    std::vector<Row> killed = words(8, 3);
    killed[6][1] = prose({"0"});
    std::vector<Row> damage = words(9, 2);
    damage[3][0] = prose({text_of(layout::count_bytes)});
    damage[5][0] = prose({"0x00", hex(layout::true_byte, 2)});
    return {
        {"The file", {"Offset", "Bytes", "Type", "Name", "Meaning", "Reader's duty"}, file_rows()},
        {"Index", {"Quantity", "Value"}, index_rows()},
        {"Groups", {"Group", "First bucket", "Last bucket", "Index slots from", "p"}, fixed_group_rows()},
        {"Groups",
         {"Group", "First bucket", "Last bucket", "Index slots from", "Bits of the weights",
          "Number in " + example_weights, "p"},
         weighted_group_rows()},
        {"Records", {"Offset in the record", "Bytes", "Type", "Name", "Meaning"}, record_rows()},
        {"Records", {"Key field", "Meaning", "Reader's duty"}, keys},
        {"Type byte", {"Byte", "Type", "p", "Value", "Written"}, type_rows()},
        {"Type byte", {"Code", "p", "Longest text", "Most bytes", "Written"}, length_code_rows()},
        {"Values", {"Type", "Written as", "Reader's duty"}, value_rows()},
        {"Values", {"Value", "Value lengths that can hold it"}, fit_rows()},
        {"Bucket of a key", {"Constant", "Value"}, hash_rows()},
        {"Bucket of a key", {"Byte", "Character", "h after it"}, hash_steps()},
        {"Bucket of a key", {"p", "Groups", "h % count", "Bucket", "Index slot at"}, bucket_rows()},
        {"Limits", {"Limit", "Bytes"}, limit_rows()},
        {"Locks", {"Lock", "Byte", "Mode", "Held by"}, lock_rows()},
        {"Creation", {"Step", "What"}, creation_rows()},
        {"What a killed writer leaves", {"Killed during", "File between two stores", "For a reader"}, killed},
        {"Damage", {"Found", "A reader's answer"}, damage},
        {"A whole file", {"Offset", "Bytes", "Field"}, field_rows()},
    };
}

/// Compares a cell; counts what was compared.
struct Count {
    std::size_t rows = 0, cells = 0, numbers = 0;
};
void compare_cell(const std::string& found, const std::string& wanted, Count& count) {
    ++count.cells;
    if (wanted.empty() || wanted[0] != prose_mark) {
        count.numbers += numbers_in(wanted).size();
        CHECK(found == wanted);
        return;
    }
    std::string numbers(1, prose_mark);
    for (const std::string& number : numbers_in(found)) {
        numbers += number + " ";
        ++count.numbers;
    }
    CHECK(!found.empty());
    CHECK(numbers.substr(1) == wanted.substr(1));
}

}  // namespace

TEST_CASE("the parser of these tests reads tables and numbers", "[format]") {
    CHECK(cells_of("| `0x00` | a, b | | 4 |") == Row{"0x00", "a, b", "", "4"});
    CHECK(numbers_in("u16, 65,536 and 0x1f; m+5 of UTF-8 (-7) 1 to 3, 4") ==
          std::vector<std::string>{"65536", "0x1f", "5", "7", "1", "3", "4"});
    CHECK(numbers_in("binary32 in CRC-32C") == std::vector<std::string>{});
}

TEST_CASE("every table of FORMAT.md says what the constants say", "[format]") {
    const Document document = read_document();
    const std::vector<Expected> expected = expected_tables();
    REQUIRE(document.tables.size() == expected.size());
    Count count;
    for (std::size_t t = 0; t < expected.size(); ++t) {
        const Table& table = document.tables[t];
        INFO("table " << t << ", below \"" << table.heading << "\"");
        CHECK(table.heading == expected[t].heading);
        CHECK(table.columns == expected[t].columns);
        REQUIRE(table.rows.size() == expected[t].rows.size());
        for (std::size_t r = 0; r < table.rows.size(); ++r) {
            INFO("row " << r);
            REQUIRE(table.rows[r].size() == table.columns.size());
            ++count.rows;
            for (std::size_t c = 0; c < table.rows[r].size(); ++c) {
                INFO("column " << c << ": " << table.rows[r][c]);
                compare_cell(table.rows[r][c], expected[t].rows[r][c], count);
            }
        }
    }
    CHECK(count.rows == 5 + 6 + 8 + 8 + 4 + 5 + 16 + 16 + 5 + 3 + 4 + 9 + 4 + 4 + 4 + 6 + 8 + 9 + 13);
    CHECK(count.numbers > 300);
    CHECK(count.cells > 500);
}

TEST_CASE("the tables of FORMAT.md know all 256 type bytes", "[format]") {
    const Document document = read_document();
    const auto table_with = [&](const std::string& first_column) -> const Table& {
        for (const Table& table : document.tables)
            if (table.heading == "Type byte" && table.columns[0] == first_column) return table;
        FAIL("no such table");
        return document.tables[0];
    };
    struct Known {
        std::string type;
        std::uint64_t bytes;
        bool written;
    };
    std::map<unsigned, Known> known;
    for (const Row& row : table_with("Byte").rows) {
        const auto first = static_cast<unsigned>(std::stoul(row[0], nullptr, 16));
        if (row[0].size() == 4) {
            known[first] = {row[1], std::stoull(row[2]), row[4] == "yes"};
            continue;
        }
        for (const Row& code : table_with("Code").rows)
            known[first + static_cast<unsigned>(std::stoul(code[0]))] = {row[1], std::stoull(code[1]),
                                                                         code[4] == "yes"};
    }
    CHECK(known.size() == 13 + 3 * 16);
    for (unsigned byte = 0; byte < 256; ++byte) {
        INFO("type byte " << byte);
        const auto code = layout::decode_type(static_cast<std::uint8_t>(byte));
        REQUIRE(code.known == (known.count(byte) == 1));
        if (!code.known) continue;
        CHECK(to_string(code.type) == known[byte].type);
        CHECK(layout::value_bytes(code.length) == known[byte].bytes);
        CHECK((layout::encode_type(code.type, code.length) == byte && !code.decimal_text) == known[byte].written);
    }
}

TEST_CASE("every number in the text of FORMAT.md is one of the format's", "[format]") {
    const Document document = read_document();
    const std::uint32_t h = kvs::Key<example_key_length>(std::string_view(example_key)).hash();
    const std::uint32_t unpadded = kvs::detail::HashedName(example_key).hash;
    const std::uint32_t square = kvs::detail::fnv::prime * kvs::detail::fnv::prime;
    CHECK(unpadded * square == h);
    const std::set<std::string> known{text_of(layout::bucket_count),
                                      text_of(layout::buckets_per_group),
                                      text_of(layout::records_offset),
                                      file_limit,
                                      text_of(kvs::detail::fnv::offset_basis),
                                      text_of(kvs::detail::fnv::prime),
                                      hex(layout::buckets_per_group - 1, 3),
                                      hex(kvs::Weights{}.header(), 8),
                                      hex(square, 8),
                                      hex(unpadded, 8),
                                      hex(h, 8),
                                      text_of(h),
                                      text_of(example_file().size()),
                                      "0x00",
                                      "0x80",
                                      hex(layout::true_byte, 2)};
    std::size_t compared = 0;
    for (const std::string& number : numbers_in(document.prose)) {
        if (number.size() < 3) continue;  // steps of a list, and the like
        INFO(number);
        CHECK(known.count(number) == 1);
        ++compared;
    }
    CHECK(compared > 20);
    // Those that a reader would look for are there.
    for (const std::string& number : {text_of(layout::records_offset), file_limit, text_of(h), hex(square, 8)}) {
        INFO(number);
        const auto all = numbers_in(document.prose);
        CHECK(std::count(all.begin(), all.end(), number) > 0);
    }
    // Sentences with smaller numbers, as the constants would write them.
    const std::string last_fixed = text_of(layout::fixed_group_count - 1);
    const std::string weighted = text_of(layout::fixed_group_count) + " to " + text_of(layout::group_count - 1);
    std::string no_code;  // the lengths that are too short for text
    for (unsigned length = 0; length < layout::shortest_text; ++length) {
        no_code += length == 0 ? "" : length + 1 == layout::shortest_text ? " and " : ", ";
        no_code += text_of(layout::value_bytes(length));
    }
    for (const std::string& sentence : {
             "a " + text_of(layout::header_bytes) + "-byte\nheader",
             "A **link** is a u" + text_of(8 * layout::link_bytes) + ":",
             "Groups 0 to " + last_fixed + " have the same one in every file",
             "The value lengths of groups " + weighted + " are in the weights",
             "A record has `m + p + " + text_of(record_extra) + "` bytes",
             "Text and bytes have no code for `p` of " + no_code + ".",
             "those at " + text_of(sizeof(std::uint64_t)) + " and " + text_of(layout::header_bytes - 1) + "\nexcepted",
             std::string("h = ((h ^ byte) * 16777619) % 4294967296"),
             std::string("bucket = (h & 0xfff) | g[h % count] << 12"),
             "in a file with `m` = " + text_of(example_key_length),
         }) {
        INFO(sentence);
        CHECK(document.prose.find(sentence) != std::string::npos);
    }
}

TEST_CASE("the file shown in FORMAT.md is the one that the library writes", "[format]") {
    const Document document = read_document();
    REQUIRE(document.fences.size() == 2);
    CHECK(document.fences[0] ==
          "kvs::SeedStore<8> store{\"tiny.akvs\"};\n"
          "store.set(\"volume\", std::uint8_t{80});\n"
          "store.set(\"name\", \"Ada\");\n");
    const std::string file = example_file();

    std::string shown(file.size(), '\0');  // what is not shown is NUL
    std::istringstream dump(document.fences[1]);
    std::size_t lines = 0;
    for (std::string line; std::getline(dump, line); ++lines) {
        INFO(line);
        const std::size_t offset = std::stoul(line.substr(0, 8), nullptr, 16);
        REQUIRE(offset % 16 == 0);
        REQUIRE(line.size() > 61);
        std::istringstream bytes(line.substr(8, line.find('|') - 8));
        std::string content;
        for (std::string byte; bytes >> byte;) content += static_cast<char>(std::stoul(byte, nullptr, 16));
        REQUIRE(content.size() == std::min<std::size_t>(16, file.size() - offset));
        shown.replace(offset, content.size(), content);
        std::string printed = content;
        for (char& c : printed)
            if (c < 0x20 || c > 0x7e) c = '.';
        CHECK(line.substr(line.find('|')) == "|" + printed + "|");
    }
    CHECK(lines == 7);
    CHECK(shown == file);
    CHECK(kvs_test::walk_bytes(shown).ok());
    CHECK(kvs_test::walk_bytes(shown).entries.size() == 2);
}
