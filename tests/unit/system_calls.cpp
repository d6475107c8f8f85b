// Every call of the operating system fails: the first, the second, ... of each function, once and for ever, with
// every errno that it may have, through the whole life of a store and under every sync policy. Each time:
//
//   * no crash, no hang, no descriptor, mapping or thread that stays, no file that nobody asked for;
//   * an operation that fails says so by the right code and a message that names file and cause, and has changed
//   nothing
//     (with `sync_each`, a write whose flush fails is in place);
//   * after a failed flush the store takes no more writes and no more flushes, and serves reads;
//   * what was acknowledged is there when the file is opened by a store whose calls work, and all is well with it.
//
// An interrupted call (EINTR, once) is noticed by nobody.
#include <kvs/kvs.hpp>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/failing_platform.hpp"
#include "../support/seed_image.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs::errc;
using kvs::Mode;
using kvs::Value;
using kvs_test::Call;
using kvs_test::call_count;
using kvs_test::contents_of;
using kvs_test::FailingPlatform;
using kvs_test::Fault;
using kvs_test::Faults;
using kvs_test::name_of;
using kvs_test::TempDir;

using Store = kvs::Store<8, kvs::NoBackup, FailingPlatform>;
using Plain = kvs::SeedStore<8>;
using Model = std::map<std::string, Value>;

int open_descriptors() {
    int count = 0;
    DIR* directory = ::opendir("/proc/self/fd");
    if (directory == nullptr) return 0;
    while (::readdir(directory) != nullptr) ++count;
    ::closedir(directory);
    return count;
}

/// The code that a failure of this call has; what it means stands in error.hpp and is told here once more.
errc expected_code(Call call, int error, bool writing) {
    if (call == Call::lock && (error == EAGAIN || error == EACCES)) return errc::in_use;
    const bool reads = call == Call::size || call == Call::status || call == Call::status_of_path ||
                       call == Call::read || call == Call::map || call == Call::lock || call == Call::duplicate ||
                       !writing;
    switch (error) {
        case ENOSPC:
        case EDQUOT: return errc::disk_full;
        case EROFS:
        case EACCES: return reads ? errc::io_error : errc::read_only;
        default: return errc::io_error;
    }
}

/// Thrown by what follows; the test goes on with the next life, and tells each kind of problem once.
struct Problem : std::runtime_error {
    using std::runtime_error::runtime_error;
};
void expect(bool right, const std::string& what) {
    if (!right) throw Problem(what);
}

/// The life of a store, with a failure somewhere in it.
class Life {
public:
    Life(const TempDir& dir, kvs::SyncPolicy sync, Fault fault) : dir_(dir), sync_(sync), fault_(fault) {}

    /// Lives it; false if the failure did not come up.
    bool live() {
        for (const auto& file : std::filesystem::directory_iterator(dir_.path())) std::filesystem::remove(file);
        Faults::restart(fault_);
        const int descriptors = open_descriptors();
        if (session(Mode::open_or_create) && session(Mode::open_existing)) {
            std::optional<Store> s;
            if (open(s, Mode::read_only)) check_everything(*s);
        }
        expect(Faults::open_files() == 0, "a file stays open");
        expect(Faults::mappings() == 0, "a mapping stays");
        expect(Faults::threads() == 0, "a thread stays");
        expect(open_descriptors() == descriptors, "a descriptor stays open");
        const unsigned fired = Faults::fired();
        if (fired == 0) expect(errors_ == 0, "an error without a failure");
        Faults::disarm();
        check_afterwards();
        return fired != 0;
    }

    unsigned errors() const { return errors_; }

private:
    std::string path() const { return dir_.file("store"); }

    /// Opens, works and closes; false if it could not be opened.
    bool session(Mode mode) {
        std::optional<Store> s;
        if (!open(s, mode)) return false;
        check_everything(*s);
        const std::string prefix = mode == Mode::open_existing ? "2." : "1.";
        set(*s, prefix + "n", 1);
        // Each of these needs space that the file has not got.
        set(*s, prefix + "long", std::string(65536, 'x'));
        set(*s, prefix + "long2", std::string(60000, 'y'));
        set(*s, prefix + "n", 2);
        set(*s, prefix + "n", "of another length");
        set(*s, prefix + "gone", 3);
        erase(*s, prefix + "gone");
        sync(*s);
        set(*s, prefix + "last", 4.5);
        if (mode == Mode::open_or_create) {
            copy(*s, "copy", false);
            copy(*s, "compact", true);
        } else {
            clear(*s);
        }
        set(*s, prefix + "end", 5);
        check_everything(*s);
        return true;
    }

