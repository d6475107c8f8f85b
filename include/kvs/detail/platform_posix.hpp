// The operating system, POSIX: with bus_errors_posix.hpp and place_posix.hpp the only file that includes a system
// header.
//
// Every function is one system call (or the smallest group that has one meaning), returns 0 or an errno value, never
// throws, never retries and keeps no state. `on_store` is told of every change of mapped bytes, one call for each
// machine store: that is the seam at which tests record, cut and reorder. It costs nothing here, because it is empty.
#ifndef KVS_DETAIL_PLATFORM_POSIX_HPP
#define KVS_DETAIL_PLATFORM_POSIX_HPP

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#endif
#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include <kvs/detail/bus_errors_posix.hpp>
#include <kvs/detail/incidents.hpp>
#include <kvs/detail/lost_pages.hpp>
#include <kvs/detail/place_posix.hpp>

namespace kvs::detail {

static_assert(sizeof(std::size_t) >= 8, "kvs: the whole file is mapped at once, which takes 64-bit addresses.");
static_assert(sizeof(off_t) >= 8, "kvs: files of 4 GiB need a 64-bit off_t. Compile with -D_FILE_OFFSET_BITS=64.");

/// What a fork has to know. The child of a fork has copies of all descriptors and mappings, and a byte lock is freed by
/// the kernel when the last of them is gone: a child that kept its copies would keep the locks of a parent that died.
/// So before anything else runs in it, it closes those descriptors, and has NULs in place of those mappings: the
/// parent's handles, which do nothing there, still have memory where they look.
class Forks {
public:
    /// An open file of a store, known from `add` to `remove`.
    struct File {
        int* descriptor = nullptr;
        File* next = nullptr;
        File* previous = nullptr;
    };

    /// Counts the forks that this process came out of as the child: a handle whose number is another belongs to a
    /// parent.
    static unsigned count() noexcept { return Incidents::forks(); }

    static int watch() noexcept {
        static const int error = ::pthread_atfork([] { ::pthread_mutex_lock(&mutex_); },
                                                  [] { ::pthread_mutex_unlock(&mutex_); }, &Forks::be_child);
        return error;
    }
    /// No fork comes between what is done while one lives: opening a file and `add`, `remove` and closing it; mapping
    /// one and noting that, and the reverse.
    class Barrier {
    public:
        Barrier() noexcept { ::pthread_mutex_lock(&mutex_); }
        Barrier(const Barrier&) = delete;
        Barrier& operator=(const Barrier&) = delete;
        ~Barrier() { ::pthread_mutex_unlock(&mutex_); }
    };
    /// Behind a `Barrier`.
    static void add(File& file, int& descriptor) noexcept {
        file = {&descriptor, first_, nullptr};
        if (first_ != nullptr) first_->previous = &file;
        first_ = &file;
    }
    static void remove(File& file) noexcept {
        if (file.next != nullptr) file.next->previous = file.previous;
        if (file.previous != nullptr) file.previous->next = file.next;
        if (first_ == &file) first_ = file.next;
        file = {};
    }

private:
    static void be_child() noexcept {
        Incidents::add_fork();
        while (first_ != nullptr) {
            File& file = *first_;
            first_ = file.next;
            ::close(*file.descriptor);
            *file.descriptor = -1;
            file = {};
        }
        MappingNotes::visit_all(drop_mapping);
        ::pthread_mutex_unlock(&mutex_);
    }
    static void drop_mapping(void* begin, std::size_t bytes) noexcept {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
#if defined(MAP_NORESERVE)
        flags |= MAP_NORESERVE;
#endif
        // If it fails, the parent's pages stay: nothing is done there, but a dead parent's locks are kept.
        static_cast<void>(::mmap(begin, bytes, PROT_READ | PROT_WRITE, flags, -1, 0));
    }

    static inline pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    static inline File* first_ = nullptr;
};

struct PosixPlatform : PosixPlace {
    using KvsPlatform = void;  ///< marks a platform among the policies of a store
    using File = int;
    static constexpr File no_file = -1;

    enum class Access : std::uint8_t { read, write };
    enum class Creation : std::uint8_t { never, if_absent, exclusive };
    enum class Lock : std::uint8_t { none, shared, exclusive };

