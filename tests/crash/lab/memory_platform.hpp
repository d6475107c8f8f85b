// The crash laboratory, first part: a platform whose files are memory of the test. No system call is made for a file,
// so a crash state costs microseconds and not milliseconds.
//
//   kvs::Store<8, kvs_test::lab::LabPlatform>    a store in such a file
//   disk()                                       the files, and what the platform answers about machine and place
//   Event, Disk::record_into                     what was done to the file, in order
//
// A test decides which boot of the machine an image comes from (`Disk::boot`) and which file it is (`MemoryFile::id`):
// so the same bytes are opened as after a kill and as after a power cut. One thread; stores of these tests sync by
// hand.
#pragma once

#include <kvs/kvs.hpp>

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace kvs_test::lab {

inline constexpr std::uint64_t page_bytes = 4096;
inline constexpr std::uint64_t reserved_bytes = kvs::detail::layout::file_limit;

/// A set of pages that is emptied at the cost of what is in it.
class PageSet {
public:
    void add(std::uint64_t page) {
        if (page >= is_in_.size()) is_in_.resize(static_cast<std::size_t>(page) * 2 + 256, 0);
        if (is_in_[static_cast<std::size_t>(page)] != 0) return;
        is_in_[static_cast<std::size_t>(page)] = 1;
        pages_.push_back(page);
    }
    void add_range(std::uint64_t offset, std::uint64_t bytes) {
        if (bytes == 0) return;
        for (std::uint64_t page = offset / page_bytes; page <= (offset + bytes - 1) / page_bytes; ++page) add(page);
    }
    bool contains(std::uint64_t page) const {
        return page < is_in_.size() && is_in_[static_cast<std::size_t>(page)] != 0;
    }
    const std::vector<std::uint64_t>& pages() const { return pages_; }
    void clear() {
        for (const std::uint64_t page : pages_) is_in_[static_cast<std::size_t>(page)] = 0;
        pages_.clear();
    }

private:
    std::vector<unsigned char> is_in_;
    std::vector<std::uint64_t> pages_;
};

/// Address space for the largest file, of which only what is touched costs memory.
class Reservation {
public:
    Reservation() {
        void* at =
            ::mmap(nullptr, reserved_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (at == MAP_FAILED) throw std::bad_alloc();
        base = static_cast<std::byte*>(at);
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    ~Reservation() { ::munmap(base, reserved_bytes); }

    bool holds(const std::byte* at) const { return at >= base && at < base + reserved_bytes; }

    std::byte* base = nullptr;
};

/// The content of a file, kept aside. Bytes behind `size` are NUL.
struct Content {
    std::vector<std::byte> bytes;  ///< whole pages; what is missing is NUL
    std::uint64_t size = 0;

    void reach(std::uint64_t end) {
        if (end > bytes.size())
            bytes.resize(static_cast<std::size_t>((end + page_bytes - 1) / page_bytes * page_bytes));
    }
    void put(std::uint64_t offset, const void* from, std::uint64_t count) {
        reach(offset + count);
        std::memcpy(bytes.data() + offset, from, static_cast<std::size_t>(count));
    }
    /// What is cut off is NUL when the file grows again.
    void resize(std::uint64_t to) {
        if (to < size && to < bytes.size())
            std::memset(bytes.data() + to, 0,
                        static_cast<std::size_t>(std::min<std::uint64_t>(size, bytes.size()) - to));
        size = to;
        reach(to);
    }
};

/// One file.
struct MemoryFile {
    std::string path;
    bool exists = false;
    std::uint64_t size = 0;
    kvs::detail::PosixPlatform::FileId id{};
    std::uint64_t changes = 0;  ///< stores, writes and changes of length so far
    PageSet dirty;              ///< changed since the last `load` or `restore`

    std::byte* base() { return shared_.base; }
    void touch(std::uint64_t offset, std::uint64_t bytes) {
        dirty.add_range(offset, bytes);
        stale_.add_range(offset, bytes);
    }
    void put(std::uint64_t offset, const void* from, std::uint64_t bytes) {
        touch(offset, bytes);
        std::memcpy(base() + offset, from, static_cast<std::size_t>(bytes));
    }
    void resize(std::uint64_t to) {
        if (to < size) {
            touch(to, size - to);
            std::memset(base() + to, 0, static_cast<std::size_t>(size - to));
        }
        size = to;
    }

    /// Makes the file what `content` is. All pages that differ are among the dirty ones, or it was another content.
    void restore(const Content& content) {
        for (const std::uint64_t page : dirty.pages()) {
            stale_.add(page);
            const std::uint64_t at = page * page_bytes;
            if (at < content.bytes.size())
                std::memcpy(base() + at, content.bytes.data() + at, page_bytes);
            else
                std::memset(base() + at, 0, page_bytes);
        }
        dirty.clear();
        size = content.size;
    }
    void load(const Content& content) {
        dirty.add_range(0, std::max<std::uint64_t>({size, extent_, content.bytes.size()}));
        extent_ = content.bytes.size();
        restore(content);
        exists = true;
    }
    Content content() {
        Content copy;
        copy.reach(size);
        if (size != 0) std::memcpy(copy.bytes.data(), base(), static_cast<std::size_t>(size));
        copy.size = size;
        return copy;
    }

    /// The private mapping: one is enough, for one handle is open at a time. What differs from the file is known, so a
    /// new mapping costs a few pages.
    std::byte* private_base() {
        for (const std::uint64_t page : stale_.pages())
            std::memcpy(private_.base + page * page_bytes, base() + page * page_bytes, page_bytes);
        stale_.clear();
        return private_.base;
    }
    bool is_shared(const std::byte* at) const { return shared_.holds(at); }
    bool is_private(const std::byte* at) const { return private_.holds(at); }
    void touch_private(const std::byte* at, std::size_t bytes) {
        stale_.add_range(static_cast<std::uint64_t>(at - private_.base), bytes);
    }

private:
    Reservation shared_;
    Reservation private_;
    PageSet stale_;  // where the private mapping is not what the file is
    std::uint64_t extent_ = 0;
};

/// What was promised when an event happened: numbers of states in a history.
struct Moment {
    std::uint32_t acknowledged = 0;
    std::uint32_t started = 0;  ///< one more while an operation is in flight
    std::uint32_t synced = 0;   ///< this one is on the device: `sync` returned
};

struct Event {
    enum class Kind : std::uint8_t {
        store,         ///< `bytes` bytes, in memory order in `value`, at `offset`
        resize,        ///< to `value`
        flush,         ///< completed
        failed_flush,  ///< the kernel calls all pages clean, whether they are on the device or not
        mark,          ///< `moment` changed
    };
    Kind kind{};
    std::uint8_t bytes = 0;
    std::uint64_t offset = 0;
    std::uint64_t value = 0;
    Moment moment{};
};

/// All files, and the machine.
struct Disk {
    std::vector<std::unique_ptr<MemoryFile>> files;
    std::uint64_t boot = 1;
    std::uint64_t mount = 0;
    std::uint64_t number = 0;              ///< of the next "arbitrary" number: the same in a replay
    std::vector<Event>* events = nullptr;  ///< of the first file, while it is not null
    Moment moment{};
    std::uint64_t flushes = 0;                // so far, of all files
    std::uint64_t flushes_until_failure = 0;  ///< 0 = none fails; 1 = the next one does
    std::vector<std::string> violations;      ///< of the seam: stores outside of the file
    unsigned naps = 0;                        ///< how often a handle slept

    struct Descriptor {
        MemoryFile* file = nullptr;
    };
    std::vector<Descriptor> descriptors;
    struct LockedByte {
        MemoryFile* file;
        std::uint64_t byte;
        int holder;
        kvs::detail::PosixPlatform::Lock mode;
    };
    std::vector<LockedByte> locks;

    /// The file that is recorded.
    MemoryFile& store_file() {
        if (files.empty()) {
            files.push_back(std::make_unique<MemoryFile>());
            files.front()->path = "store";
            files.front()->id = {7, 1};
        }
        return *files.front();
    }
    MemoryFile* find(const char* path) {
        for (const auto& file : files)
            if (file->exists && file->path == path) return file.get();
        return nullptr;
    }
    MemoryFile& make(const char* path) {
        store_file();
        for (const auto& file : files)
            if (!file->exists && file->path == path) return revive(*file, path);
        for (std::size_t i = 1; i < files.size(); ++i)
            if (!files[i]->exists) return revive(*files[i], path);
        files.push_back(std::make_unique<MemoryFile>());
        files.back()->id = {7, files.size()};
        return revive(*files.back(), path);
    }
    MemoryFile* file_of(int descriptor) {
        const auto at = static_cast<std::size_t>(descriptor - first_descriptor);
        return descriptor >= first_descriptor && at < descriptors.size() ? descriptors[at].file : nullptr;
    }
    void note(MemoryFile& file, const Event& event) {
        ++file.changes;
        if (events == nullptr || files.front().get() != &file) return;
        events->push_back(event);
        events->back().moment = moment;
    }
    void mark(const Moment& now) {
        moment = now;
        Event event;
        event.kind = Event::Kind::mark;
        event.moment = now;
        if (events != nullptr) events->push_back(event);
    }
    static constexpr int first_descriptor = 100;

private:
    static MemoryFile& revive(MemoryFile& file, const char* path) {
        file.path = path;
        file.resize(0);
        file.exists = true;
        return file;
    }
};

inline Disk& disk() {
    static Disk disk;
    return disk;
}

/// The platform. What it does not hide (threads, mutexes, forks) is the system's.
struct LabPlatform : kvs::detail::PosixPlatform {
    using KvsPlatform = void;

    static int open(const char* path, Access, Creation creation, unsigned, File& file) noexcept {
        MemoryFile* found = disk().find(path);
        if (found != nullptr && creation == Creation::exclusive) return EEXIST;
        if (found == nullptr && creation == Creation::never) return ENOENT;
        if (found == nullptr) found = &disk().make(path);
        return give_descriptor(*found, file);
    }
    static int close(File file) noexcept {
        std::erase_if(disk().locks, [&](const auto& lock) { return lock.holder == file; });
        disk().descriptors[static_cast<std::size_t>(file - Disk::first_descriptor)].file = nullptr;
        return 0;
    }
    static int duplicate(File file, int, File& copy) noexcept { return give_descriptor(*disk().file_of(file), copy); }
    static int size(File file, std::uint64_t& bytes) noexcept {
        bytes = status_of(*disk().file_of(file)).bytes;
        return 0;
    }
    static int status(File file, FileStatus& status) noexcept {
        status = status_of(*disk().file_of(file));
        return 0;
    }
    static int status_of_path(const char* path, FileStatus& status) noexcept {
        MemoryFile* file = disk().find(path);
        if (file == nullptr) return ENOENT;
        status = status_of(*file);
        return 0;
    }
    static int allocate(File file, std::uint64_t, std::uint64_t to) noexcept {
        return to > disk().file_of(file)->size ? resize(file, to) : 0;
    }
    static int find_hole(File file, std::uint64_t, std::uint64_t& hole) noexcept {
        hole = disk().file_of(file)->size;
        return 0;
    }
    static int resize(File file, std::uint64_t bytes) noexcept {
        MemoryFile& target = *disk().file_of(file);
        target.resize(bytes);
        Event event;
        event.kind = Event::Kind::resize;
        event.value = bytes;
        disk().note(target, event);
        return 0;
    }
    static int read(File file, void* to, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        MemoryFile& source = *disk().file_of(file);
        const std::uint64_t left = offset < source.size ? source.size - offset : 0;
        done = static_cast<std::size_t>(std::min<std::uint64_t>(left, bytes));
        if (done != 0) std::memcpy(to, source.base() + offset, done);
        return 0;
    }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        MemoryFile& target = *disk().file_of(file);
        if (offset + bytes > target.size) resize(file, offset + bytes);
        const auto* at = static_cast<const std::byte*>(from);
        for (done = 0; done < bytes;) {
            const std::size_t piece = std::min<std::size_t>(8 - (offset + done) % 8, bytes - done);
            target.put(offset + done, at + done, piece);
            note_store(target, offset + done, piece);
            done += piece;
        }
        return 0;
    }
    static int rename(const char* from, const char* to) noexcept {
        MemoryFile* file = disk().find(from);
        if (file == nullptr) return ENOENT;
        if (MemoryFile* old = disk().find(to); old != nullptr) old->exists = false;
        file->path = to;
        return 0;
    }
    static int rename_to_free(const char* from, const char* to) noexcept {
        return disk().find(to) != nullptr ? EEXIST : rename(from, to);
    }
    static int remove(const char* path) noexcept {
        MemoryFile* file = disk().find(path);
        if (file == nullptr) return ENOENT;
        file->exists = false;
        return 0;
    }
    static int flush(File file) noexcept {
        MemoryFile& target = *disk().file_of(file);
        Event event;
        ++disk().flushes;
        const bool fails = disk().flushes_until_failure != 0 && --disk().flushes_until_failure == 0;
        event.kind = fails ? Event::Kind::failed_flush : Event::Kind::flush;
        if (fails) disk().moment.acknowledged = disk().moment.synced;  // the promise now: the last completed sync
        const std::uint64_t before = target.changes;
        disk().note(target, event);
        target.changes = before;  // nothing has
        return fails ? EIO : 0;
    }
    static int flush_directory(const char*) noexcept { return 0; }

    static int map(File file, std::size_t, Access, std::byte*& base) noexcept {
        base = disk().file_of(file)->base();
        return 0;
    }
    static int map_private(File file, std::size_t, std::byte*& base) noexcept {
        base = disk().file_of(file)->private_base();
        return 0;
    }
    /// A file has two mappings here, so a handle cannot change from one to the other.
    static int map_again(File file, std::size_t, bool is_private, std::byte* base) noexcept {
        MemoryFile& target = *disk().file_of(file);
        return (is_private ? target.private_base() : target.base()) == base ? 0 : EINVAL;
    }
    static int unmap(std::byte*, std::size_t) noexcept { return 0; }
    static void on_store(const std::byte* at, std::size_t bytes) noexcept {
        for (const auto& file : disk().files) {
            if (file->is_shared(at)) {
                const auto offset = static_cast<std::uint64_t>(at - file->base());
                file->touch(offset, bytes);
                if (offset + bytes > file->size)
                    disk().violations.push_back("a store at " + std::to_string(offset) + " in a file of " +
                                                std::to_string(file->size) + " bytes");
                return note_store(*file, offset, bytes);
            }
            if (file->is_private(at)) return file->touch_private(at, bytes);
        }
        disk().violations.push_back("a store to memory that is not mapped");
    }

    static int boot_id(std::uint64_t (&id)[2]) noexcept {
        id[0] = 0x6b76735f6c6162;
        id[1] = disk().boot;
        return 0;
    }
    static int mount_id(File, std::uint64_t& id) noexcept {
        id = disk().mount;
        return 0;
    }
    static std::uint64_t arbitrary_number() noexcept { return (++disk().number) * 0x9e3779b97f4a7c15u; }

    static int lock(File file, std::uint64_t byte, Lock mode, bool) noexcept {
        MemoryFile* target = disk().file_of(file);
        for (const auto& held : disk().locks)
            if (held.file == target && held.byte == byte && held.holder != file && mode != Lock::none &&
                (mode == Lock::exclusive || held.mode == Lock::exclusive))
                return EAGAIN;
        std::erase_if(disk().locks, [&](const auto& held) {
            return held.file == target && held.byte == byte && held.holder == file;
        });
        if (mode != Lock::none) disk().locks.push_back({target, byte, file, mode});
        return 0;
    }

    static int lock_of_others(File file, std::uint64_t byte, Lock& mode) noexcept {
        mode = Lock::none;
        for (const auto& held : disk().locks)
            if (held.file == disk().file_of(file) && held.byte == byte && held.holder != file) mode = held.mode;
        return 0;
    }
    static void close_in_children(ForkedFile&, File&) noexcept {}  // its descriptors are none of the system's
    static void keep_in_children(ForkedFile&) noexcept {}
    // One thread: who would sleep would sleep for ever.
    static void sleep_on(const std::uint32_t*, std::uint32_t, std::uint64_t) noexcept { note_sleep(); }
    static void sleep(std::uint64_t) noexcept { note_sleep(); }
    static void wake(const std::uint32_t*) noexcept {}

private:
    static void note_sleep() noexcept {
        disk().violations.push_back("a handle waits for one that does nothing");
        if (++disk().naps > 1000) std::abort();
    }
    static int give_descriptor(MemoryFile& file, File& descriptor) {
        std::size_t at = 0;
        while (at < disk().descriptors.size() && disk().descriptors[at].file != nullptr) ++at;
        if (at == disk().descriptors.size()) disk().descriptors.emplace_back();
        disk().descriptors[at].file = &file;
        descriptor = Disk::first_descriptor + static_cast<int>(at);
        return 0;
    }
    static FileStatus status_of(const MemoryFile& file) { return {file.id, file.size, 0600, true}; }
    static void note_store(MemoryFile& file, std::uint64_t offset, std::size_t bytes) {
        Event event;
        event.kind = Event::Kind::store;
        event.bytes = static_cast<std::uint8_t>(bytes);
        event.offset = offset;
        std::memcpy(&event.value, file.base() + offset, bytes);
        disk().note(file, event);
    }
};

}  // namespace kvs_test::lab
