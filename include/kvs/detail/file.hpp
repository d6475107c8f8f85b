// A file of the operating system: what the platform's single calls mean, when they are repeated, and what is cleaned up
// when one fails. Closes itself.
#ifndef KVS_DETAIL_FILE_HPP
#define KVS_DETAIL_FILE_HPP

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <kvs/detail/layout.hpp>
#include <kvs/error.hpp>

namespace kvs::detail {

/// Repeats a call that a signal interrupted. Bounded, so that a system which interrupts for ever is an error and not a
/// hang.
template <class Call>
int retry(Call call) noexcept {
    int error = EINTR;
    for (int tries = 0; error == EINTR && tries < 1000; ++tries) error = call();
    return error;
}

/// True if an error says that a system has no such thing, or not for this program; not that a look at it went wrong.
constexpr bool is_lacking(int error) noexcept {
    return error == ENOENT || error == ENOTDIR || error == ENOTSUP || error == ENOSYS || error == EINVAL ||
           error == EACCES || error == EPERM;
}

/// Removes a name that was made in vain; what fails here leaves a file and nothing worse.
template <class Platform>
void remove_file(const char* path) noexcept {
    retry([&] { return Platform::remove(path); });
}

template <class Platform>
class File {
public:
    using Access = typename Platform::Access;
    using Creation = typename Platform::Creation;
    using Status = typename Platform::FileStatus;

    File() noexcept = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    ~File() { close(); }

    Failure open(const char* path, Access access, Creation creation, unsigned permissions) noexcept {
        const bool writing = access == Access::write;
        const typename Platform::ForkBarrier no_fork;
        if (int e = retry([&] { return Platform::open(path, access, creation, permissions, file_); }); e != 0) {
            file_ = Platform::no_file;
            return system_failure("the file cannot be opened", e, writing);
        }
        Failure failure = above_standard_streams();
        if (failure && creation == Creation::exclusive) remove_file<Platform>(path);
        if (!failure) Platform::close_in_children(forked_, file_);
        return failure;
    }

    bool is_open() const noexcept { return file_ != Platform::no_file; }

    void close() noexcept {
        if (!is_open()) return;
        const typename Platform::ForkBarrier no_fork;
        Platform::keep_in_children(forked_);
        Platform::close(file_);
        file_ = Platform::no_file;
    }

    Failure size(std::uint64_t& bytes) const noexcept {
        const int e = retry([&] { return Platform::size(file_, bytes); });
        return e != 0 ? system_failure("the size of the file cannot be read", e, false) : Failure{};
    }
    Failure status(Status& status) const noexcept {
        const int e = retry([&] { return Platform::status(file_, status); });
        return e != 0 ? system_failure("the state of the file cannot be read", e, false) : Failure{};
    }

    /// Takes a byte lock without waiting; a lock that somebody else has is `in_use`.
    Failure try_lock(std::uint64_t byte, typename Platform::Lock mode) noexcept { return take_lock(byte, mode, false); }

    /// The same, but waits.
    Failure lock(std::uint64_t byte, typename Platform::Lock mode) noexcept { return take_lock(byte, mode, true); }

    /// The lock that others have on a byte.
    Failure lock_of_others(std::uint64_t byte, typename Platform::Lock& mode) const noexcept {
        const int e = retry([&] { return Platform::lock_of_others(file_, byte, mode); });
        return e != 0 ? system_failure("the locks of the file cannot be read", e, false) : Failure{};
    }

    void unlock(std::uint64_t byte) noexcept {
        if (is_open()) Platform::lock(file_, byte, Platform::Lock::none, false);
    }

    Failure map(std::size_t bytes, Access access, std::byte*& base) const noexcept {
        const int e = retry([&] { return Platform::map(file_, bytes, access, base); });
        return e != 0 ? system_failure("the file cannot be mapped", e, false) : Failure{};
    }

    /// Maps the file so that what is stored to the mapping stays in this process.
    Failure map_private(std::size_t bytes, std::byte*& base) const noexcept {
        const int e = retry([&] { return Platform::map_private(file_, bytes, base); });
        return e != 0 ? system_failure("the file cannot be mapped", e, false) : Failure{};
    }

