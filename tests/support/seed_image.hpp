// A file of the seed format put together by hand, right or wrong. Written from the description of the format, with
// nothing of the library in it, so that a mistake in the library is not repeated here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "files.hpp"

namespace kvs_test {

class SeedImage {
public:
    static constexpr std::uint64_t records = 262154;
    static constexpr std::uint32_t usual_weights = 0xb9764332u;

    explicit SeedImage(std::size_t key_length, std::uint32_t weights = usual_weights) : key_length_(key_length) {
        bytes_ = "AKVS";
        bytes_.resize(records, '\0');
        set_number(4, 2, key_length);
        set_number(6, 4, weights);
    }

    std::string& bytes() { return bytes_; }
    std::uint64_t size() const { return bytes_.size(); }
    void write(const std::string& path) const { write_file(path, bytes_); }

    std::uint64_t number(std::uint64_t offset, unsigned count) const {
        std::uint64_t n = 0;
        for (unsigned i = 0; i < count; ++i) n = n << 8 | static_cast<unsigned char>(bytes_.at(offset + i));
        return n;
    }
    void set_number(std::uint64_t offset, unsigned count, std::uint64_t n) {
        for (unsigned i = count; i-- != 0; n >>= 8) bytes_.at(offset + i) = static_cast<char>(n & 0xff);
    }
    std::uint64_t link(std::uint64_t offset) const { return number(offset, 4); }
    void set_link(std::uint64_t offset, std::uint64_t target) { set_number(offset, 4, target); }

    static std::uint64_t slot(std::uint32_t bucket) { return 10 + 4 * std::uint64_t{bucket}; }
    std::uint64_t record_bytes(std::uint64_t value_bytes) const { return key_length_ + 1 + value_bytes + 4; }
    /// Where the link of a record lies.
    std::uint64_t next(std::uint64_t record, std::uint64_t value_bytes) const {
        return record + record_bytes(value_bytes) - 4;
    }

    std::uint32_t hash(std::string_view key) const {
        std::uint32_t h = 2166136261u;
        for (std::size_t i = 0; i < key_length_; ++i)
            h = (h ^ (i < key.size() ? static_cast<unsigned char>(key[i]) : 0u)) * 16777619u;
        return h;
    }
    std::uint64_t value_bytes_of_group(unsigned group) const {
        constexpr std::uint64_t fixed[8] = {1, 2, 4, 8, 32, 256, 4096, 65536};
        return group < 8 ? fixed[group] : std::uint64_t{1} << (number(6, 4) >> 4 * (group - 8) & 15);
    }
    /// The bucket of a key's value of `value_bytes` bytes.
    std::uint32_t bucket(std::string_view key, std::uint64_t value_bytes) const {
        std::vector<std::uint32_t> groups;
        for (unsigned group = 0; group < 16; ++group)
            if (value_bytes_of_group(group) == value_bytes) groups.push_back(group);
        if (groups.empty()) throw std::logic_error("no group has values of this length");
        const std::uint32_t h = hash(key);
        return (h & 0xfff) | groups[h % groups.size()] << 12;
    }

    /// A record at the end of the file that nothing links to.
    std::uint64_t add_loose(std::string_view key, unsigned type, std::string_view value, std::uint64_t value_bytes,
                            std::uint64_t next = 0) {
        const std::uint64_t at = size();
        bytes_.append(key).append(key_length_ - key.size(), '\0');
        bytes_.push_back(static_cast<char>(type));
        bytes_.append(value).append(value_bytes - value.size(), '\0');
        bytes_.append(4, '\0');
        set_link(size() - 4, next);
        return at;
    }
    /// A record at the end of the file, linked from the end of its bucket's chain.
    std::uint64_t add(std::string_view key, unsigned type, std::string_view value, std::uint64_t value_bytes) {
        std::uint64_t at = slot(bucket(key, value_bytes));
        while (link(at) != 0) at = next(link(at), value_bytes);
        const std::uint64_t record = add_loose(key, type, value, value_bytes);
        set_link(at, record);
        return record;
    }
    /// An i32, the type of most tests.
    std::uint64_t add_int(std::string_view key, int value) {
        std::string bytes(4, '\0');
        for (unsigned i = 0; i < 4; ++i) bytes[i] = static_cast<char>(static_cast<unsigned>(value) >> 8 * (3 - i));
        return add(key, 0x12, bytes, 4);
    }

    /// `count` different keys, at most 8 bytes long, that all go to the bucket of `key` for values of this length.
    std::vector<std::string> keys_beside(std::string_view key, std::uint64_t value_bytes, std::size_t count) const {
        std::vector<std::string> found;
        const std::uint32_t wanted = bucket(key, value_bytes);
        for (std::uint32_t n = 0; found.size() < count; ++n) {
            std::string candidate;
            for (std::uint32_t rest = n + 1; rest != 0; rest /= 52)
                candidate.push_back("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[rest % 52]);
            if (candidate.size() > key_length_ || n == UINT32_MAX) throw std::logic_error("not so many keys");
            if (candidate != key && bucket(candidate, value_bytes) == wanted) found.push_back(candidate);
        }
        return found;
    }

private:
    std::string bytes_;
    std::size_t key_length_ = 0;
};

}  // namespace kvs_test