    // ---- single steps ----------------------------------------------------------------------------------------------

    /// Runs one operation; true if it went well. What it may fail with is checked here.
    template <class Operation>
    bool attempt(const std::string& what, bool writing, Operation operation) {
        const unsigned fired = Faults::fired();
        std::string message;
        errc code{};
        try {
            operation();
            return true;
        } catch (const kvs::Error& e) {
            message = e.what();
            code = static_cast<errc>(e.code().value());
            expect(e.code().category() == kvs::error_category(), what + ": another category");
        }
        ++errors_;
        expect(fault_.error != EINTR || fault_.for_ever, what + " notices an interrupted call");
        const std::string name = kvs::make_error_code(code).message();
        expect(message.find(path()) != std::string::npos, what + ": no path in: " + name);
        if (code == errc::not_durable) {
            expect(flush_may_have_failed(), what + " is not_durable without a failed flush");
            return false;
        }
        // With a thread that syncs, a failure can also have come up there.
        expect(Faults::fired() != fired || sync_.kind() == kvs::SyncPolicy::Kind::every,
               what + " fails with " + name + ", and no call has failed in it");
        const errc expected = expected_code(fault_.call, fault_.error, writing);
        expect(code == expected,
               what + " fails with " + name + " and not with " + kvs::make_error_code(expected).message());
        if (code != errc::in_use)
            expect(message.find(std::generic_category().message(fault_.error)) != std::string::npos,
                   what + ": no cause in the message");
        return false;
    }

    /// A flush asks for the size of the file first, to see whether another program has cut it.
    bool flush_may_have_failed() const {
        return (fault_.call == Call::flush || fault_.call == Call::size) && Faults::fired() != 0;
    }

    /// As far as the store can know.
    bool somebody_else_has_it() const {
        return fault_.call == Call::lock && (fault_.error == EAGAIN || fault_.error == EACCES);
    }

    bool open(std::optional<Store>& s, Mode mode) {
        const bool existed = std::filesystem::exists(path());
        const std::string before = existed ? contents_of(path()) : std::string();
        const bool good = attempt("open", mode != Mode::read_only,
                                  [&] { s.emplace(path(), kvs::Options{.mode = mode, .sync = sync_}); });
        if (good) return true;
        if (existed)
            expect(contents_of(path()) == before, "a failed open has changed the file");
        else if (fault_.call == Call::lock && (fault_.error == EAGAIN || fault_.error == EACCES))
            std::filesystem::remove(path());  // so the system says that somebody else has it: then it is theirs
        else if (fault_.call != Call::remove && !somebody_else_has_it())
            expect(!std::filesystem::exists(path()), "a failed creation has left a file");
        return false;
    }

    template <class T>
    void set(Store& s, const std::string& key, const T& value) {
        change(s, key, Value(value), attempt("set", true, [&] { s.set(key, value); }));
    }
    void erase(Store& s, const std::string& key) {
        change(s, key, std::nullopt, attempt("erase", true, [&] { s.erase(key); }));
    }
    void clear(Store& s) {
        if (attempt("clear", true, [&] { s.clear(); }) || (in_place() && s.empty())) model_.clear();
        check_contents(s);
    }
    void sync(Store& s) {
        if (attempt("sync", true, [&] { s.sync(); }) || !flush_may_have_failed()) return;
        // Not now and not later.
        const auto refused = [&](const char* what, const std::function<void()>& operation) {
            expect(!attempt(what, true, operation), std::string(what) + " is possible");
        };
        refused("sync after a failed sync", [&] { s.sync(); });
        refused("set after a failed sync", [&] { s.set("no", 1); });
        refused("erase after a failed sync", [&] { s.erase("1.n"); });
        refused("clear after a failed sync", [&] { s.clear(); });
        check_contents(s);
    }