    /// See the platform's `map_again`.
    Failure map_again(std::size_t bytes, bool is_private, std::byte* base) const noexcept {
        const int e = retry([&] { return Platform::map_again(file_, bytes, is_private, base); });
        return e != 0 ? system_failure("the file cannot be mapped", e, false) : Failure{};
    }

    /// See the platform's `mount_id`; 0 too where the system does not know the question.
    Failure mount_id(std::uint64_t& id) const noexcept {
        const int e = retry([&] { return Platform::mount_id(file_, id); });
        if (e == 0) return {};
        id = 0;
        return is_lacking(e) ? Failure{} : system_failure("the mount of the file cannot be told", e, false);
    }

    /// Grows the file from `size` to `to` bytes with space behind every one of them, so that no store to the mapping
    /// can fail for want of it. All or nothing: a growth that fails is cut back.
    Failure grow(std::uint64_t size, std::uint64_t to) noexcept {
        int e = retry([&] { return Platform::allocate(file_, size, to); });
        if (e == EOPNOTSUPP || e == ENOSYS) e = write_zeros(size, to);
        if (e == 0) return {};
        retry([&] { return Platform::resize(file_, size); });
        return system_failure("the file cannot grow", e, true);
    }

    /// Makes sure that the file, of `size` bytes, has space up to `end`. Grows it ahead of need: by an eighth, so that
    /// growth costs little per record, or, on a full disk, by just what is wanted.
    Failure ensure_space(std::uint64_t& size, std::uint64_t end) noexcept {
        if (end <= size) return {};
        if (end > layout::file_limit)
            return {errc::store_full, "the file has reached the format's limit", Fact::at_most(layout::file_limit),
                    Fact::of_bytes(end)};
        constexpr std::uint64_t step = 65536;
        std::uint64_t ahead = (end + end / 8 + step - 1) / step * step;
        if (ahead > layout::file_limit) ahead = layout::file_limit;
        Failure failure = grow(size, ahead);
        if (failure.code == errc::disk_full) {
            ahead = end;
            failure = grow(size, ahead);
        }
        if (!failure) size = ahead;
        return failure;
    }

    /// Gets space for the holes a copying tool left in the file's first `size` bytes: a store to a hole on a full disk
    /// would be a bus error.
    Failure fill_holes(std::uint64_t size) noexcept {
        int e = retry([&] { return Platform::allocate(file_, 0, size); });
        if (e == EOPNOTSUPP || e == ENOSYS) e = write_holes(size);
        return e != 0 ? system_failure("the file's holes cannot be filled", e, true) : Failure{};
    }

    /// True if the system says that the file has holes in its first `size` bytes.
    bool has_holes(std::uint64_t size) const noexcept {
        std::uint64_t hole = size;
        return retry([&] { return Platform::find_hole(file_, 0, hole); }) == 0 && hole < size;
    }

    Failure resize(std::uint64_t bytes) noexcept {
        const int e = retry([&] { return Platform::resize(file_, bytes); });
        return e != 0 ? system_failure("the size of the file cannot be changed", e, true) : Failure{};
    }

    /// Brings everything stored so far to the device. Never repeated after an error, but for an interruption: the
    /// kernel may have dropped the pages and would answer a second call with success.
    Failure flush() noexcept {
        const int e = retry([&] { return Platform::flush(file_); });
        return e != 0 ? system_failure("the file cannot be flushed to the device", e, true) : Failure{};
    }

    /// Reads up to `bytes`; fewer only at the end of the file.
    Failure read(void* to, std::size_t bytes, std::uint64_t offset, std::size_t& total) const noexcept {
        for (total = 0; total < bytes;) {
            std::size_t done = 0;
            const int e = retry([&] {
                return Platform::read(file_, static_cast<std::byte*>(to) + total, bytes - total, offset + total, done);
            });
            if (e != 0) return system_failure("the file cannot be read", e, false);
            if (done == 0) break;
            total += done;
        }
        return {};
    }

