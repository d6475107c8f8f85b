// [growth] A file system that is full, a real one: a tmpfs of every size, in steps of one page, from none to more
// than the work needs. Never a bus error; an operation that finds no space says disk_full and names the file; what was
// there stays; and when there is space again, all goes on.
//
// Mounting takes a privileged user; for others these tests only say so.
#include <kvs/detail/pair_layout.hpp>
#include <kvs/kvs.hpp>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/expect_error.hpp"
#include "../support/seed_image.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs::errc;
using kvs::Mode;
using kvs_test::Complaints;
using kvs_test::contents_of;
using kvs_test::expect_error;
using kvs_test::in_child;
using kvs_test::TempDir;

using Seed = kvs::SeedStore<8>;
using Pairs = kvs::Store<8>;
using Model = std::map<std::string, std::string>;
const kvs::Options quiet{.sync = kvs::sync_manual};

/// The size of a file without records.
template <class Store>
constexpr std::uint64_t empty_bytes =
    std::is_same_v<Store, Seed> ? kvs_test::SeedImage::records : kvs::detail::pair_layout::records_offset;

/// A file system in memory with room for so many pages, gone when the test ends.
class SmallDisk {
public:
    explicit SmallDisk(std::uint64_t pages) {
        const std::string size = "mode=0700,nr_inodes=100,size=" + std::to_string(pages * page_bytes());
        mounted_ =
            ::mount("kvs-test", dir_.path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, size.c_str()) == 0;
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    ~SmallDisk() {
        if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
    }

    bool mounted() const { return mounted_; }
    std::string file(const std::string& name = "store.akvs") const { return dir_.file(name); }
    const std::filesystem::path& path() const { return dir_.path(); }

    static std::uint64_t page_bytes() { return static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)); }

    std::uint64_t free_pages() const {
        struct statvfs s {};
        return ::statvfs(dir_.path().c_str(), &s) == 0 ? s.f_bavail * s.f_frsize / page_bytes() : 0;
    }
    /// Uses up so many pages, or all; false if there are fewer.
    bool fill(std::uint64_t pages = UINT64_MAX) const {
        if (pages == UINT64_MAX) pages = free_pages();
        const int file = ::open(this->file("filler").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        const std::string page(page_bytes(), 'f');
        bool good = file >= 0;
        for (std::uint64_t i = 0; i < pages && good; ++i)
            good = ::write(file, page.data(), page.size()) == static_cast<ssize_t>(page.size());
        ::close(file);
        return good;
    }
    void empty() const { std::remove(file("filler").c_str()); }

private:
    TempDir dir_;
    bool mounted_ = false;
};

bool can_mount() {
    if (SmallDisk(1).mounted()) return true;
    WARN("a file system cannot be mounted here: not tested");
    return false;
}

/// Keys of many lengths, one after the other; stops at the first error and returns it.
template <class Store>
std::error_code work(Store& s, Model& model) {
    std::error_code error;
    for (int i = 0; i < 60; ++i) {
        const std::string key = "k" + std::to_string(i);
        const std::string value(static_cast<std::size_t>(i * i * 7 % 5000), static_cast<char>('a' + i % 26));
        s.set(key, value, error);
        if (error) return error;
        model[key] = value;
    }
    return error;
}

template <class Store>
std::string compare(const Store& s, const Model& model) {
    Complaints complaints;
    complaints.unless(s.size() == model.size(), "size() is " + std::to_string(s.size()));
    for (const auto& [key, value] : model)
        complaints.unless(s.template get<std::string>(key) == value, key + " is wrong");
    complaints.unless(s.verify().ok(), "verify is not content");
    return complaints.text();
}

}  // namespace

TEMPLATE_TEST_CASE("a store on a disk of every size", "[full_disk]", Seed, Pairs) {
    using Store = TestType;
    if (!can_mount()) return;
    // The work takes some 270 KiB more than an empty store, or, in pairs, twice that.
    const std::uint64_t index_pages = (empty_bytes<Store> + SmallDisk::page_bytes() - 1) / SmallDisk::page_bytes();
    std::size_t not_created = 0, filled = 0, done = 0;
    std::uint64_t pages = 1;
    for (; done < 4; ++pages) {
        REQUIRE(pages < 1000);
        INFO(pages << " pages");
        const SmallDisk disk(pages + 20);
        REQUIRE(disk.mounted());
        REQUIRE(disk.fill(20));  // to have something to free
        const std::string path = disk.file();
        std::error_code error;
        std::optional<Store> s(std::in_place, path, quiet, error);
        if (error) {
            ++not_created;
            CHECK(pages <= index_pages);
            CHECK(error == errc::disk_full);
            expect_error(errc::disk_full, {path, "pace"}, [&] { Store again(path); });
            CHECK(!std::filesystem::exists(path));
            continue;
        }
        Model model;
        error = work(*s, model);
        CHECK(compare(*s, model) == "");
        if (!error) {
            ++done;
            continue;
        }
        ++filled;
        CHECK(error == errc::disk_full);
        // The file is no longer than what is in it asks for, and the failed operation changed nothing.
        const std::uint64_t size = std::filesystem::file_size(path);
        expect_error(errc::disk_full, {path, "big"}, [&] { s->set("big", std::string(60000, 'x')); });
        CHECK(std::filesystem::file_size(path) == size);
        CHECK(!s->contains("big"));
        // What needs no space goes on, on a disk without any.
        disk.fill();
        if (!model.empty()) {
            const std::string key = model.begin()->first;
            model[key] = std::string(model[key].size(), 'z');
            s->set(key, model[key]);
            CHECK(s->erase(key));
            s->set(key, model[key]);
        }
        s->sync();
        CHECK(compare(*s, model) == "");
        std::error_code copying;
        s->copy_to(disk.file("copy"), copying);
        CHECK(copying == errc::disk_full);
        s->compact_to(disk.file("copy"), copying);
        CHECK(copying == errc::disk_full);
        std::size_t files = 0;
        for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(disk.path())) ++files;
        CHECK(files == 2);
        // Opened again on the full disk, and read-only.
        s.reset();
        {
            const Store reader(path, {.mode = Mode::read_only});
            CHECK(reader.recovery().outcome == kvs::Recovery::Outcome::clean);
            CHECK(compare(reader, model) == "");
        }
        s.emplace(path, quiet);
        CHECK(compare(*s, model) == "");
        // Space is freed, and the same store goes on.
        disk.empty();
        s->set("small", "x");
        model["small"] = "x";
        CHECK(compare(*s, model) == "");
    }
    CHECK(not_created == index_pages - 1);
    CHECK(filled >= 30);
}