    /// With `sync_each` a write whose flush fails is in place, and reported.
    bool in_place() const { return sync_.kind() == kvs::SyncPolicy::Kind::each && flush_may_have_failed(); }

    void change(const Store& s, const std::string& key, const std::optional<Value>& now, bool good) {
        if (good || (in_place() && s.value(key) == now)) {
            if (now)
                model_[key] = *now;
            else
                model_.erase(key);
        }
        check_contents(s);
    }

    /// Reads are served, whatever has failed.
    void check_contents(const Store& s) const {
        expect(s.size() == model_.size(), "size() is wrong");
        for (const auto& [key, value] : model_) expect(s.value(key) == std::optional(value), "a value is wrong");
    }
    void check_everything(const Store& s) const {
        check_contents(s);
        std::size_t entries = 0;
        for (const auto& entry : s) entries += model_.count(std::string(entry.key()));
        expect(entries == model_.size(), "iteration yields other keys");
    }

    void copy(Store& s, const std::string& name, bool compact) {
        const std::string target = dir_.file(name);
        const std::string what = compact ? "compact_to" : "copy_to";
        const bool good = attempt(what, true, [&] {
            if (compact)
                s.compact_to(target);
            else
                s.copy_to(target);
        });
        const bool exists = std::filesystem::exists(target);
        expect(exists || !good, what + " has made no file");
        // After the rename only the directory can fail to be flushed: the copy is whole.
        expect(!exists || good || fault_.call == Call::flush_directory, what + " has failed and made a file");
        if (exists) copies_[target] = model_;
        check_files();
    }

    void check_files() const {
        if (fault_.call == Call::remove && fault_.error != EINTR && Faults::fired() != 0) return;
        for (const auto& file : std::filesystem::directory_iterator(dir_.path()))
            expect(file.path().filename() == "store" || copies_.count(file.path().string()) != 0,
                   "a file is left behind");
    }

    void check_afterwards() {
        check_files();
        for (const auto& [copy, model] : copies_) check_plain("a copy", copy, model);
        if (std::filesystem::exists(path()))
            check_plain("the store", path(), model_);
        else
            expect(model_.empty(), "the file is gone");
    }
    static void check_plain(const std::string& what, const std::string& file, const Model& model) {
        Plain s(file, {.sync = kvs::sync_manual});
        expect(s.size() == model.size(), what + " has another number of keys, opened again");
        for (const auto& [key, value] : model) expect(s.value(key) == std::optional(value), what + " has lost a value");
        expect(s.verify().ok(), what + " is damaged");
        s.set("again", 1);
        expect(s.get<int>("again") == 1, what + " takes no writes, opened again");
    }

    const TempDir& dir_;
    kvs::SyncPolicy sync_;
    Fault fault_;
    Model model_;                          // what was acknowledged
    std::map<std::string, Model> copies_;  // by path
    unsigned errors_ = 0;
};

constexpr int every_error[] = {EIO, ENOSPC, EDQUOT, EINTR, ENOMEM, EAGAIN, EROFS, EACCES, ENOLCK};

struct Policy {
    const char* name;
    kvs::SyncPolicy sync;
};
const Policy policies[] = {
    {"manual", kvs::sync_manual}, {"each", kvs::sync_each}, {"every", kvs::sync_every(std::chrono::nanoseconds(1))}};

}  // namespace

