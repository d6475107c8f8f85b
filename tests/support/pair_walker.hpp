// A second reader of paired files, written from include/kvs/FORMAT_PAIRS.md alone: it includes no header of the
// library, and xxHash as other programs do. Takes the bytes of a file that nobody has open, and tells what is in it and
// what is wrong with it: by the last durable state, or by the last one. Slow and plain on purpose.
#pragma once

#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace kvs_test {

struct PairWalked {
    unsigned type = 0;  ///< the type byte
    std::string value;  ///< as many bytes as the byte count says
    bool operator==(const PairWalked&) const = default;
};

struct PairWalk {
    bool valid = false;  ///< there is a valid superblock
    bool clean = false;
    std::uint64_t generation = 0, durable_epoch = 0, durable_end = 0, records = 0, keys = 0, void_epoch = 0;
    std::uint64_t lone_slot = 0, lone_content = 0;
    std::uint64_t key_length = 0;
    std::uint32_t weights = 0;
    std::uint64_t checksum = 0;  ///< the number of its policy
    std::uint64_t reached = 0;
    std::map<std::string, PairWalked> entries;
    std::vector<std::string> problems;
};

class PairWalker {
public:
    explicit PairWalker(const std::string& file) : file_(file) {}

    /// The last durable state.
    PairWalk walk() {
        find_superblock();
        if (!result_.valid) return result_;
        newest_ = result_.durable_epoch;
        return walk_buckets();
    }

    /// The last state, of a file that was not closed: with all that a killed process was told is done.
    static PairWalk walk_last(std::string file) {
        PairWalker walker(file);
        walker.find_superblock();
        if (!walker.result_.valid || walker.result_.clean) return walker.result_;
        if (walker.local(274432) != (0x4b56530100000000u + 65536 * sizeof(void*) + 3)) walker.problem("another stamp");
        if (walker.local(274528) != 0) walker.problem("a flush failed");
        if (walker.local(274608) == 1) walker.apply_journal(file);
        walker.result_.durable_end = walker.local(274448);
        walker.result_.durable_epoch = std::max(walker.result_.durable_epoch, walker.local(274456));
        walker.result_.void_epoch = walker.local(274464);
        walker.result_.records = walker.local(274576);
        walker.result_.keys = walker.local(274584);
        walker.newest_ = walker.result_.durable_epoch + 1;
        return walker.walk_buckets();
    }

    static std::uint32_t crc32c(const std::string& bytes) {
        std::uint32_t crc = 0xffffffffu;
        for (const char c : bytes) {
            crc ^= static_cast<unsigned char>(c);
            for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        }
        return ~crc;
    }
    static std::uint32_t xxh3(const std::string& bytes) {
        return static_cast<std::uint32_t>(XXH3_64bits(bytes.data(), bytes.size()) & 0xffffffffu);
    }
    static std::uint32_t crc16(const std::string& bytes) {
        std::uint32_t crc = 0;
        for (const char c : bytes) {
            crc ^= static_cast<std::uint32_t>(static_cast<unsigned char>(c)) << 8;
            for (int bit = 0; bit < 8; ++bit) crc = ((crc & 0x8000) != 0 ? crc << 1 ^ 0x1021u : crc << 1) & 0xffffu;
        }
        return crc;
    }

private:
    PairWalk walk_buckets() {
        if (file_.compare(0, 4, "AKVS") != 0 || number(4, 2) != result_.key_length || number(6, 4) != result_.weights)
            problem("the header is not the superblock's");
        for (std::uint32_t bucket = 0; bucket < 65536; ++bucket) walk_bucket(bucket);
        if (torn_ != 0 && result_.reached < result_.records) problem("an index slot leads to no record");
        if (result_.reached != result_.records) problem("another number of records is reached than counted");
        if (result_.entries.size() != result_.keys) problem("another number of keys is found than counted");
        return result_;
    }