TEMPLATE_TEST_CASE("a disk that fills up while a store is open, and is freed again", "[full_disk]", Seed, Pairs) {
    using Store = TestType;
    if (!can_mount()) return;
    for (const kvs::SyncPolicy sync : {kvs::sync_manual, kvs::sync_each, kvs::Options{}.sync}) {
        const SmallDisk disk(1000);
        Store s(disk.file(), {.sync = sync});
        Model model;
        for (int round = 0; round < 5; ++round) {
            const std::string first = "first" + std::to_string(round);
            s.set(first, "1");
            model[first] = "1";
            disk.fill();
            std::error_code error;
            int i = 0;
            for (; !error; ++i) {
                const std::string key = std::to_string(round) + "." + std::to_string(i);
                s.set(key, std::string(2000, 'x'), error);
                if (!error) model[key] = std::string(2000, 'x');
                REQUIRE(i < 1000);
            }
            CHECK(error == errc::disk_full);
            CHECK(compare(s, model) == "");
            disk.empty();
        }
        s.sync();
        CHECK(compare(s, model) == "");
    }
}

// H6: a store into a hole of a full disk is a bus error. Copying tools leave holes where a file has only NULs.
TEMPLATE_TEST_CASE("a file with holes on a full disk", "[full_disk]", Seed, Pairs) {
    using Store = TestType;
    if (!can_mount()) return;
    const SmallDisk disk(500);
    const std::string path = disk.file();
    Model model;
    {
        Store s(path, quiet);
        for (int i = 0; i < 20; ++i) {
            const std::string key = "k" + std::to_string(i);
            model[key] = std::string(static_cast<std::size_t>(i) * 100, 'v');
            s.set(key, model[key]);
        }
    }
    const std::string bytes = contents_of(path);
    const auto punch = [&] {
        disk.empty();
        std::filesystem::remove(path);
        const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        REQUIRE(::ftruncate(file, static_cast<off_t>(bytes.size())) == 0);
        const std::size_t page = SmallDisk::page_bytes();
        std::size_t holes = 0;
        for (std::size_t at = 0; at < bytes.size(); at += page) {
            const std::string piece = bytes.substr(at, page);
            if (piece.find_first_not_of('\0') == std::string::npos)
                ++holes;
            else
                REQUIRE(::pwrite(file, piece.data(), piece.size(), static_cast<off_t>(at)) > 0);
        }
        ::close(file);
        CHECK(holes >= 10);
        REQUIRE(disk.fill());
        CHECK(disk.free_pages() == 0);
    };
    // On this file system a look at a hole through a mapping needs a page too, so that reading can be a bus error. A
    // store that cannot get the space may say so at once, or serve what is there; it must not die.
    const auto use = [&](Mode mode) -> std::string {
        Complaints complaints;
        std::error_code error;
        Store s(path, {.mode = mode, .sync = kvs::sync_manual}, error);
        if (error) return error == errc::disk_full ? "" : "open: " + error.message();
        complaints.unless(compare(s, model).empty(), compare(s, model));
        if (mode == Mode::read_only) return complaints.text();
        const auto refused = [&](const char* what) {
            complaints.unless(error == errc::disk_full, std::string(what) + ": " + error.message());
        };
        s.set("k5", model.at("k5"), error);
        refused("set of what is there");
        s.set("new", "value", error);
        refused("set");
        s.erase("k5", error);
        refused("erase");
        s.clear(error);
        refused("clear");
        complaints.unless(compare(s, model).empty(), compare(s, model));
        disk.empty();
        s.set("new", "value");
        complaints.unless(s.template get<std::string>("new") == "value", "set is not read");
        return complaints.text();
    };
    // A read-only handle may not get the space, so there a hole that is looked at stays a bus error.
    for (const Mode mode : {Mode::open_existing}) {
        INFO("mode " << static_cast<int>(mode));
        punch();
        const std::string problem = in_child([&] { return use(mode); });
        CHECK(problem == "");
        disk.empty();
        Store s(path, quiet);
        model.erase("new");
        s.erase("new");
        CHECK(compare(s, model) == "");
    }
    // What an unfinished creation leaves on a full disk. A store of pairs looked for superblocks in it through the
    // mapping, and died.
    disk.empty();
    std::filesystem::remove(path);
    kvs_test::write_file(path, "");
    REQUIRE(::truncate(path.c_str(), static_cast<off_t>(empty_bytes<Store>)) == 0);
    REQUIRE(disk.fill());
    const std::string problem = in_child([&]() -> std::string {
        std::error_code error;
        Store s(path, quiet, error);
        if (error != errc::disk_full) return "open: " + error.message();
        disk.empty();
        Store again(path, quiet);
        again.set("k", 1);
        return again.template get<int>("k") == 1 ? "" : "not read";
    });
    CHECK(problem == "");
}