TEST_CASE("every system call fails, at every time, with every error", "[system_calls]") {
    TempDir dir;
    std::size_t lives = 0, failures = 0;
    std::set<Call> met;
    std::map<std::string, std::string> problems;  // with the first life that had it
    for (const Policy& policy : policies) {
        for (const bool no_allocate : {false, true}) {
            for (unsigned number = 0; number < call_count; ++number) {
                const auto call = static_cast<Call>(number);
                for (const bool for_ever : {false, true}) {
                    // The usual run takes the errors in turn, and all of them for the first call; the long one always.
                    std::size_t turn = number;
                    bool more = true;
                    for (unsigned i = 1; more; ++i) {
                        const std::size_t errors = std::size(every_error);
                        more = false;
                        for (std::size_t k = 0; k < (kvs_test::is_long() || i == 1 ? errors : 1); ++k) {
                            const int error = every_error[turn++ % errors];
                            if (call == Call::start_thread && error == EINTR)
                                continue;  // no thread is started by a call
                            Life life(dir, policy.sync,
                                      {.call = call,
                                       .first = i,
                                       .for_ever = for_ever,
                                       .error = error,
                                       .no_allocate = no_allocate});
                            ++lives;
                            bool fired = true;
                            try {
                                fired = life.live();
                            } catch (const std::exception& e) {
                                problems.emplace(std::string(name_of(call)) + ": " + e.what(),
                                                 "number " + std::to_string(i) + (for_ever ? " and all after it" : "") +
                                                     ", " + std::generic_category().message(error) + ", sync_" +
                                                     policy.name + (no_allocate ? ", without allocate" : ""));
                            }
                            if (!fired) continue;
                            more = true;
                            met.insert(call);
                            failures += life.errors() != 0 ? 1 : 0;
                        }
                    }
                }
            }
        }
    }
    for (const auto& [problem, life] : problems) FAIL_CHECK(problem << " (" << life << ")");
    INFO(lives << " lives, " << failures << " with errors");
    CHECK(failures >= 300);
    // `duplicate` is for descriptors 0 to 2, `remove` for what has failed already: they have tests of their own. A
    // store of the seed format asks nobody for locks or for its place, and maps its file once.
    CHECK(met.size() == call_count - 7);
}

// ---- more than one thing at a time ---------------------------------------------------------------------------------

namespace {

/// Where nothing allocates, space is got by writing zeros; a disk that fills up in the middle of that has to be seen,
/// and what was written has to be cut off again.
struct FillingPlatform : kvs::detail::PosixPlatform {
    static inline std::uint64_t room = UINT64_MAX;  // bytes that can still be written
    static inline std::size_t most = SIZE_MAX;      // of one call
    static inline int resizes_to_fail = 0;

    static int allocate(File, std::uint64_t, std::uint64_t) noexcept { return EOPNOTSUPP; }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        done = 0;
        bytes = bytes < most ? bytes : most;
        bytes = bytes < room ? bytes : static_cast<std::size_t>(room);
        if (bytes == 0) return ENOSPC;
        const int error = PosixPlatform::write(file, from, bytes, offset, done);
        room -= done;
        return error;
    }
    static int resize(File file, std::uint64_t bytes) noexcept {
        if (resizes_to_fail > 0) return --resizes_to_fail, EIO;
        return PosixPlatform::resize(file, bytes);
    }
    static void restart() {
        room = UINT64_MAX;
        most = SIZE_MAX;
        resizes_to_fail = 0;
    }
};

}  // namespace

TEST_CASE("a disk that fills up while zeros are written", "[system_calls]") {
    using Filling = kvs::Store<8, kvs::NoBackup, FillingPlatform>;
    TempDir dir;
    const std::string path = dir.file();
    for (const std::size_t most : {std::size_t{SIZE_MAX}, std::size_t{1000}, std::size_t{1}}) {
        FillingPlatform::restart();
        // Creation.
        for (const std::uint64_t room : std::initializer_list<std::uint64_t>{0, 1, 16384, 262153}) {
            if (most == 1 && room > 1) continue;
            FillingPlatform::most = most;
            FillingPlatform::room = room;
            std::error_code error;
            const Filling s(path, {}, error);
            CHECK(error == errc::disk_full);
            CHECK(!std::filesystem::exists(path));
        }
        FillingPlatform::restart();
        {
            Filling s(path, {.sync = kvs::sync_manual});
            s.set("first", 1);
            FillingPlatform::most = most;
            const std::string text(65536, 'x');
            const std::uint64_t size = std::filesystem::file_size(path);
            for (const std::uint64_t room : std::initializer_list<std::uint64_t>{0, 1, 4095, 16384, 16385, 60000}) {
                if (most == 1 && room > 4095) continue;
                INFO("room " << room << ", " << most << " at a time");
                FillingPlatform::room = room;
                std::error_code error;
                s.set("long", text, error);
                CHECK(error == errc::disk_full);
                CHECK(std::filesystem::file_size(path) == size);
                CHECK(!s.contains("long"));
                CHECK(s.get<int>("first") == 1);
                s.set("first", 1);
            }
            // Just enough for the record itself: what was tried for, more than that, is given back.
            FillingPlatform::room = 140'000;
            if (most != 1) {
                s.set("long", text);
                CHECK(s.get<std::string>("long") == text);
                s.set("long2", text);
                std::error_code error;
                for (int i = 0; i < 4 && !error; ++i) s.set("more" + std::to_string(i), text, error);
                CHECK(error == errc::disk_full);
            }
            // A cut that fails leaves a longer file, and no harm.
            FillingPlatform::room = 5000;
            FillingPlatform::resizes_to_fail = 1;
            std::error_code error;
            s.set("another", text, error);
            CHECK(error == errc::disk_full);
            FillingPlatform::restart();
            s.set("another", text);
            CHECK(s.get<std::string>("another") == text);
            CHECK(s.verify().ok());
        }
        const Plain s(path, {.mode = Mode::read_only});
        CHECK(s.recovery().outcome == kvs::Recovery::Outcome::clean);
        CHECK(s.get<int>("first") == 1);
        CHECK(s.get<std::string>("another") == std::string(65536, 'x'));
        CHECK(s.verify().ok());
        std::filesystem::remove(path);
    }
}

