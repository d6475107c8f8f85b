// A second reader of the seed format, written from include/kvs/FORMAT.md alone: it includes no header of the library,
// so that both have to agree on every byte. Takes the bytes of a file and tells what is in it and all that is wrong
// with it. Slow and plain on purpose.
//
// As strict as the format is with writers: what a reader has to take all the same, such as a boolean that is neither
// 0x00 nor 0xff, is a violation here.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <ostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "files.hpp"

namespace kvs_test {

enum class Violation {
    magic,            ///< the file does not begin like a store
    key_length,       ///< not 1 to 1024
    file_size,        ///< shorter than the index, or longer than the format allows
    link_outside,     ///< a link into the header or the index, or to a record that ends behind the file
    link_not_rising,  ///< a link to something before the end of the record that it is in
    half_key,         ///< nobody's record that begins with NUL: what a killed writer can leave
    wrong_bucket,     ///< any other record that is nobody's
    type_byte,        ///< unknown, or not of this value length
    written_never,    ///< a type byte that a reader takes and a writer does not write (the old codes are none)
    padding,          ///< other bytes than NUL behind text or bytes
    value,            ///< a count that is too large, text that is not of its type, a number that is none, a boolean
    two_records,      ///< a key with more than one record
    overlap,          ///< two records share bytes, or two chains a record
};

inline const char* to_string(Violation violation) {
    constexpr const char* names[] = {"magic",    "key_length",   "file_size", "link_outside",  "link_not_rising",
                                     "half_key", "wrong_bucket", "type_byte", "written_never", "padding",
                                     "value",    "two_records",  "overlap"};
    return names[static_cast<std::size_t>(violation)];
}
inline std::ostream& operator<<(std::ostream& out, Violation violation) { return out << to_string(violation); }

struct Finding {
    Violation violation{};
    std::uint64_t offset = 0;  ///< of the link, record, byte or value in question
    std::uint32_t bucket = 0;
};

/// A key's record.
struct Walked {
    std::uint64_t offset = 0;
    std::uint32_t bucket = 0;
    std::uint64_t room = 0;  ///< the value length of the bucket
    std::uint8_t type = 0;   ///< the type byte, with its length code
    /// Of the kinds 0 to 3 the number's bytes as they are; of an old code, text and bytes without what is around them.
    std::string value;

    unsigned kind() const { return type >> 4; }
    bool is_decimal_text() const { return type == 0x20 || type == 0x21; }

    /// Of the kinds 0 to 3 but the old codes.
    std::uint64_t bits() const {
        std::uint64_t number = 0;
        for (const char byte : value) number = number << 8 | static_cast<unsigned char>(byte);
        return number;
    }
};

struct Walk {
    std::uint64_t file_bytes = 0;
    std::uint32_t key_length = 0;
    std::uint32_t weights = 0;
    std::array<std::uint64_t, 16> room_of_group{};
    std::map<std::string, Walked> entries;
    std::uint64_t records = 0;          ///< reached, with those below
    std::uint64_t deleted = 0;          ///< key field all NUL
    std::uint64_t live_end = 262154;    ///< end of the last record
    std::uint64_t unreached_bytes = 0;  ///< between records
    std::vector<Finding> findings;

    bool ok() const { return findings.empty(); }
    bool has(Violation violation) const {
        return std::any_of(findings.begin(), findings.end(),
                           [&](const Finding& f) { return f.violation == violation; });
    }

    /// The value lengths of the file, each once, shortest first.
    std::vector<std::uint64_t> lengths() const {
        std::vector<std::uint64_t> all(room_of_group.begin(), room_of_group.end());
        std::sort(all.begin(), all.end());
        all.erase(std::unique(all.begin(), all.end()), all.end());
        return all;
    }

