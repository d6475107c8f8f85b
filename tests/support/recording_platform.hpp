// The crash laboratory: a platform that writes down everything a store does to its files, in order, and tools that make
// of such a log the files that a death at any moment leaves.
//
//   Recorded<Base>     the platform: `kvs::Store<8, kvs::NoBackup, kvs_test::RecordingPlatform>`
//   Recording          records as long as it lives; files that are open when it begins are photographed first
//   EventLog           what was recorded
//     image_after(n)     the file as a process leaves it that is killed after the first n events
//     Cursor             the same for n = 0, 1, 2, ... without starting anew each time
//     mixture_after(n)   all that a power cut after n events can leave: for every unit (a word, a sector, a page) the
//                        versions it had since the last completed flush, and the range of lengths
//
// Nothing here knows what is in a file. The rules are those of the seam (platform_posix.hpp): mapped bytes change only
// by stores that `on_store` is told of, files only by allocate, resize and write, and `flush` makes durable what was
// there when it began. What breaks the rules is listed in `EventLog::violations`: a store outside of the file, above
// all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <kvs/detail/platform.hpp>

namespace kvs_test {

/// One thing that was done to a file. A failed call is recorded with its errno and what it changed all the same.
struct Event {
    enum class Kind : std::uint8_t {
        store,            ///< one machine store to mapped bytes: `offset`, `bytes`
        write,            ///< a write call: `offset`, `bytes`
        resize,           ///< `size`
        allocate,         ///< `size`
        flush_begin,      ///< what was done before is on the device if the flush completes
        flush_end,        ///< `begin` is the place of its beginning in the log
        open,             ///< a file was opened; `bytes` is its path. The first event of a file that was created.
        flush_directory,  ///< `bytes` is the path; of no file
        rename,           ///< `bytes` is the new path
        remove,           ///< `bytes` is the path
        mark,             ///< made by the test; `bytes` is its text; of no file
    };
    static constexpr std::size_t no_file = SIZE_MAX;

    Kind kind{};
    std::size_t file = no_file;  ///< files are numbered in the order in which they were seen
    std::uint64_t offset = 0;
    std::uint64_t size = 0;  ///< of the file after the event
    std::string bytes{};
    std::size_t begin = 0;
    int error = 0;
};

/// All that a power cut can leave of one file.
struct Mixture {
    std::uint64_t unit_bytes = 0;
    std::string durable;         ///< the file at the beginning of the last completed flush
    std::uint64_t smallest = 0;  ///< the file may have any length from here
    std::uint64_t largest = 0;   ///< to here
    /// Of every unit with more than one version all of them, the durable one first, then in order of time. Bytes past
    /// the end of the file are NUL.
    std::map<std::uint64_t, std::vector<std::string>> versions;

    /// The product of the numbers of versions; `SIZE_MAX` if it is too large.
    std::size_t count() const {
        std::size_t product = 1;
        for (const auto& [unit, all] : versions) {
            if (product > SIZE_MAX / all.size()) return SIZE_MAX;
            product *= all.size();
        }
        return product;
    }
    /// The file of length `size` in which every unit has the version that `pick(unit, versions)` returns the number of.
    template <class Pick>
    std::string image(std::uint64_t size, Pick pick) const {
        std::string file = durable;
        file.resize(static_cast<std::size_t>(largest > size ? largest : size), '\0');
        for (const auto& [unit, all] : versions) {
            const std::string& version = all[pick(unit, all.size())];
            const std::uint64_t at = unit * unit_bytes;
            for (std::size_t i = 0; i < version.size() && at + i < file.size(); ++i) file[at + i] = version[i];
        }
        file.resize(static_cast<std::size_t>(size), '\0');
        return file;
    }
};

/// What was recorded. Not safe to read while a `Recording` lives and other threads store.
class EventLog {
public:
    std::vector<Event> events;
    std::vector<std::string> violations;  ///< of the rules above; a test checks that there are none

    std::size_t size() const { return events.size(); }
    std::size_t files() const { return bases_.size(); }
    std::size_t count(Event::Kind kind) const {
        std::size_t n = 0;
        for (const Event& event : events) n += event.kind == kind ? 1 : 0;
        return n;
    }

    /// True if the event changes what a reader of the file finds.
    static bool changes_file(const Event& event) {
        return event.kind == Event::Kind::store || event.kind == Event::Kind::write ||
               event.kind == Event::Kind::resize || event.kind == Event::Kind::allocate;
    }