TEST_CASE("a disk that fills up while holes are filled", "[system_calls]") {
    using Filling = kvs::Store<8, kvs::NoBackup, FillingPlatform>;
    // Not in memory: there, a look at a hole through a mapping fills it.
    TempDir dir(std::filesystem::temp_directory_path());
    const std::string path = dir.file();
    const auto has_holes = [&] {
        const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
        const off_t hole = ::lseek(file, 0, SEEK_HOLE);
        ::close(file);
        return hole >= 0 && static_cast<std::uint64_t>(hole) < std::filesystem::file_size(path);
    };
    FillingPlatform::restart();
    { Filling(path, {.sync = kvs::sync_manual}).set("k", 1); }
    // As a copying tool leaves it: the same bytes, with holes where only NULs are.
    const std::string bytes = contents_of(path);
    std::filesystem::remove(path);
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(::ftruncate(file, static_cast<off_t>(bytes.size())) == 0);
    for (std::size_t at = 0; at < bytes.size(); at += 4096)
        if (const std::string page = bytes.substr(at, 4096); page.find_first_not_of('\0') != std::string::npos)
            REQUIRE(::pwrite(file, page.data(), page.size(), static_cast<off_t>(at)) > 0);
    ::close(file);
    Filling s(path, {.sync = kvs::sync_manual});
    if (!has_holes()) {
        WARN("no holes on this file system");
        return;
    }
    for (const std::uint64_t room : std::initializer_list<std::uint64_t>{0, 1, 511, 4096, 20000}) {
        FillingPlatform::room = room;
        std::error_code error;
        s.set("k", 2, error);
        CHECK(error == errc::disk_full);
        CHECK(s.get<int>("k") == 1);
    }
    CHECK((contents_of(path) == bytes));
    FillingPlatform::restart();
    s.set("k", 2);
    CHECK(s.get<int>("k") == 2);
    CHECK(s.verify().ok());
    CHECK(!has_holes());
}

namespace {

/// Copies cannot be written, and their remains can be removed only at the second attempt.
struct NoCopyPlatform : kvs::detail::PosixPlatform {
    static inline int error_of_remove = 0;
    static inline int removes = 0;
    static inline int flushes_left = 0;  // then they fail

    static int flush(File file) noexcept { return flushes_left-- > 0 ? PosixPlatform::flush(file) : EIO; }
    static int remove(const char* path) noexcept {
        if (++removes == 1 && error_of_remove != 0) return error_of_remove;
        return PosixPlatform::remove(path);
    }
};

}  // namespace