    /// What makes two paths the same file.
    struct FileId {
        std::uint64_t device = 0;
        std::uint64_t inode = 0;
        bool operator==(const FileId&) const = default;
    };
    struct FileStatus {
        FileId id;
        std::uint64_t bytes = 0;
        unsigned permissions = 0;  ///< mode bits
        bool regular = false;      ///< false for directories, devices, pipes
    };

    // ---- files -----------------------------------------------------------------------------------------------------

    /// Opens without blocking on a pipe and without leaking into a program that is executed.
    static int open(const char* path, Access access, Creation creation, unsigned permissions, File& file) noexcept {
        int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (access == Access::write ? O_RDWR : O_RDONLY);
        if (creation != Creation::never) flags |= O_CREAT;
        if (creation == Creation::exclusive) flags |= O_EXCL;
        file = ::open(path, flags, static_cast<mode_t>(permissions));
        return file < 0 ? errno : 0;
    }
    static int close(File file) noexcept { return ::close(file) != 0 ? errno : 0; }

    /// A second descriptor of the same open file, numbered `lowest` or higher.
    static int duplicate(File file, int lowest, File& copy) noexcept {
        copy = ::fcntl(file, F_DUPFD_CLOEXEC, lowest);
        return copy < 0 ? errno : 0;
    }
    /// How long the file is. Not by `fstat`: since Linux 6.13 a file whose times were asked for gets finer ones at its
    /// next change, and the next flush writes them: one more page for each sync of one value, 180 us in place of 110.
    static int size(File file, std::uint64_t& bytes) noexcept {
        const off_t end = ::lseek(file, 0, SEEK_END);
        bytes = end < 0 ? 0 : static_cast<std::uint64_t>(end);
        return end < 0 ? errno : 0;
    }
    static int status(File file, FileStatus& status) noexcept {
        struct stat s {};
        if (::fstat(file, &s) != 0) return errno;
        status = status_from(s);
        return 0;
    }
    static int status_of_path(const char* path, FileStatus& status) noexcept {
        struct stat s {};
        if (::stat(path, &s) != 0) return errno;
        status = status_from(s);
        return 0;
    }
    /// Gets space for the bytes [from, to), growing the file and filling its holes; the bytes that are there stay.
    /// EOPNOTSUPP where the system or the file system has no such call. On failure the file may have grown.
    static int allocate([[maybe_unused]] File file, [[maybe_unused]] std::uint64_t from,
                        [[maybe_unused]] std::uint64_t to) noexcept {
#if defined(__linux__)
        return ::fallocate(file, 0, static_cast<off_t>(from), static_cast<off_t>(to - from)) != 0 ? errno : 0;
#else
        return EOPNOTSUPP;
#endif
    }
    /// The first byte at or after `from` that lies in a hole; the end of the file if there is none. `EINVAL` where the
    /// system cannot tell.
    static int find_hole([[maybe_unused]] File file, [[maybe_unused]] std::uint64_t from,
                         [[maybe_unused]] std::uint64_t& hole) noexcept {
#if defined(SEEK_HOLE)
        const off_t at = ::lseek(file, static_cast<off_t>(from), SEEK_HOLE);
        if (at < 0) return errno;
        hole = static_cast<std::uint64_t>(at);
        return 0;
#else
        return EINVAL;
#endif
    }
    static int resize(File file, std::uint64_t bytes) noexcept {
        return ::ftruncate(file, static_cast<off_t>(bytes)) != 0 ? errno : 0;
    }
    static int read(File file, void* to, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        const ssize_t n = ::pread(file, to, bytes, static_cast<off_t>(offset));
        done = n < 0 ? 0 : static_cast<std::size_t>(n);
        return n < 0 ? errno : 0;
    }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        const ssize_t n = ::pwrite(file, from, bytes, static_cast<off_t>(offset));
        done = n < 0 ? 0 : static_cast<std::size_t>(n);
        return n < 0 ? errno : 0;
    }
    static int rename(const char* from, const char* to) noexcept { return ::rename(from, to) != 0 ? errno : 0; }
    /// The same to a name that nobody has, else EEXIST. EINVAL, ENOSYS or ENOTSUP where there is no such thing.
    static int rename_to_free([[maybe_unused]] const char* from, [[maybe_unused]] const char* to) noexcept {
#if defined(__linux__) && defined(SYS_renameat2)
        constexpr unsigned no_replace = 1;  // RENAME_NOREPLACE, which some libraries do not name
        return ::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, no_replace) != 0 ? errno : 0;
#elif defined(__APPLE__)
        return ::renamex_np(from, to, RENAME_EXCL) != 0 ? errno : 0;
#else
        return ENOTSUP;
#endif
    }
    static int remove(const char* path) noexcept { return ::unlink(path) != 0 ? errno : 0; }

    // ---- durability ------------------------------------------------------------------------------------------------

    /// Brings the whole file to the device: data, and the size needed to read it back. On macOS fsync stops at the
    /// drive's cache; only F_FULLFSYNC goes through, and file systems that do not know it get fsync.
    static int flush(File file) noexcept {
#if defined(__APPLE__)
        if (::fcntl(file, F_FULLFSYNC) == 0) return 0;
        return ::fsync(file) != 0 ? errno : 0;
#else
        return ::fdatasync(file) != 0 ? errno : 0;
#endif
    }
    /// Makes the names in a directory durable. A file system that cannot (EINVAL) keeps them durable by itself.
    static int flush_directory(const char* path) noexcept {
        const int directory = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0) return errno;
        int error = ::fsync(directory) != 0 ? errno : 0;
        if (error == EINVAL) error = 0;
        ::close(directory);
        return error;
    }

    // ---- memory ----------------------------------------------------------------------------------------------------

    /// Maps `bytes` of address space onto the file from its start, shared; the file may be shorter and grow later.
    static int map(File file, std::size_t bytes, Access access, std::byte*& base) noexcept {
        const int protection = access == Access::write ? PROT_READ | PROT_WRITE : PROT_READ;
#if defined(MAP_NORESERVE)
        void* address = ::mmap(nullptr, bytes, protection, MAP_SHARED | MAP_NORESERVE, file, 0);
#else
        void* address = ::mmap(nullptr, bytes, protection, MAP_SHARED, file, 0);
#endif
        if (address == MAP_FAILED) return errno;
        base = static_cast<std::byte*>(address);
        return 0;
    }
    static int unmap(std::byte* base, std::size_t bytes) noexcept { return ::munmap(base, bytes) != 0 ? errno : 0; }

    /// Told after each machine store to mapped bytes. Empty; a test's platform hides it.
    static void on_store(const std::byte* /*at*/, std::size_t /*bytes*/) noexcept {}

    /// The same for `bytes` that are read from the file, but whose changes stay in this process.
    static int map_private(File file, std::size_t bytes, std::byte*& base) noexcept {
        int flags = MAP_PRIVATE;
#if defined(MAP_NORESERVE)
        flags |= MAP_NORESERVE;
#endif
        void* address = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, flags, file, 0);
        if (address == MAP_FAILED) return errno;
        base = static_cast<std::byte*>(address);
        return 0;
    }

    /// From now on, a page of a noted mapping (lost_pages.hpp) that cannot be had is a page of NULs, and noted.
    static int catch_bus_errors() noexcept { return BusErrors::install(); }
    /// True once that happened to any mapping of this process.
    static bool has_lost_pages() noexcept { return Incidents::has_lost_pages(); }

    /// Maps the file anew where it is mapped already, in one step: who reads there meanwhile finds one or the other.
    static int map_again(File file, std::size_t bytes, bool is_private, std::byte* base) noexcept {
        int flags = (is_private ? MAP_PRIVATE : MAP_SHARED) | MAP_FIXED;
#if defined(MAP_NORESERVE)
        flags |= MAP_NORESERVE;
#endif
        const int protection = is_private ? PROT_READ | PROT_WRITE : PROT_READ;
        return ::mmap(base, bytes, protection, flags, file, 0) == MAP_FAILED ? errno : 0;
    }

    // ---- which run of which machine ---------------------------------------------------------------------------------

    /// A number that is hardly ever the same twice; no secret.
    static std::uint64_t arbitrary_number() noexcept {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        return (static_cast<std::uint64_t>(now.tv_nsec) ^ static_cast<std::uint64_t>(now.tv_sec) << 20) *
               0x9e3779b97f4a7c15u;
    }

    // ---- locks between processes -----------------------------------------------------------------------------------

    /// Locks or unlocks one byte, which may lie beyond the end of the file. The lock belongs to the open file: two
    /// opens exclude each other also inside one process, and the kernel frees it when the last descriptor is closed,
    /// by whatever death. EAGAIN or EACCES: somebody else has it.
    static int lock(File file, std::uint64_t byte, Lock mode, bool wait) noexcept {
#if defined(F_OFD_SETLK)
        struct flock request {};
        request.l_type = static_cast<short>(mode == Lock::none ? F_UNLCK : mode == Lock::shared ? F_RDLCK : F_WRLCK);
        request.l_whence = SEEK_SET;
        request.l_start = static_cast<off_t>(byte);
        request.l_len = 1;
        return ::fcntl(file, wait ? F_OFD_SETLKW : F_OFD_SETLK, &request) != 0 ? errno : 0;
#else
#error "kvs: this system has no open-file-description locks (F_OFD_SETLK)."
#endif
    }

    /// The lock that another open file has on a byte; `none` if there is none. Works on any descriptor.
    static int lock_of_others(File file, std::uint64_t byte, Lock& mode) noexcept {
        struct flock request {};
        request.l_type = static_cast<short>(F_WRLCK);
        request.l_whence = SEEK_SET;
        request.l_start = static_cast<off_t>(byte);
        request.l_len = 1;
        if (::fcntl(file, F_OFD_GETLK, &request) != 0) return errno;
        mode = request.l_type == F_UNLCK ? Lock::none : request.l_type == F_RDLCK ? Lock::shared : Lock::exclusive;
        return 0;
    }

    /// Sleeps while the four bytes at `at`, in a shared mapping, are `expected`, and at most so long; returns when
    /// another thread or process calls `wake`, when a signal comes, or for no reason. Systems without such a call sleep
    /// a little.
    static void sleep_on(const std::uint32_t* at, std::uint32_t expected, std::uint64_t nanoseconds) noexcept {
#if defined(__linux__)
        timespec span{};
        span.tv_sec = static_cast<time_t>(nanoseconds / 1'000'000'000);
        span.tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000);
        ::syscall(SYS_futex, at, FUTEX_WAIT, expected, &span, nullptr, 0);
#else
        constexpr std::uint64_t little = 1'000'000;
        if (__atomic_load_n(at, __ATOMIC_ACQUIRE) == expected) sleep(nanoseconds < little ? nanoseconds : little);
#endif
    }
    static void wake([[maybe_unused]] const std::uint32_t* at) noexcept {
#if defined(__linux__)
        ::syscall(SYS_futex, at, FUTEX_WAKE, 0x7fffffff, nullptr, nullptr, 0);
#endif
    }
    static void sleep(std::uint64_t nanoseconds) noexcept {
        timespec span{};
        span.tv_sec = static_cast<time_t>(nanoseconds / 1'000'000'000);
        span.tv_nsec = static_cast<long>(nanoseconds % 1'000'000'000);
        ::nanosleep(&span, nullptr);
    }
    /// Of a clock that nobody sets.
    static std::uint64_t nanoseconds_now() noexcept {
        timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC, &now);
        return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    }

    // ---- threads and processes -------------------------------------------------------------------------------------

    static std::uint64_t process_id() noexcept { return static_cast<std::uint64_t>(::getpid()); }

    /// A number that differs between a process and the children it forks from `watch_forks` on.
    static unsigned fork_generation() noexcept { return Forks::count(); }
    /// The same, and in one word with it `has_lost_pages`.
    static unsigned incidents() noexcept { return Incidents::all(); }
    static int watch_forks() noexcept { return Forks::watch(); }
    /// A child forked from `close_in_children` to `keep_in_children` has the file closed, and `no_file` in place of it.
    /// Both are called behind a `ForkBarrier`.
    using ForkedFile = Forks::File;
    using ForkBarrier = Forks::Barrier;
    static void close_in_children(ForkedFile& forked, File& file) noexcept { Forks::add(forked, file); }
    static void keep_in_children(ForkedFile& forked) noexcept { Forks::remove(forked); }
    /// Lets another thread run.
    static void yield() noexcept { ::sched_yield(); }
    /// Tells the processor that this is a short wait.
    static void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        asm volatile("yield");
#endif
    }

    class Mutex {
    public:
        Mutex() noexcept = default;
        Mutex(const Mutex&) = delete;
        Mutex& operator=(const Mutex&) = delete;
        ~Mutex() { ::pthread_mutex_destroy(&mutex_); }
        void lock() noexcept { ::pthread_mutex_lock(&mutex_); }
        void unlock() noexcept { ::pthread_mutex_unlock(&mutex_); }

    private:
        friend struct PosixPlatform;
        pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    };

    /// A condition variable that measures time by a clock nobody sets.
    class Condition {
    public:
        Condition() noexcept {
#if defined(__APPLE__)
            ::pthread_cond_init(&condition_, nullptr);
#else
            pthread_condattr_t attributes;
            ::pthread_condattr_init(&attributes);
            ::pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
            ::pthread_cond_init(&condition_, &attributes);
            ::pthread_condattr_destroy(&attributes);
#endif
        }
        Condition(const Condition&) = delete;
        Condition& operator=(const Condition&) = delete;
        ~Condition() {
            if (!abandoned_) ::pthread_cond_destroy(&condition_);
        }

        /// In the child of a fork: the thread that waits here exists in the parent only, and destroying the condition
        /// would wait for it for ever.
        void abandon() noexcept { abandoned_ = true; }

        void wake_all() noexcept { ::pthread_cond_broadcast(&condition_); }
        void wait(Mutex& held) noexcept { ::pthread_cond_wait(&condition_, &held.mutex_); }

        /// Returns when woken or after `nanoseconds`, or for no reason.
        void wait_for(Mutex& held, std::uint64_t nanoseconds) noexcept {
            constexpr std::uint64_t second = 1'000'000'000;
#if defined(__APPLE__)
            const timespec span{static_cast<time_t>(nanoseconds / second), static_cast<long>(nanoseconds % second)};
            ::pthread_cond_timedwait_relative_np(&condition_, &held.mutex_, &span);
#else
            timespec until{};
            ::clock_gettime(CLOCK_MONOTONIC, &until);
            const std::uint64_t fraction = static_cast<std::uint64_t>(until.tv_nsec) + nanoseconds % second;
            until.tv_sec += static_cast<time_t>(nanoseconds / second + fraction / second);
            until.tv_nsec = static_cast<long>(fraction % second);
            ::pthread_cond_timedwait(&condition_, &held.mutex_, &until);
#endif
        }

    private:
        pthread_cond_t condition_;
        bool abandoned_ = false;
    };

    class Thread {
    public:
        Thread() noexcept = default;
        Thread(const Thread&) = delete;
        Thread& operator=(const Thread&) = delete;

        int start(void* (*body)(void*), void* argument) noexcept {
            // The program's signals are for its own threads. But a bus error is of the thread that meets it: where it
            // is blocked, no handler is asked.
            sigset_t all;
            sigset_t before;
            ::sigfillset(&all);
            for (const int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) ::sigdelset(&all, fault);
            ::pthread_sigmask(SIG_SETMASK, &all, &before);
            const int error = ::pthread_create(&thread_, nullptr, body, argument);
            ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
            return error;
        }
        void join() noexcept { ::pthread_join(thread_, nullptr); }

    private:
        pthread_t thread_{};
    };

private:
    static FileStatus status_from(const struct stat& s) noexcept {
        return {{static_cast<std::uint64_t>(s.st_dev), static_cast<std::uint64_t>(s.st_ino)},
                static_cast<std::uint64_t>(s.st_size),
                static_cast<unsigned>(s.st_mode & 07777),
                S_ISREG(s.st_mode)};
    }
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PLATFORM_POSIX_HPP
