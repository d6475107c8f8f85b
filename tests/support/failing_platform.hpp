// A platform whose calls fail on demand: the i-th call of one function, or that one and all after it, with a given
// errno. It keeps count of what was got and given back, so that a test sees what an error path leaks.
//
// A call that fails does what the real one may do then: a file that should grow can have grown a part of the way, a
// write has written nothing, a close has closed.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include <kvs/detail/platform.hpp>

namespace kvs_test {

enum class Call : unsigned {
    open,
    close,
    duplicate,
    size,
    status,
    status_of_path,
    allocate,
    find_hole,
    resize,
    read,
    write,
    rename,
    remove,
    flush,
    flush_directory,
    map,
    map_private,
    unmap,
    lock,
    lock_of_others,
    map_again,
    start_thread,
    boot_id,
    mount_id,
};
inline constexpr unsigned call_count = 24;

inline const char* name_of(Call call) {
    constexpr const char* names[call_count] = {
        "open",     "close",          "duplicate",       "size",         "status",      "status_of_path",
        "allocate", "find_hole",      "resize",          "read",         "write",       "rename",
        "remove",   "flush",          "flush_directory", "map",          "map_private", "unmap",
        "lock",     "lock_of_others", "map_again",       "start_thread", "boot_id",     "mount_id"};
    return names[static_cast<unsigned>(call)];
}

/// What is to fail.
struct Fault {
    Call call{};
    unsigned first = 0;     ///< the number of the call that fails, from 1; 0 = none
    bool for_ever = false;  ///< and all after it
    int error = 0;
    bool no_allocate = false;    ///< `allocate` is EOPNOTSUPP, unless it is the one to fail
    std::size_t most_bytes = 0;  ///< of one `read` or `write`; 0 = all
};

/// What is to fail, and what has happened since `restart`. All platforms of this process share it; a test restarts it.
class Faults {
    struct State {
        Fault plan;
        std::array<unsigned, call_count> calls{};
        unsigned fired = 0;
        int open_files = 0;
        int mappings = 0;
        int threads = 0;
    };
    static State& state() {
        static State state;
        return state;
    }
    static std::mutex& mutex() {
        static std::mutex mutex;
        return mutex;
    }
    static State copy() {
        const std::lock_guard guard(mutex());
        return state();
    }

public:
    static void restart(const Fault& plan) {
        const std::lock_guard guard(mutex());
        state() = State{};
        state().plan = plan;
    }
    /// Nothing fails any more; the counts go on.
    static void disarm() {
        const std::lock_guard guard(mutex());
        state().plan.first = 0;
    }

    /// How often the failure was met.
    static unsigned fired() { return copy().fired; }
    static unsigned calls(Call call) { return copy().calls[static_cast<unsigned>(call)]; }
    static int open_files() { return copy().open_files; }
    static int mappings() { return copy().mappings; }
    static int threads() { return copy().threads; }
    static Fault plan() { return copy().plan; }

    // ---- for the platform ------------------------------------------------------------------------------------------

    /// Counts the call; its errno if it fails, else 0.
    static int meet(Call call) {
        const std::lock_guard guard(mutex());
        State& s = state();
        const unsigned number = ++s.calls[static_cast<unsigned>(call)];
        if (s.plan.first == 0 || s.plan.call != call) return 0;
        if (number != s.plan.first && !(s.plan.for_ever && number > s.plan.first)) return 0;
        ++s.fired;
        return s.plan.error;
    }
    static void add_file(int n) {
        const std::lock_guard guard(mutex());
        state().open_files += n;
    }
    static void add_mapping(int n) {
        const std::lock_guard guard(mutex());
        state().mappings += n;
    }
    static void add_thread(int n) {
        const std::lock_guard guard(mutex());
        state().threads += n;
    }
};

template <class Base = kvs::detail::NativePlatform>
struct Failing : Base {
    using File = typename Base::File;
    using Access = typename Base::Access;
    using Creation = typename Base::Creation;
    using Lock = typename Base::Lock;
    using FileStatus = typename Base::FileStatus;