TEST_CASE("what a failed copy leaves is removed, also if that is interrupted", "[system_calls]") {
    TempDir dir;
    for (const int error_of_remove : {0, EINTR, EIO}) {
        for (const bool compact : {false, true}) {
            INFO("remove fails once with " << error_of_remove);
            NoCopyPlatform::flushes_left = 1000;
            kvs::Store<8, kvs::NoBackup, NoCopyPlatform> s(dir.file("store"), {.sync = kvs::sync_manual});
            s.set("k", 1);
            s.sync();
            NoCopyPlatform::error_of_remove = error_of_remove;
            NoCopyPlatform::removes = 0;
            NoCopyPlatform::flushes_left = 0;
            std::error_code error;
            if (compact)
                s.compact_to(dir.file("copy"), error);
            else
                s.copy_to(dir.file("copy"), error);
            CHECK(error == errc::io_error);
            NoCopyPlatform::flushes_left = 1000;
            std::size_t files = 0;
            for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(dir.path())) ++files;
            CHECK(files <= (error_of_remove == EIO ? 2u : 1u));
            // The store has nothing to do with it.
            s.set("k", 2);
            s.sync();
            CHECK(s.get<int>("k") == 2);
            for (const auto& file : std::filesystem::directory_iterator(dir.path()))
                if (file.path().filename() != "store") std::filesystem::remove(file);
        }
    }
}

// H4, H5: after an error the kernel has dropped the pages, and answers the next call with success.
TEST_CASE("a flush that fails is not tried again", "[system_calls]") {
    TempDir dir;
    for (const Policy& policy : policies) {
        INFO("sync_" << policy.name);
        std::error_code error;
        {
            Faults::restart({});
            Store s(dir.file(), {.sync = policy.sync});
            s.set("before", 1);
            s.sync();
            const unsigned flushes = Faults::calls(Call::flush);
            Faults::restart({.call = Call::flush, .first = 1, .error = EIO});
            // With a thread that syncs the failure can come up there, and this set can be refused.
            s.set("k", 2, error);
            s.sync(error);
            CHECK((error == errc::io_error || error == errc::not_durable));
            CHECK(Faults::calls(Call::flush) == 1);
            for (int i = 0; i < 10; ++i) {
                s.sync(error);
                CHECK(error == errc::not_durable);
                s.set("before", 3, error);
                CHECK(error == errc::not_durable);
                s.erase("before", error);
                CHECK(error == errc::not_durable);
                s.clear(error);
                CHECK(error == errc::not_durable);
                CHECK(s.get<int>("before") == 1);
            }
            s.copy_to(dir.file("copy"));  // another file
            CHECK(flushes != 0);
            CHECK(Faults::calls(Call::flush) == 2);
            Faults::disarm();
            try {
                s.sync();
                CHECK(false);
            } catch (const kvs::Error& e) {
                CHECK(std::string(e.what()).find(std::generic_category().message(EIO)) != std::string::npos);
            }
            const unsigned last = Faults::calls(Call::flush);
            CHECK(last == 2);
        }
        CHECK(Faults::calls(Call::flush) == 2);  // the close does not either
        Store s(dir.file(), {.sync = policy.sync});
        CHECK(s.get<int>("before") == 1);
        s.set("k", 4);
        s.sync();
        CHECK(s.get<int>("k") == 4);
        s.clear();
    }
}

// H16: a program that closed a standard stream and prints must not print into the store.
TEST_CASE("a store never takes the descriptor of a standard stream", "[system_calls]") {
    TempDir dir;
    const std::string path = dir.file();
    struct NoInput {
        int saved = ::dup(0);
        NoInput() { ::close(0); }
        ~NoInput() {
            if (saved < 0) return;
            ::dup2(saved, 0);
            ::close(saved);
        }
    };
    for (const int error : {0, EMFILE, EINTR, ENOMEM}) {
        INFO("duplicate fails with " << error);
        const NoInput no_input;
        const int descriptors = open_descriptors();
        Faults::restart({.call = Call::duplicate, .first = error != 0 ? 1u : 0u, .error = error});
        std::error_code found;
        {
            Store s(path, {.sync = kvs::sync_manual}, found);
            CHECK(::fcntl(0, F_GETFD) == -1);
            if (error == 0 || error == EINTR) {
                CHECK(!found);
                s.set("k", 1);
                s.copy_to(dir.file("copy"), found);
                CHECK(!found);
                s.compact_to(dir.file("compact"), found);
                CHECK(!found);
            } else {
                CHECK(found == errc::io_error);
                CHECK(!std::filesystem::exists(path));
            }
        }
        CHECK(Faults::calls(Call::duplicate) >= 1);
        CHECK(Faults::open_files() == 0);
        CHECK(open_descriptors() == descriptors);
        std::filesystem::remove(path);
    }
}
