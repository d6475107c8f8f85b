// The seed format once more, written from FORMAT.md alone and as plainly as possible: what the fuzz target forges files
// with and what it believes them to hold. It shares no code with the library.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <kvs/type.hpp>

namespace kvs_fuzz {

inline constexpr std::uint64_t records_offset = 262154;
inline constexpr std::uint64_t file_limit = std::uint64_t{1} << 32;

/// A value as the format sees it; `bits` of numbers (as many as the type has), `payload` of text and bytes.
struct Datum {
    kvs::Type type{};
    std::uint64_t bits = 0;
    std::string payload;
    bool operator==(const Datum&) const = default;
};

/// Where things are in a file of this key length and these weights.
struct Format {
    std::size_t key_length;
    std::array<unsigned, 16> length_of_group;  // logarithms

    Format(std::size_t keys, std::uint32_t weights) : key_length(keys), length_of_group{0, 1, 2, 3, 5, 8, 12, 16} {
        for (unsigned i = 0; i < 8; ++i) length_of_group[8 + i] = weights >> 4 * i & 15;
    }

    std::uint64_t record_bytes(unsigned length) const { return key_length + 1 + (std::uint64_t{1} << length) + 4; }

    std::uint32_t hash(std::string_view key) const {
        std::uint32_t h = 2166136261u;
        for (std::size_t i = 0; i < key_length; ++i)
            h = (h ^ (i < key.size() ? static_cast<unsigned char>(key[i]) : 0u)) * 16777619u;
        return h;
    }

    /// The bucket of a key for values of a length that the store has.
    std::uint32_t bucket(std::string_view key, unsigned length) const {
        std::vector<std::uint32_t> groups;
        for (std::uint32_t g = 0; g < 16; ++g)
            if (length_of_group[g] == length) groups.push_back(g);
        const std::uint32_t h = hash(key);
        return (h & 0xfff) | groups[h % groups.size()] << 12;
    }

    bool has(unsigned length) const {
        return std::find(length_of_group.begin(), length_of_group.end(), length) != length_of_group.end();
    }

    /// The length in which a value belongs; nothing if it is too long.
    std::optional<unsigned> length_for(const Datum& datum) const {
        if (datum.type < kvs::Type::ascii) return static_cast<unsigned>(datum.type) & 15;
        const std::size_t bytes = datum.payload.size() + (datum.type == kvs::Type::bytes ? 2 : 0);
        for (unsigned length = 4; length <= 16; ++length)
            if (has(length) && bytes <= std::size_t{1} << length) return length;
        return std::nullopt;
    }
};

/// The type byte and the value field of a datum in a record of this length.
inline std::uint8_t type_byte(kvs::Type type, unsigned length) {
    const auto kind = static_cast<std::uint8_t>(type);
    if (type < kvs::Type::ascii) return kind;
    switch (length) {
        case 5: return kind;
        case 8: return kind | 1;
        case 12: return kind | 2;
        case 16: return kind | 3;
        default: return static_cast<std::uint8_t>(kind | length);
    }
}

inline std::string field(const Datum& datum, unsigned length) {
    std::string bytes;
    if (datum.type < kvs::Type::ascii) {
        const unsigned width = 1u << (static_cast<unsigned>(datum.type) & 15);
        for (unsigned i = 0; i < width; ++i) bytes.push_back(static_cast<char>(datum.bits >> 8 * (width - 1 - i)));
    } else {
        if (datum.type == kvs::Type::bytes) {
            bytes.push_back(static_cast<char>(datum.payload.size() >> 8));
            bytes.push_back(static_cast<char>(datum.payload.size()));
        }
        bytes += datum.payload;
    }
    bytes.resize(std::size_t{1} << length, '\0');
    return bytes;
}

/// A file: some bytes, and NULs up to its size.
struct Image {
    std::vector<std::uint8_t> bytes;
    std::uint64_t size = 0;