    /// Goes through the states of one file.
    class Cursor {
    public:
        explicit Cursor(const EventLog& log, std::size_t file = 0)
            : log_(log), file_(file), image_(log.bases_.at(file)), exists_(log.existed_.at(file)) {}

        std::size_t position() const { return position_; }
        const std::string& image() const { return image_; }
        bool exists() const { return exists_; }

        /// Applies the next event; false at the end. `changed()` then tells if it made another file.
        bool next() {
            if (position_ == log_.events.size()) return false;
            const Event& event = log_.events[position_++];
            changed_ = false;
            if (event.file != file_) return true;
            if (event.kind == Event::Kind::open) changed_ = !std::exchange(exists_, true);
            if (event.kind == Event::Kind::remove && event.error == 0) changed_ = std::exchange(exists_, false);
            if (!changes_file(event)) return true;
            if (image_.size() != event.size) {
                image_.resize(static_cast<std::size_t>(event.size), '\0');
                changed_ = true;
            }
            if (event.bytes.empty() || event.offset >= image_.size()) return true;
            const std::size_t room = image_.size() - static_cast<std::size_t>(event.offset);
            const std::size_t bytes = event.bytes.size() < room ? event.bytes.size() : room;
            changed_ = changed_ || image_.compare(event.offset, bytes, event.bytes, 0, bytes) != 0;
            image_.replace(event.offset, bytes, event.bytes, 0, bytes);
            return true;
        }
        bool changed() const { return changed_; }

    private:
        const EventLog& log_;
        std::size_t file_;
        std::size_t position_ = 0;
        std::string image_;
        bool exists_;
        bool changed_ = false;
    };

    /// The file after the first `n` events.
    std::string image_after(std::size_t n, std::size_t file = 0) const {
        Cursor cursor(*this, file);
        while (cursor.position() < n && cursor.next()) continue;
        return cursor.image();
    }

    /// The largest number of events whose effects on the file are all on the device after the first `n`: the beginning
    /// of the last flush that completed. 0, with the file as it was when the recording began, if there is none.
    std::size_t durable_after(std::size_t n, std::size_t file = 0) const {
        std::size_t durable = 0;
        for (std::size_t i = 0; i < n && i < events.size(); ++i)
            if (events[i].file == file && events[i].kind == Event::Kind::flush_end && events[i].error == 0)
                durable = events[i].begin;
        return durable;
    }

    /// All that a power cut after the first `n` events can leave, if units of `unit_bytes` bytes are written whole.
    Mixture mixture_after(std::size_t n, std::uint64_t unit_bytes, std::size_t file = 0) const {
        Mixture mixture;
        mixture.unit_bytes = unit_bytes;
        const std::size_t durable = durable_after(n, file);
        Cursor cursor(*this, file);
        while (cursor.position() < durable && cursor.next()) continue;
        mixture.durable = cursor.image();
        mixture.smallest = mixture.largest = cursor.image().size();
        while (cursor.position() < n && cursor.next()) {
            const Event& event = events[cursor.position() - 1];
            if (event.file != file || !changes_file(event)) continue;
            const std::uint64_t size = cursor.image().size();
            mixture.smallest = size < mixture.smallest ? size : mixture.smallest;
            mixture.largest = size > mixture.largest ? size : mixture.largest;
            if (event.bytes.empty()) continue;
            const std::uint64_t last = (event.offset + event.bytes.size() - 1) / unit_bytes;
            for (std::uint64_t unit = event.offset / unit_bytes; unit <= last; ++unit) {
                std::vector<std::string>& all = mixture.versions[unit];
                if (all.empty()) all.push_back(unit_of(mixture.durable, unit, unit_bytes));
                std::string now = unit_of(cursor.image(), unit, unit_bytes);
                bool known = false;
                for (const std::string& version : all) known = known || version == now;
                if (!known) all.push_back(std::move(now));
            }
        }
        std::erase_if(mixture.versions, [](const auto& unit) { return unit.second.size() == 1; });
        return mixture;
    }

private:
    friend class Recording;
    template <class Base>
    friend struct Recorded;

    static std::string unit_of(const std::string& file, std::uint64_t unit, std::uint64_t unit_bytes) {
        const std::uint64_t at = unit * unit_bytes;
        std::string bytes = at < file.size() ? file.substr(at, unit_bytes) : std::string();
        bytes.resize(static_cast<std::size_t>(unit_bytes), '\0');
        return bytes;
    }