    Failure write(const void* from, std::size_t bytes, std::uint64_t offset) noexcept {
        const int e = write_all(from, bytes, offset);
        return e != 0 ? system_failure("the file cannot be written", e, true) : Failure{};
    }
    /// Writes the bytes of a mapping from one offset to another, page by page. Linux may keep in its cache in one piece
    /// what was written in one, and who opens the copy and stores through a mapping makes all of the piece dirty: of
    /// copies written in mebibytes a sync of one value wrote 400 KiB, where 24 suffice.
    Failure write_mapped(const std::byte* base, std::uint64_t from, std::uint64_t to) noexcept {
        constexpr std::uint64_t page = 4096;
        for (std::uint64_t at = from; at < to; at += page)
            if (Failure failure = write(base + at, static_cast<std::size_t>((std::min)(to - at, page)), at))
                return failure;
        return {};
    }

private:
    Failure take_lock(std::uint64_t byte, typename Platform::Lock mode, bool wait) noexcept {
        const int e = retry([&] { return Platform::lock(file_, byte, mode, wait); });
        if (e == EAGAIN || e == EACCES)
            return {errc::in_use, "another handle, of this or another process, has the file open"};
        return e != 0 ? system_failure("the file cannot be locked", e, false) : Failure{};
    }

    // Descriptors 0 to 2 are the standard streams: a program that closed one and prints would write into the store.
    Failure above_standard_streams() noexcept {
        constexpr int lowest = 10;
        if (file_ >= 3) return {};
        typename Platform::File copy = Platform::no_file;
        const int e = retry([&] { return Platform::duplicate(file_, lowest, copy); });
        Platform::close(file_);
        file_ = Platform::no_file;
        if (e != 0) return system_failure("the file cannot be opened", e, false);
        file_ = copy;
        return {};
    }

    int write_all(const void* from, std::size_t bytes, std::uint64_t offset) noexcept {
        for (std::size_t total = 0; total < bytes;) {
            std::size_t done = 0;
            const int e = retry([&] {
                return Platform::write(file_, static_cast<const std::byte*>(from) + total, bytes - total,
                                       offset + total, done);
            });
            if (e != 0) return e;
            if (done == 0) return EIO;
            total += done;
        }
        return 0;
    }

    int write_zeros(std::uint64_t from, std::uint64_t to) noexcept {
        static constexpr std::byte zeros[16384] = {};
        while (from < to) {
            const std::uint64_t piece = to - from < sizeof zeros ? to - from : sizeof zeros;
            if (const int e = write_all(zeros, static_cast<std::size_t>(piece), from); e != 0) return e;
            from += piece;
        }
        return 0;
    }

    // A hole reaches at least to the end of its 512-byte sector, so zeros there change nothing but the space.
    int write_holes(std::uint64_t size) noexcept {
        constexpr std::uint64_t sector = 512;
        for (std::uint64_t at = 0; at < size;) {
            std::uint64_t hole = size;
            const int e = retry([&] { return Platform::find_hole(file_, at, hole); });
            if (e == EINVAL || e == EOPNOTSUPP) return 0;  // no way to tell: no holes that anyone knows of
            if (e != 0) return e;
            if (hole >= size) return 0;
            const std::uint64_t end = (hole / sector + 1) * sector;
            at = end < size ? end : size;
            if (const int error = write_zeros(hole, at); error != 0) return error;
        }
        return 0;
    }

    typename Platform::File file_ = Platform::no_file;
    typename Platform::ForkedFile forked_;
};

/// A path goes to the system as text that ends with a NUL.
inline Failure check_path(std::string_view path) noexcept {
    if (!path.empty() && path.find('\0') == std::string_view::npos) return {};
    return {errc::not_found, "a path is not empty and holds no NUL byte"};
}

/// The directory that holds a path's last component.
inline std::string directory_of(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string_view::npos) return ".";
    return std::string(path.substr(0, slash == 0 ? 1 : slash));
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_FILE_HPP
