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

    /// Where the file is mounted: a medium that was pulled out and put back is mounted anew. Two numbers, each never
    /// given out twice between two starts of the machine, and each enough to know the place again (`is_same_mount`):
    ///
    ///   upper 32 bits  of the file system: ext4, XFS and F2FS on Linux have a directory in sysfs for each that is
    ///                  mounted, whose inode number is that (since Linux 4.14, when it ceased to be used again at
    ///                  once); for who is started again in another mount namespace, in which the mounts have other
    ///                  numbers
    ///   lower 32 bits  of the mount (since Linux 6.8); for other file systems, and for who cannot look at sysfs
    ///
    /// 0 where the system has none.
    static int mount_id([[maybe_unused]] int file, std::uint64_t& id) noexcept {
        id = 0;
#if defined(__linux__)
        std::uint32_t system = 0, mount = 0;
        if (const int error = file_system_number(file, system); error != 0) return error;
        if (const int error = mount_number(file, mount); error != 0) return error;
        id = std::uint64_t{system} << 32 | mount;
#endif
        return 0;
    }

private:
#if defined(__linux__)
    /// 0 for an error that says that there is nothing to be known; the others pass by.
    static int unless_absent(int error) noexcept {
        return error == EINTR || error == ENOMEM || error == EMFILE || error == ENFILE ? error : 0;
    }
    /// The type's name in sysfs, by its number (linux/magic.h); null for others.
    static const char* name_of_type(unsigned long type) noexcept {
        switch (type) {
            case 0xef53: return "ext4";  // of ext2 and ext3 too, which its code mounts
            case 0x58465342: return "xfs";
            case 0xf2f52010: return "f2fs";
            default: return nullptr;
        }
    }
    static int file_system_number(int file, std::uint32_t& number) noexcept {
        struct statfs system {};
        struct stat status {};
        if (::fstatfs(file, &system) != 0 || ::fstat(file, &status) != 0) return unless_absent(errno);
        const char* type = name_of_type(static_cast<unsigned long>(system.f_type) & 0xffffffffu);
        if (type == nullptr) return 0;
        // As the macros major and minor have it. Their header would be in every program that includes this one.
        const auto device = static_cast<std::uint64_t>(status.st_dev);
        const auto major_number = static_cast<unsigned>((device >> 8 & 0xfff) | (device >> 32 & ~std::uint64_t{0xfff}));
        const auto minor_number = static_cast<unsigned>((device & 0xff) | (device >> 12 & ~std::uint64_t{0xff}));
        char path[320];
        std::snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major_number, minor_number);
        char name[256];
        const ssize_t length = ::readlink(path, name, sizeof name - 1);
        if (length < 0) return unless_absent(errno);
        name[length] = '\0';
        const char* slash = std::strrchr(name, '/');
        std::snprintf(path, sizeof path, "/sys/fs/%s/%s", type, slash != nullptr ? slash + 1 : name);
        if (::stat(path, &status) != 0) return unless_absent(errno);
        number = static_cast<std::uint32_t>(status.st_ino);
        return 0;
    }
    /// The call by its number and its answer by offsets: whether a library knows the field yet must not decide what a
    /// file is told.
    static int mount_number(int file, std::uint32_t& number) noexcept {
#if defined(SYS_statx)
        constexpr long call = SYS_statx;
#elif defined(__x86_64__)
        constexpr long call = 332;
#elif defined(__aarch64__) || defined(__riscv)
        constexpr long call = 291;
#else
        constexpr long call = -1;
#endif
        constexpr unsigned unique = 0x4000;  // STATX_MNT_ID_UNIQUE
        struct {
            std::uint32_t mask;
            std::uint32_t other_fields[35];
            std::uint64_t mount;
            std::uint64_t more_fields[13];
        } answer{};
        static_assert(offsetof(decltype(answer), mount) == 144 && sizeof answer == 256);
        if (call < 0) return 0;
        if (::syscall(call, file, "", AT_EMPTY_PATH, unique, &answer) != 0) return unless_absent(errno);
        if ((answer.mask & unique) != 0) number = static_cast<std::uint32_t>(answer.mount);
        return 0;
    }
#endif
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PLACE_POSIX_HPP