    // By number of file: what was in it when it was first seen, and whether it was there.
    std::vector<std::string> bases_;
    std::vector<bool> existed_;
    std::vector<kvs::detail::NativePlatform::FileId> ids_;
};

namespace recorder {

using Native = kvs::detail::NativePlatform;

/// What is open now, recorded or not, so that a recording can begin at any time.
struct State {
    struct Mapping {
        const std::byte* base;
        std::size_t bytes;
        Native::File file;  ///< a descriptor of its own, because the mapping outlives the one it was made from
    };
    std::recursive_mutex mutex;
    std::vector<Native::File> files;
    std::vector<Mapping> mappings;
    EventLog* log = nullptr;
};

inline State& state() {
    static State state;
    return state;
}

inline std::uint64_t size_of(Native::File file) {
    Native::FileStatus status;
    return Native::status(file, status) == 0 ? status.bytes : 0;
}

inline std::string photograph(Native::File file) {
    std::string bytes(static_cast<std::size_t>(size_of(file)), '\0');
    for (std::size_t total = 0; total < bytes.size();) {
        std::size_t done = 0;
        if (Native::read(file, bytes.data() + total, bytes.size() - total, total, done) != 0 || done == 0) break;
        total += done;
    }
    return bytes;
}

}  // namespace recorder

/// Records into its `log` as long as it lives. One at a time.
class Recording {
public:
    Recording() {
        const std::lock_guard guard(recorder::state().mutex);
        recorder::state().log = &log;
        for (const auto& mapping : recorder::state().mappings) number_of(log, mapping.file, true);
        for (const auto file : recorder::state().files) number_of(log, file, true);
    }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    ~Recording() { stop(); }

    /// Ends it; the log stays.
    void stop() {
        const std::lock_guard guard(recorder::state().mutex);
        if (recorder::state().log == &log) recorder::state().log = nullptr;
    }

    /// Puts a mark of the test's into the log: the beginning or the end of an operation.
    void mark(std::string text) {
        const std::lock_guard guard(recorder::state().mutex);
        if (recorder::state().log == &log) log.events.push_back({.kind = Event::Kind::mark, .bytes = std::move(text)});
    }

    EventLog log;

    /// The number of a file in the log; a file that was not there before is photographed, or, if it was just created,
    /// known to have been absent.
    static std::size_t number_of(EventLog& log, recorder::Native::File file, bool existed) {
        recorder::Native::FileStatus status;
        if (recorder::Native::status(file, status) != 0) return Event::no_file;
        for (std::size_t i = 0; i < log.ids_.size(); ++i)
            if (log.ids_[i] == status.id) return i;
        log.ids_.push_back(status.id);
        log.existed_.push_back(existed);
        log.bases_.push_back(existed ? recorder::photograph(file) : std::string());
        return log.ids_.size() - 1;
    }
};

/// A platform that records while a `Recording` lives, and is `Base` in all else. `Base` may be one that fails.
template <class Base = kvs::detail::NativePlatform>
struct Recorded : Base {
    using File = typename Base::File;
    using Access = typename Base::Access;
    using Creation = typename Base::Creation;