    static int open(const char* path, Access access, Creation creation, unsigned permissions, File& file) noexcept {
        if (const int e = Faults::meet(Call::open)) return e;
        const int e = Base::open(path, access, creation, permissions, file);
        if (e == 0) Faults::add_file(1);
        return e;
    }
    static int close(File file) noexcept {
        const int fault = Faults::meet(Call::close);
        const int e = Base::close(file);
        Faults::add_file(-1);
        return fault != 0 ? fault : e;
    }
    static int duplicate(File file, int lowest, File& copy) noexcept {
        if (const int e = Faults::meet(Call::duplicate)) return e;
        const int e = Base::duplicate(file, lowest, copy);
        if (e == 0) Faults::add_file(1);
        return e;
    }
    static int size(File file, std::uint64_t& bytes) noexcept {
        const int e = Faults::meet(Call::size);
        return e != 0 ? e : Base::size(file, bytes);
    }
    static int status(File file, FileStatus& status) noexcept {
        const int e = Faults::meet(Call::status);
        return e != 0 ? e : Base::status(file, status);
    }
    static int status_of_path(const char* path, FileStatus& status) noexcept {
        const int e = Faults::meet(Call::status_of_path);
        return e != 0 ? e : Base::status_of_path(path, status);
    }
    static int allocate(File file, std::uint64_t from, std::uint64_t to) noexcept {
        if (const int e = Faults::meet(Call::allocate)) {
            FileStatus now;
            if (e != EINTR && Base::status(file, now) == 0 && now.bytes < to) {
                const std::uint64_t begin = from > now.bytes ? from : now.bytes;
                Base::resize(file, begin + (to - begin) / 2);
            }
            return e;
        }
        return Faults::plan().no_allocate ? EOPNOTSUPP : Base::allocate(file, from, to);
    }
    static int find_hole(File file, std::uint64_t from, std::uint64_t& hole) noexcept {
        const int e = Faults::meet(Call::find_hole);
        return e != 0 ? e : Base::find_hole(file, from, hole);
    }
    static int resize(File file, std::uint64_t bytes) noexcept {
        const int e = Faults::meet(Call::resize);
        return e != 0 ? e : Base::resize(file, bytes);
    }
    static int read(File file, void* to, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        done = 0;
        const int e = Faults::meet(Call::read);
        return e != 0 ? e : Base::read(file, to, at_most(bytes), offset, done);
    }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        done = 0;
        const int e = Faults::meet(Call::write);
        return e != 0 ? e : Base::write(file, from, at_most(bytes), offset, done);
    }
    static int rename(const char* from, const char* to) noexcept {
        const int e = Faults::meet(Call::rename);
        return e != 0 ? e : Base::rename(from, to);
    }
    static int rename_to_free(const char* from, const char* to) noexcept {
        const int e = Faults::meet(Call::rename);
        return e != 0 ? e : Base::rename_to_free(from, to);
    }
    static int remove(const char* path) noexcept {
        const int e = Faults::meet(Call::remove);
        return e != 0 ? e : Base::remove(path);
    }
    static int flush(File file) noexcept {
        const int e = Faults::meet(Call::flush);
        return e != 0 ? e : Base::flush(file);
    }
    static int flush_directory(const char* path) noexcept {
        const int e = Faults::meet(Call::flush_directory);
        return e != 0 ? e : Base::flush_directory(path);
    }
    static int map(File file, std::size_t bytes, Access access, std::byte*& base) noexcept {
        if (const int e = Faults::meet(Call::map)) return e;
        const int e = Base::map(file, bytes, access, base);
        if (e == 0) Faults::add_mapping(1);
        return e;
    }
    static int map_private(File file, std::size_t bytes, std::byte*& base) noexcept {
        if (const int e = Faults::meet(Call::map_private)) return e;
        const int e = Base::map_private(file, bytes, base);
        if (e == 0) Faults::add_mapping(1);
        return e;
    }
    static int unmap(std::byte* base, std::size_t bytes) noexcept {
        const int fault = Faults::meet(Call::unmap);
        const int e = Base::unmap(base, bytes);
        Faults::add_mapping(-1);
        return fault != 0 ? fault : e;
    }
    static int lock(File file, std::uint64_t byte, Lock mode, bool wait) noexcept {
        const int e = Faults::meet(Call::lock);
        return e != 0 ? e : Base::lock(file, byte, mode, wait);
    }

    static int lock_of_others(File file, std::uint64_t byte, Lock& mode) noexcept {
        const int e = Faults::meet(Call::lock_of_others);
        return e != 0 ? e : Base::lock_of_others(file, byte, mode);
    }
    static int map_again(File file, std::size_t bytes, bool is_private, std::byte* base) noexcept {
        const int e = Faults::meet(Call::map_again);
        return e != 0 ? e : Base::map_again(file, bytes, is_private, base);
    }

    static int boot_id(std::uint64_t (&id)[2]) noexcept {
        const int e = Faults::meet(Call::boot_id);
        return e != 0 ? e : Base::boot_id(id);
    }
    static int mount_id(File file, std::uint64_t& id) noexcept {
        const int e = Faults::meet(Call::mount_id);
        return e != 0 ? e : Base::mount_id(file, id);
    }

    class Thread : public Base::Thread {
    public:
        int start(void* (*body)(void*), void* argument) noexcept {
            if (const int e = Faults::meet(Call::start_thread)) return e;
            const int e = Base::Thread::start(body, argument);
            if (e == 0) Faults::add_thread(1);
            return e;
        }
        void join() noexcept {
            Base::Thread::join();
            Faults::add_thread(-1);
        }
    };

private:
    static std::size_t at_most(std::size_t bytes) {
        const std::size_t most = Faults::plan().most_bytes;
        return most != 0 && bytes > most ? most : bytes;
    }
};

using FailingPlatform = Failing<>;

}  // namespace kvs_test