    /// For a message: one line for each finding.
    std::string text() const {
        std::string lines;
        for (const Finding& f : findings)
            lines += std::string(to_string(f.violation)) + " at " + std::to_string(f.offset) + ", bucket " +
                     std::to_string(f.bucket) + "\n";
        return lines;
    }
};

/// The hash of a key field, and the bucket of it in a value length. `field` is padded.
inline std::uint32_t walker_hash(const std::string& field) {
    std::uint64_t h = 2166136261;
    for (const char c : field) h = ((h ^ static_cast<unsigned char>(c)) * 16777619) % 4294967296;
    return static_cast<std::uint32_t>(h);
}
inline std::uint32_t walker_bucket(std::uint32_t h, std::uint64_t room,
                                   const std::array<std::uint64_t, 16>& room_of_group) {
    std::vector<std::uint32_t> g;
    for (std::uint32_t group = 0; group < 16; ++group)
        if (room_of_group[group] == room) g.push_back(group);
    return (h & 0xfff) | g.at(h % g.size()) << 12;
}

/// True if the text is UTF-8: each character in its shortest form, no surrogates, nothing above U+10FFFF.
inline bool walker_is_utf8(const std::string& text) {
    for (std::size_t at = 0; at < text.size();) {
        const auto byte = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
        const unsigned lead = byte(at);
        const std::size_t size = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
        if (size == 0 || size > text.size() - at) return false;
        std::uint32_t point = size == 1 ? lead : lead & (0x7fu >> size);
        for (std::size_t i = 1; i < size; ++i) {
            if (byte(at + i) >> 6 != 2) return false;
            point = point << 6 | (byte(at + i) & 0x3f);
        }
        constexpr std::uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
        if (point < smallest[size] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
        at += size;
    }
    return true;
}

/// True for what FORMAT.md says about a number that is kept as text.
inline bool walker_is_decimal(std::string text) {
    if (!text.empty() && text[0] == '-') text.erase(0, 1);
    if (text == "inf" || text == "nan") return true;
    const auto digits = std::count_if(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    const auto points = std::count(text.begin(), text.end(), '.');
    return digits > 0 && points <= 1 && static_cast<std::size_t>(digits + points) == text.size();
}

class Walker {
public:
    explicit Walker(const std::string& file) : file_(file) {}

    Walk walk() {
        walk_.file_bytes = file_.size();
        if (!read_header()) return walk_;
        for (std::uint32_t bucket = 0; bucket < 65536 && !exhausted_; ++bucket) walk_chain(bucket);
        check_space();
        return walk_;
    }

private:
    struct Extent {
        std::uint64_t begin, end;
        std::uint32_t bucket;
        bool operator<(const Extent& other) const { return begin < other.begin; }
    };

    std::uint64_t number(std::uint64_t offset, unsigned bytes) const {
        std::uint64_t value = 0;
        for (unsigned i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(file_.at(offset + i));
        return value;
    }

    void find(Violation violation, std::uint64_t offset, std::uint32_t bucket = 0) {
        walk_.findings.push_back({violation, offset, bucket});
    }

    bool read_header() {
        if (file_.size() > 4294967296) find(Violation::file_size, file_.size());
        if (file_.substr(0, 4) != "AKVS")
            find(Violation::magic, 0);
        else if (file_.size() < 262154)
            find(Violation::file_size, file_.size());
        if (!walk_.ok()) return false;
        walk_.key_length = static_cast<std::uint32_t>(number(4, 2));
        walk_.weights = static_cast<std::uint32_t>(number(6, 4));
        if (walk_.key_length < 1 || walk_.key_length > 1024) find(Violation::key_length, 4);
        walk_.room_of_group = {1, 2, 4, 8, 32, 256, 4096, 65536};
        for (unsigned group = 8; group < 16; ++group)
            walk_.room_of_group[group] = std::uint64_t{1} << ((walk_.weights >> 4 * (group - 8)) & 15);
        unreached_ = file_.size() - 262154;
        return walk_.ok();
    }

    void walk_chain(std::uint32_t bucket) {
        const std::uint64_t room = walk_.room_of_group[bucket / 4096];
        const std::uint64_t record_bytes = walk_.key_length + room + 5;
        std::uint64_t link = 10 + 4 * std::uint64_t{bucket};
        std::uint64_t lowest = 262154;
        for (std::uint64_t record = number(link, 4); record != 0; record = number(link, 4)) {
            if (record < 262154 || record + record_bytes > file_.size())
                return find(Violation::link_outside, link, bucket);
            if (record < lowest) return find(Violation::link_not_rising, link, bucket);
            if (unreached_ < record_bytes) {  // chains run into each other
                exhausted_ = true;
                return find(Violation::overlap, record, bucket);
            }
            unreached_ -= record_bytes;
            read_record(record, bucket, room);
            lowest = record + record_bytes;
            link = lowest - 4;
        }
    }

    void read_record(std::uint64_t record, std::uint32_t bucket, std::uint64_t room) {
        const std::uint64_t value = record + walk_.key_length + 1;
        ++walk_.records;
        extents_.push_back({record, value + room + 4, bucket});

        const std::string field = file_.substr(record, walk_.key_length);
        std::string key = field;
        while (!key.empty() && key.back() == '\0') key.pop_back();
        if (key.empty()) {
            ++walk_.deleted;
            return;
        }
        // Padded, a key holds no NUL; else its last byte is none, and it is the whole field.
        const bool is_key = key.size() == field.size() || key.find('\0') == std::string::npos;
        if (!is_key || walker_bucket(walker_hash(field), room, walk_.room_of_group) != bucket)
            return find(field[0] == '\0' ? Violation::half_key : Violation::wrong_bucket, record, bucket);

        Walked entry{record, bucket, room, static_cast<std::uint8_t>(file_[value - 1]), file_.substr(value, room)};
        read_value(entry, value);
        if (!walk_.entries.emplace(key, entry).second) find(Violation::two_records, record, bucket);
    }

    /// Takes the value out of its field.
    void read_value(Walked& entry, std::uint64_t offset) {
        const unsigned code = entry.type & 15u;
        const unsigned kind = entry.type >> 4;
        std::string& value = entry.value;
        if (room_of_type(entry.type) != entry.room) return find(Violation::type_byte, offset - 1, entry.bucket);
        if (kind == 3 && value != std::string(1, '\0') && value != "\xff") find(Violation::value, offset, entry.bucket);
        if (kind < 4 && !entry.is_decimal_text()) return;
        if (kind >= 4 && (code == 5 || code == 8 || code == 12))
            find(Violation::written_never, offset - 1, entry.bucket);
        if (kind == 6) return read_bytes(entry, offset);

        const std::size_t size = std::min(value.find('\0'), value.size());
        check_padding(value, size, offset, entry.bucket);
        value.resize(size);
        const bool all_ascii = std::all_of(value.begin(), value.end(), [](char c) { return (c & 0x80) == 0; });
        const bool good = kind == 4 ? all_ascii : kind == 5 ? walker_is_utf8(value) : walker_is_decimal(value);
        if (!good) find(Violation::value, offset, entry.bucket);
    }

    void read_bytes(Walked& entry, std::uint64_t offset) {
        const std::uint64_t count = number(offset, 2);
        if (count > entry.room - 2) return find(Violation::value, offset, entry.bucket);
        check_padding(entry.value, static_cast<std::size_t>(2 + count), offset, entry.bucket);
        entry.value = entry.value.substr(2, static_cast<std::size_t>(count));
    }

    void check_padding(const std::string& field, std::size_t size, std::uint64_t offset, std::uint32_t bucket) {
        const std::size_t other = field.find_first_not_of('\0', size);
        if (other != std::string::npos) find(Violation::padding, offset + other, bucket);
    }

    /// The value length that a type byte stands for, 0 if it is unknown.
    static std::uint64_t room_of_type(std::uint8_t type) {
        constexpr std::uint64_t of_text[16] = {32,  256, 4096, 65536, 16,   32,   64,    128,
                                               256, 512, 1024, 2048,  4096, 8192, 16384, 32768};
        switch (type) {
            case 0x00:
            case 0x10:
            case 0x30: return 1;
            case 0x01:
            case 0x11: return 2;
            case 0x02:
            case 0x12:
            case 0x22: return 4;
            case 0x03:
            case 0x13:
            case 0x20:
            case 0x23: return 8;
            case 0x21: return 32;
            default: return type >= 0x40 && type < 0x70 ? of_text[type & 15] : 0;
        }
    }

    void check_space() {
        std::sort(extents_.begin(), extents_.end());
        for (const Extent& extent : extents_) {
            if (extent.begin < walk_.live_end)
                find(Violation::overlap, extent.begin, extent.bucket);
            else
                walk_.unreached_bytes += extent.begin - walk_.live_end;
            walk_.live_end = std::max(walk_.live_end, extent.end);
        }
    }

    const std::string& file_;
    Walk walk_;
    std::vector<Extent> extents_;
    std::uint64_t unreached_ = 0;  // bytes of the file that no record has been found in yet
    bool exhausted_ = false;
};

inline Walk walk_bytes(const std::string& file) { return Walker(file).walk(); }

inline Walk walk_file(const std::string& path) { return walk_bytes(contents_of(path)); }

}  // namespace kvs_test