    static int open(const char* path, Access access, Creation creation, unsigned permissions, File& file) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        typename Base::FileStatus before;
        const bool existed = recorder::Native::status_of_path(path, before) == 0;
        const int error = Base::open(path, access, creation, permissions, file);
        if (error != 0) return error;
        recorder::state().files.push_back(file);
        if (EventLog* log = recorder::state().log) {
            const std::size_t number = Recording::number_of(*log, file, existed);
            log->events.push_back({Event::Kind::open, number, 0, recorder::size_of(file), path, 0, 0});
        }
        return 0;
    }
    static int duplicate(File file, int lowest, File& copy) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        const int error = Base::duplicate(file, lowest, copy);
        if (error == 0) recorder::state().files.push_back(copy);
        return error;
    }
    static int close(File file) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        std::erase(recorder::state().files, file);
        return Base::close(file);
    }
    static int allocate(File file, std::uint64_t from, std::uint64_t to) noexcept {
        return sized(Event::Kind::allocate, file, [&] { return Base::allocate(file, from, to); });
    }
    static int resize(File file, std::uint64_t bytes) noexcept {
        return sized(Event::Kind::resize, file, [&] { return Base::resize(file, bytes); });
    }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        const int error = Base::write(file, from, bytes, offset, done);
        if (EventLog* log = recorder::state().log)
            log->events.push_back({Event::Kind::write, Recording::number_of(*log, file, true), offset,
                                   recorder::size_of(file), std::string(static_cast<const char*>(from), done), 0,
                                   error});
        return error;
    }
    static int rename(const char* from, const char* to) noexcept { return rename_by(&Base::rename, from, to); }
    static int rename_to_free(const char* from, const char* to) noexcept {
        return rename_by(&Base::rename_to_free, from, to);
    }
    static int remove(const char* path) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        const std::size_t number = number_of_path(path);
        const int error = Base::remove(path);
        if (EventLog* log = recorder::state().log)
            log->events.push_back({Event::Kind::remove, number, 0, 0, path, 0, error});
        return error;
    }
    /// Other threads store while the flush is under way, so it is two events.
    static int flush(File file) noexcept {
        std::size_t number = Event::no_file;
        std::size_t begin = 0;
        const EventLog* recording = nullptr;
        {
            const std::lock_guard guard(recorder::state().mutex);
            if (EventLog* log = recorder::state().log) {
                recording = log;
                number = Recording::number_of(*log, file, true);
                begin = log->events.size();
                log->events.push_back({Event::Kind::flush_begin, number, 0, recorder::size_of(file), {}, 0, 0});
            }
        }
        const int error = Base::flush(file);
        const std::lock_guard guard(recorder::state().mutex);
        EventLog* log = recorder::state().log;
        if (log != nullptr && log == recording)
            log->events.push_back({Event::Kind::flush_end, number, 0, recorder::size_of(file), {}, begin, error});
        return error;
    }
    static int flush_directory(const char* path) noexcept {
        const int error = Base::flush_directory(path);
        const std::lock_guard guard(recorder::state().mutex);
        if (EventLog* log = recorder::state().log)
            log->events.push_back({Event::Kind::flush_directory, Event::no_file, 0, 0, path, 0, error});
        return error;
    }
    static int map(File file, std::size_t bytes, Access access, std::byte*& base) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        const int error = Base::map(file, bytes, access, base);
        File own = Base::no_file;
        if (error == 0 && recorder::Native::duplicate(file, 0, own) == 0)
            recorder::state().mappings.push_back({base, bytes, own});
        return error;
    }
    static int unmap(std::byte* base, std::size_t bytes) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        std::erase_if(recorder::state().mappings, [&](const auto& mapping) {
            if (mapping.base != base) return false;
            recorder::Native::close(mapping.file);
            return true;
        });
        return Base::unmap(base, bytes);
    }
    static void on_store(const std::byte* at, std::size_t bytes) noexcept {
        Base::on_store(at, bytes);
        const std::lock_guard guard(recorder::state().mutex);
        EventLog* log = recorder::state().log;
        if (log == nullptr) return;
        for (const auto& mapping : recorder::state().mappings) {
            if (at < mapping.base || at >= mapping.base + mapping.bytes) continue;
            const auto offset = static_cast<std::uint64_t>(at - mapping.base);
            const std::uint64_t size = recorder::size_of(mapping.file);
            if (offset + bytes > size)
                log->violations.push_back("a store of " + std::to_string(bytes) + " bytes at " +
                                          std::to_string(offset) + " in a file of " + std::to_string(size));
            log->events.push_back({Event::Kind::store, Recording::number_of(*log, mapping.file, true), offset, size,
                                   std::string(reinterpret_cast<const char*>(at), bytes), 0, 0});
            return;
        }
        log->violations.push_back("a store to memory that is not mapped");
    }

private:
    static int rename_by(int (*call)(const char*, const char*) noexcept, const char* from, const char* to) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        const std::size_t number = number_of_path(from);
        const int error = call(from, to);
        if (EventLog* log = recorder::state().log)
            log->events.push_back({Event::Kind::rename, number, 0, 0, to, 0, error});
        return error;
    }
    template <class Call>
    static int sized(Event::Kind kind, File file, Call call) noexcept {
        const std::lock_guard guard(recorder::state().mutex);
        const int error = call();
        if (EventLog* log = recorder::state().log)
            log->events.push_back(
                {kind, Recording::number_of(*log, file, true), 0, recorder::size_of(file), {}, 0, error});
        return error;
    }
    static std::size_t number_of_path(const char* path) {
        EventLog* log = recorder::state().log;
        typename Base::FileStatus status;
        if (log == nullptr || recorder::Native::status_of_path(path, status) != 0) return Event::no_file;
        for (std::size_t i = 0; i < log->ids_.size(); ++i)
            if (log->ids_[i] == status.id) return i;
        return Event::no_file;
    }
};

using RecordingPlatform = Recorded<>;

}  // namespace kvs_test