    void apply_journal(std::string& file) {
        std::uint64_t at = local(274624);
        const std::uint64_t end = at + 8 * local(274616);
        while (at < end) {
            const std::uint64_t head = local(at), to = head >> 32, count = head & 0xffffffffu;
            const bool index = to >= 10 && to + count <= 262154 && count == 4 && (to - 10) % 4 == 0;
            const bool word = count == 8 && (to == 274448 || to == 274464 || to == 274576 || to == 274584);
            if (!index && !word && to < 380928) return problem("an image goes to " + std::to_string(to));
            file.replace(to, count, file.substr(at + 8, count));
            at += 8 + (count + 7) / 8 * 8;
        }
    }
    /// A number of the shared area, which is in the order of the machine.
    std::uint64_t local(std::uint64_t offset) const {
        std::uint64_t n = 0;
        std::memcpy(&n, bytes(offset, 8).data(), 8);
        return n;
    }
    std::uint64_t number(std::uint64_t offset, unsigned width) const {
        std::uint64_t n = 0;
        for (unsigned i = 0; i < width; ++i)
            n = n << 8 | (offset + i < file_.size() ? static_cast<unsigned char>(file_[offset + i]) : 0u);
        return n;
    }
    std::string bytes(std::uint64_t offset, std::uint64_t count) const {
        std::string s = offset < file_.size() ? file_.substr(offset, count) : std::string();
        s.resize(count, '\0');
        return s;
    }
    static std::string big_endian(std::uint64_t n, unsigned width) {
        std::string s(width, '\0');
        for (unsigned i = 0; i < width; ++i) s[i] = static_cast<char>(n >> 8 * (width - 1 - i));
        return s;
    }
    static std::string padded(std::string s) {
        s.resize((s.size() + 7) / 8 * 8, '\0');
        return s;
    }
    void problem(const std::string& text) { result_.problems.push_back(text); }

    void find_superblock() {
        for (const std::uint64_t page : {266240u, 270336u, 278528u, 282624u}) {
            if (bytes(page, 8) != "AKVSPAIR" || number(page + 156, 4) != crc32c(bytes(page, 152)) ||
                number(page + 152, 4) != 0) {
                problem("the superblock at " + std::to_string(page) + " is not valid");
                continue;
            }
            if (result_.valid && number(page + 24, 8) <= result_.generation) continue;
            result_.valid = true;
            result_.checksum = number(page + 12, 1);
            result_.key_length = number(page + 16, 4);
            result_.weights = static_cast<std::uint32_t>(number(page + 20, 4));
            result_.generation = number(page + 24, 8);
            result_.durable_epoch = number(page + 32, 8);
            result_.durable_end = number(page + 40, 8);
            result_.records = number(page + 48, 8);
            result_.keys = number(page + 56, 8);
            result_.void_epoch = number(page + 64, 8);
            result_.clean = (number(page + 72, 8) & 1) != 0;
            result_.lone_slot = number(page + 136, 8);
            result_.lone_content = number(page + 144, 8);
        }
    }

    unsigned log2_of_group(std::uint32_t group) const {
        constexpr unsigned fixed[8] = {0, 1, 2, 3, 5, 8, 12, 16};
        return group < 8 ? fixed[group] : result_.weights >> 4 * (group - 8) & 15;
    }
    std::uint32_t bucket_of(const std::string& key, unsigned log2) const {
        std::uint32_t h = 2166136261u;
        for (std::size_t i = 0; i < result_.key_length; ++i)
            h = (h ^ (i < key.size() ? static_cast<unsigned char>(key[i]) : 0u)) * 16777619u;
        std::vector<std::uint32_t> groups;
        for (std::uint32_t g = 0; g < 16; ++g)
            if (log2_of_group(g) == log2) groups.push_back(g);
        return (h & 0xfff) | groups[h % groups.size()] << 12;
    }