    std::uint8_t at(std::uint64_t offset) const { return offset < bytes.size() ? bytes[offset] : std::uint8_t{0}; }
    std::uint64_t number(std::uint64_t offset, unsigned width) const {
        std::uint64_t n = 0;
        for (unsigned i = 0; i < width; ++i) n = n << 8 | at(offset + i);
        return n;
    }
    std::string text(std::uint64_t offset, std::size_t length) const {
        std::string s(length, '\0');
        for (std::size_t i = 0; i < length; ++i) s[i] = static_cast<char>(at(offset + i));
        return s;
    }
    void put(std::uint64_t offset, std::string_view s) {
        for (std::size_t i = 0; i < s.size() && offset + i < bytes.size(); ++i)
            bytes[offset + i] = static_cast<std::uint8_t>(s[i]);
    }
    void put_number(std::uint64_t offset, unsigned width, std::uint64_t n) {
        for (unsigned i = 0; i < width && offset + i < bytes.size(); ++i)
            bytes[offset + i] = static_cast<std::uint8_t>(n >> 8 * (width - 1 - i));
    }
};

/// A record that some chain leads to.
struct Record {
    std::uint64_t offset;
    std::uint32_t bucket;
    unsigned length;
    std::string key;  // without padding; empty if it is deleted or no key of this bucket
    bool deleted;
};

/// What a file holds.
struct Contents {
    std::vector<Record> records;
    std::size_t damaged_chains = 0;  // that have a link which cannot be followed
    bool dangling = false;           // one of them leads beyond the end of the file
    bool overlap = false;            // records share bytes; `records` may be incomplete then
    std::uint64_t last_end = records_offset;
    std::size_t keys = 0;
    std::map<std::string, std::vector<std::size_t>> by_key;  // a key's records
};

/// The value of a record; nothing if the type byte is unknown or wrong for the length, the byte count too large, or the
/// value is one of the original program's decimal texts.
inline std::optional<Datum> read_value(const Image& image, const Format& format, const Record& record) {
    const unsigned byte = image.at(record.offset + format.key_length);
    const std::uint64_t at = record.offset + format.key_length + 1;
    const unsigned kind = byte >> 4, low = byte & 15;
    Datum datum;
    if (kind <= 3) {
        const bool known = kind <= 1 ? low <= 3 : kind == 2 ? low == 2 || low == 3 : low == 0;
        if (!known || low != record.length) return std::nullopt;
        datum.type = static_cast<kvs::Type>(byte);
        datum.bits = image.number(at, 1u << low);
        if (kind == 3 && datum.bits != 0) datum.bits = 0xff;
        return datum;
    }
    if (kind > 6) return std::nullopt;
    constexpr unsigned named[4] = {5, 8, 12, 16};
    if ((low < 4 ? named[low] : low) != record.length) return std::nullopt;
    datum.type = static_cast<kvs::Type>(kind << 4);
    const std::size_t room = std::size_t{1} << record.length;
    if (datum.type == kvs::Type::bytes) {
        const std::uint64_t count = room >= 2 ? image.number(at, 2) : 0;
        if (room < 2 || count > room - 2) return std::nullopt;
        datum.payload = image.text(at + 2, count);
    } else {
        datum.payload = image.text(at, room);
        datum.payload.resize(std::min(datum.payload.find('\0'), room));
    }
    return datum;
}

/// The buckets whose index slot is not 0. Compares whole blocks first: nearly all slots are 0, and the fuzzer comes
/// here in every run.
inline std::vector<std::uint32_t> used_buckets(const Image& image) {
    [[maybe_unused]] static constexpr std::uint8_t zeros[4096] = {};
    const std::uint64_t end = std::min<std::uint64_t>(image.bytes.size(), records_offset);
    std::vector<std::uint32_t> used;
    const auto look = [&](auto self, std::uint64_t from, std::uint64_t bytes) -> void {
        const std::uint64_t to = std::min(from + bytes, end);
        if (from >= to || std::memcmp(&image.bytes[from], zeros, to - from) == 0) return;
        if (bytes == 4) return used.push_back(static_cast<std::uint32_t>((from - 10) / 4));
        const std::uint64_t piece = bytes == 4096 ? 64 : 4;
        for (std::uint64_t at = from; at < to; at += piece) self(self, at, piece);
    };
    for (std::uint64_t at = 10; at < end; at += 4096) look(look, at, 4096);
    return used;
}

/// Walks every chain of a file whose header is good and whose index is whole.
inline Contents read_contents(const Image& image, const Format& format) {
    Contents contents;
    std::uint64_t bytes_reached = 0;
    for (const std::uint32_t bucket : used_buckets(image)) {
        const unsigned length = format.length_of_group[bucket >> 12];
        const std::uint64_t record_bytes = format.record_bytes(length);
        std::uint64_t lowest = records_offset;
        for (std::uint64_t link = 10 + 4 * std::uint64_t{bucket};;) {
            const std::uint64_t record = image.number(link, 4);
            if (record == 0) break;
            if (record < lowest || record + record_bytes > image.size) {
                ++contents.damaged_chains;
                contents.dangling |= record >= lowest;
                break;
            }
            bytes_reached += record_bytes;
            if (bytes_reached > image.size - records_offset) {
                contents.overlap = true;
                return contents;
            }
            std::string key = image.text(record, format.key_length);
            key.resize(key.find_last_not_of('\0') + 1);
            const bool deleted = key.empty();
            // Shorter than the key length, a key holds no NUL; and it stands in its own bucket.
            const bool full = key.size() == format.key_length;
            if (!full && key.find('\0') != std::string::npos) key.clear();
            if (!key.empty() && format.bucket(key, length) != bucket) key.clear();
            if (!key.empty()) {
                ++contents.keys;
                contents.by_key[key].push_back(contents.records.size());
            }
            contents.records.push_back({record, bucket, length, std::move(key), deleted});
            lowest = record + record_bytes;
            contents.last_end = std::max(contents.last_end, lowest);
            link = lowest - 4;
        }
    }
    std::vector<Record> sorted = contents.records;
    std::sort(sorted.begin(), sorted.end(), [](const Record& a, const Record& b) { return a.offset < b.offset; });
    for (std::size_t i = 1; i < sorted.size(); ++i)
        if (sorted[i - 1].offset + format.record_bytes(sorted[i - 1].length) > sorted[i].offset)
            contents.overlap = true;
    return contents;
}

}  // namespace kvs_fuzz
