// The bytes of files, past the library.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace kvs_test {

/// All bytes of a file.
inline std::string contents_of(const std::string& path) {
    std::string bytes;
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) throw std::runtime_error("cannot read " + path);
    std::size_t total = 0;
    for (ssize_t done = 1; done > 0; total += done > 0 ? static_cast<std::size_t>(done) : 0) {
        if (total == bytes.size()) bytes.resize(total + (std::size_t{1} << 19));
        done = ::read(file, bytes.data() + total, bytes.size() - total);
    }
    ::close(file);
    bytes.resize(total);
    return bytes;
}

/// Gives a file these bytes and its length; its pages are written over, which is quicker than making new ones.
inline void write_file(const std::string& path, std::string_view bytes) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    std::size_t total = 0;
    while (file >= 0 && total < bytes.size()) {
        const ssize_t done = ::write(file, bytes.data() + total, bytes.size() - total);
        if (done <= 0) break;
        total += static_cast<std::size_t>(done);
    }
    const bool good = file >= 0 && total == bytes.size() && ::ftruncate(file, static_cast<off_t>(total)) == 0;
    if (file >= 0) ::close(file);
    if (!good) throw std::runtime_error("cannot write " + path);
}

/// Writes over some bytes of a file.
inline void change_file(const std::string& path, std::uint64_t offset, std::string_view bytes) {
    const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    const ssize_t done = file < 0 ? -1 : ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (file >= 0) ::close(file);
    if (done < 0 || static_cast<std::size_t>(done) != bytes.size()) throw std::runtime_error("cannot write " + path);
}

/// Flips one bit of a file.
inline void flip(const std::string& path, std::uint64_t offset, unsigned bit = 0) {
    const std::string file = contents_of(path);
    change_file(path, offset, std::string(1, static_cast<char>(file.at(offset) ^ (1 << bit))));
}

/// A word of the shared area, in the machine's order, as bytes.
inline std::string raw(std::uint64_t word) { return {reinterpret_cast<const char*>(&word), sizeof word}; }

/// The word of the shared area at `offset`.
inline std::uint64_t word_at(const std::string& path, std::uint64_t offset) {
    std::uint64_t word = 0;
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const ssize_t done = file < 0 ? -1 : ::pread(file, &word, sizeof word, static_cast<off_t>(offset));
    if (file >= 0) ::close(file);
    if (done != static_cast<ssize_t>(sizeof word)) throw std::runtime_error("cannot read " + path);
    return word;
}

}  // namespace kvs_test