    void walk_bucket(std::uint32_t bucket) {
        const unsigned log2 = log2_of_group(bucket >> 12);
        const std::uint64_t p = std::uint64_t{1} << log2, m = result_.key_length, s = 16 + (p + 7) / 8 * 8;
        std::uint64_t link = 10 + 4 * std::uint64_t{bucket}, lowest = 380928 + 4;
        while (const std::uint64_t o = number(link, 4)) {
            const bool may_be_torn = !result_.clean && newest_ == result_.durable_epoch;
            if (may_be_torn && o >= result_.durable_end) return;  // to a record that came later
            const std::string check = big_endian(link, 4) + big_endian(o, 4) + big_endian(bucket, 4) + big_endian(p, 4);
            if (o < lowest || o + m + 1 + 2 * s + 4 > result_.durable_end || (o + m + 1) % 8 != 0 ||
                (o & (o - 1)) == 0 || number(o - 4, 4) != crc32c(check)) {
                const bool half = o >> 16 == 0 || (o & 0xffff) == 0;
                if (may_be_torn && link < 262154 && half)
                    ++torn_;
                else
                    problem("a link of bucket " + std::to_string(bucket) + " leads to no record");
                return;
            }
            ++result_.reached;
            if (number(o + m, 1) != (0x80 | log2)) problem("a record's type byte is wrong");
            read_record(bucket, log2, o, s);
            link = o + m + 1 + 2 * s;
            lowest = link + 4 + 4;
        }
    }

    void read_record(std::uint32_t bucket, unsigned log2, std::uint64_t o, std::uint64_t s) {
        const std::uint64_t m = result_.key_length;
        std::uint64_t newest = 0, at = 0;
        for (const std::uint64_t slot : {o + m + 1, o + m + 1 + s}) {
            if (number(slot, 8) == 0) continue;
            const std::uint64_t epoch = number(slot, 5);
            if (number(slot + 6, 2) != (crc16(bytes(slot, 6)) ^ (slot / 8 & 0xffff)))
                problem("a header check is wrong at " + std::to_string(slot));
            else if (epoch > result_.durable_epoch + (result_.clean ? 0 : 1))
                problem("an epoch is too large at " + std::to_string(slot));
            else if (epoch > newest_)
                continue;  // of a value that came later
            else if (slot == result_.lone_slot && epoch == result_.durable_epoch &&
                     (number(slot + 8, 8) != result_.lone_content || !is_intact(o, slot)))
                continue;  // torn
            else if (epoch > newest && (epoch <= result_.void_epoch || is_intact(o, slot)))
                newest = epoch, at = slot;
        }
        if (newest == 0) return problem("no slot is valid at " + std::to_string(o));
        const unsigned type = static_cast<unsigned>(number(at + 5, 1));
        if (type == 0xff || newest <= result_.void_epoch) return;
        std::string key = bytes(o, m);
        key.resize(key.find_last_not_of('\0') + 1);
        if (bucket_of(key, log2) != bucket) problem("a key is in the wrong bucket at " + std::to_string(o));
        if (!result_.entries.emplace(key, PairWalked{type, bytes(at + 16, number(at + 12, 4))}).second)
            problem("a key has two records: " + key);
    }

    bool is_intact(std::uint64_t o, std::uint64_t slot) {
        const bool deleted = number(slot + 5, 1) == 0xff;
        const std::uint64_t count = number(slot + 12, 4);
        std::string covered = deleted ? big_endian(o, 8) : padded(bytes(o, result_.key_length));
        covered += bytes(slot, 8) + std::string(4, '\0') + big_endian(count, 4);
        if (!deleted) {
            const std::string value = bytes(slot + 16, (count + 7) / 8 * 8);
            if (value.find_first_not_of('\0', count) != std::string::npos)
                problem("bytes behind a value are not NUL at " + std::to_string(slot));
            covered += value;
        }
        return number(slot + 8, 4) == (result_.checksum == 2 ? xxh3(covered) : crc32c(covered));
    }

    const std::string& file_;
    std::uint64_t newest_ = 0;  ///< of the slots that count
    unsigned torn_ = 0;         ///< index slots of which a half may be missing
    PairWalk result_;
};

}  // namespace kvs_test
