// Where a file is: in which run of the machine, and in which mounted file system. Memory that processes share through a
// file is worth something only there [superblock].
#ifndef KVS_DETAIL_PLACE_POSIX_HPP
#define KVS_DETAIL_PLACE_POSIX_HPP

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__APPLE__)
#include <sys/sysctl.h>
#include <sys/time.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#endif

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

namespace kvs::detail {

/// A part of the platform. Its functions return 0 or an errno value.
struct PosixPlace {
    /// A number of 128 bits that is another one after every start of the machine. Where the system has no such thing,
    /// the time of the start; ENOTSUP where it has neither.
    static int boot_id(std::uint64_t (&id)[2]) noexcept {
#if defined(__linux__)
        const int file = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        if (file < 0) return errno;
        char text[64] = {};
        const ssize_t bytes = ::read(file, text, sizeof text - 1);
        const int error = bytes < 0 ? errno : 0;
        ::close(file);
        if (error != 0) return error;
        unsigned digits = 0;
        for (const char c : text) {
            const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (digit < 0 || digits == 32) continue;
            std::uint64_t& half = id[digits++ / 16];
            half = half << 4 | static_cast<unsigned>(digit);
        }
        return digits == 32 ? 0 : ENOTSUP;
#elif defined(__APPLE__)
        timeval start{};
        std::size_t size = sizeof start;
        if (::sysctlbyname("kern.boottime", &start, &size, nullptr, 0) != 0) return errno;
        id[0] = static_cast<std::uint64_t>(start.tv_sec);
        id[1] = static_cast<std::uint64_t>(start.tv_usec);
        return 0;
#else
        return ENOTSUP;
#endif
    }

    /// A number of the mounted file system that the file is on, never given out twice between two starts of the
    /// machine: a medium that was pulled out and put back is mounted anew. 0 where the system has none.
    ///
    /// On Linux ext4, XFS and F2FS have a directory in sysfs for each that is mounted, and its inode number is used
    /// once. Of other file systems, the number of the mount is taken (since Linux 6.8). That is another one in every
    /// mount namespace, so that who is started again in a new one does not know the place; therefore it comes second.
    static int mount_id([[maybe_unused]] int file, std::uint64_t& id) noexcept {
        id = 0;
#if defined(__linux__)
        const int error = file_system_id(file, id);
        return error != 0 || id != 0 ? error : mount_number(file, id);
#else
        return 0;
#endif
    }

private:
#if defined(__linux__)
    /// Its name in sysfs, by its number (linux/magic.h); null for others.
    static const char* name_of_type(unsigned long type) noexcept {
        switch (type) {
            case 0xef53: return "ext4";  // of ext2 and ext3 too: they are mounted by its code, or have no directory
            case 0x58465342: return "xfs";
            case 0xf2f52010: return "f2fs";
            default: return nullptr;
        }
    }
    /// True for an error that says that there is no such thing.
    static bool is_absent(int error) noexcept {
        return error == ENOENT || error == ENOTDIR || error == EACCES || error == EPERM || error == EINVAL ||
               error == ENOSYS;
    }
    static int file_system_id(int file, std::uint64_t& id) noexcept {
        struct statfs system {};
        struct stat status {};
        if (::fstatfs(file, &system) != 0 || ::fstat(file, &status) != 0) return is_absent(errno) ? 0 : errno;
        const char* type = name_of_type(static_cast<unsigned long>(system.f_type) & 0xffffffffu);
        if (type == nullptr) return 0;
        char path[320];
        std::snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(status.st_dev), minor(status.st_dev));
        char device[256];
        const ssize_t length = ::readlink(path, device, sizeof device - 1);
        if (length < 0) return is_absent(errno) ? 0 : errno;
        device[length] = '\0';
        const char* slash = std::strrchr(device, '/');
        std::snprintf(path, sizeof path, "/sys/fs/%s/%s", type, slash != nullptr ? slash + 1 : device);
        if (::stat(path, &status) != 0) return is_absent(errno) ? 0 : errno;
        constexpr std::uint64_t no_mount = std::uint64_t{1} << 63;  // these numbers and those of mounts are not mixed
        id = no_mount | static_cast<std::uint64_t>(status.st_ino);
        return 0;
    }
    /// The call by its number and its answer by offsets: whether a library knows the field yet must not decide what a
    /// file is told.
    static int mount_number(int file, std::uint64_t& id) noexcept {
#if defined(SYS_statx)
        constexpr long call = SYS_statx;
#elif defined(__x86_64__)
        constexpr long call = 332;
#else
        constexpr long call = 291;  // of all architectures that came later
#endif
        constexpr unsigned unique = 0x4000;  // STATX_MNT_ID_UNIQUE
        struct {
            std::uint32_t mask;
            std::uint32_t other_fields[35];
            std::uint64_t mount;
            std::uint64_t more_fields[13];
        } answer{};
        static_assert(offsetof(decltype(answer), mount) == 144 && sizeof answer == 256);
        if (::syscall(call, file, "", AT_EMPTY_PATH, unique, &answer) != 0) return errno;
        if ((answer.mask & unique) != 0) id = answer.mount;
        return 0;
    }
#endif
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PLACE_POSIX_HPP
