// Bugs that were found once, each with its story and the test that keeps it from coming back.
#include <kvs/kvs.hpp>

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include "../catch.hpp"
#include "../support/expect_error.hpp"
#include "../support/files.hpp"
#include "../support/seed_image.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::expect_error;
using kvs_test::SeedImage;
using kvs_test::TempDir;

/// A store in which chains run into each other: both slots lead to one record.
SeedImage image_with_meeting_chains() {
    SeedImage image(32);
    const auto record = image.add_int("a", 1);
    for (std::uint32_t bucket = 0; bucket < 64; ++bucket) image.set_link(SeedImage::slot(0x2000 + bucket), record);
    return image;
}

/// Counts flushes.
struct CountingPlatform : kvs::detail::PosixPlatform {
    static inline int flushes = 0;
    static int flush(File file) noexcept {
        ++flushes;
        return kvs::detail::PosixPlatform::flush(file);
    }
};

/// Runs something, once, behind a look at the size of a file.
struct MeddledPlatform : kvs::detail::PosixPlatform {
    static inline std::function<void()> meanwhile;
    static int size(File file, std::uint64_t& bytes) noexcept {
        const int e = kvs::detail::PosixPlatform::size(file, bytes);
        if (meanwhile) std::exchange(meanwhile, nullptr)();
        return e;
    }
};

}  // namespace

// When opening found chains that run into each other, it took all 17 value lengths for used, also those that the
// store's weights leave out: a look-up of an absent key then divided by the number of their groups, 0.
TEST_CASE("a look-up in a store whose chains run into each other asks only for lengths that exist", "[regressions]") {
    TempDir dir;
    image_with_meeting_chains().write(dir.file());
    kvs::SeedStore<32> s{dir.file()};
    CHECK(s.recovery().damaged_chains != 0);
    std::error_code error;
    CHECK(!s.contains("absent", error));
    CHECK(!s.get<int>("absent", error));
    s.set("new", 1, error);
    s.erase("absent", error);
    CHECK(!s.verify().ok());
}

// A failed increment left the new record's key and type beside the value of the one before, which is shorter.
TEST_CASE("an entry at which iteration failed is no entry", "[regressions]") {
    TempDir dir;
    SeedImage image(32);
    image.add("a", 0x00, "\x01", 1);
    // A text in a record of 16 bytes that claims to be of 65,536.
    image.add("b", 0x43, "short", 16);
    image.write(dir.file());
    const kvs::SeedStore<32> s{dir.file(), {.mode = kvs::Mode::read_only}};
    std::error_code error;
    std::size_t entries = 0;
    std::size_t failures = 0;
    for (auto it = s.begin(error); it != s.end(); it.increment(error)) {
        if (!error) {
            ++entries;
            continue;
        }
        ++failures;
        CHECK(error == kvs::errc::corrupt);
        std::error_code reading;
        CHECK(it->key().empty());
        CHECK(it->value(reading) == kvs::Value());
        CHECK(reading == kvs::errc::corrupt);
    }
    CHECK(entries == 1);
    CHECK(failures == 1);
}

// One record of an unknown type hid the records behind it in its bucket from iteration.
TEST_CASE("iteration goes on behind a damaged record, in the same bucket too", "[regressions]") {
    TempDir dir;
    SeedImage image(32);
    const auto keys = image.keys_beside("first", 4, 2);
    const auto first = image.add_int("first", 1);
    image.add_int(keys[0], 2);
    image.add_int(keys[1], 3);
    image.set_number(first + 32, 1, 0xee);
    image.write(dir.file());
    const kvs::SeedStore<32> s{dir.file(), {.mode = kvs::Mode::read_only}};
    std::error_code error;
    int sum = 0;
    int failures = 0;
    for (auto it = s.begin(error); it != s.end(); it.increment(error)) {
        if (error)
            ++failures;
        else
            sum += it->get<int>();
    }
    CHECK(failures == 1);
    CHECK(sum == 5);
}

// In the child of a fork every increment failed, and the iterator never became the end.
TEST_CASE("iteration in the child of a fork ends", "[regressions]") {
    TempDir dir;
    kvs::SeedStore<32> s{dir.file()};
    s.set("a", 1);
    std::error_code error;
    auto it = s.begin(error);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        it.increment(error);
        ::_exit(error == kvs::errc::forked && it == s.end() && s.begin(error) == s.end() ? 0 : 1);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
}

// The child of a fork shares the parent's lock, so a store that its parent had closed stayed in use.
TEST_CASE("a store that was closed can be opened while a child of its process lives", "[regressions]") {
    TempDir dir;
    int wake[2];
    REQUIRE(::pipe(wake) == 0);
    pid_t child = -1;
    {
        kvs::SeedStore<32> s{dir.file()};
        child = ::fork();
        if (child == 0) {
            ::close(wake[1]);
            char c = 0;
            ::_exit(::read(wake[0], &c, 1) >= 0 ? 0 : 1);  // lives until the parent closes its end
        }
        s.set("a", 1);
    }
    std::error_code error;
    kvs::SeedStore<32> again(dir.file(), {}, error);
    CHECK(!error);
    ::close(wake[1]);
    ::close(wake[0]);
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child);
}

// A process that dies between the two halves of a change of value length leaves both records. A read then took the one
// of the length it asked for, or the one it had found before: the same key had two values.
TEST_CASE("a key with two records has one value for every read, and one record after the next set", "[regressions]") {
    TempDir dir;
    SeedImage image(32);
    image.add("k", 0x03, std::string_view("\0\0\0\0\0\0\0\x02", 8), 8);
    image.add("k", 0x00, "\x01", 1);
    image.add_int("other", 7);
    image.write(dir.file());
    for (const bool value_first : {false, true}) {
        const kvs::SeedStore<32> s{dir.file(), {.mode = kvs::Mode::read_only}};
        CHECK(s.recovery().duplicate_keys == 1);
        if (value_first) CHECK(s.value("k") == kvs::Value(std::uint8_t{1}));
        CHECK(s.get<std::uint64_t>("k") == std::uint64_t{1});
        CHECK(s.get<std::uint8_t>("k") == std::uint8_t{1});
        CHECK(s.value("k") == kvs::Value(std::uint8_t{1}));
        s.compact_to(dir.file("compact"));
        const kvs::SeedStore<32> compact{dir.file("compact"), {.mode = kvs::Mode::read_only}};
        CHECK(compact.value("k") == kvs::Value(std::uint8_t{1}));
        CHECK(compact.verify().ok());
        CHECK(!s.verify().ok());
    }
    kvs::SeedStore<32> s{dir.file()};
    s.set("k", std::uint64_t{3});
    CHECK(s.size() == 2);
    CHECK(s.value("k") == kvs::Value(std::uint64_t{3}));
    CHECK(s.verify().ok());
    CHECK(s.erase("k"));
    CHECK(!s.contains("k"));
    CHECK(s.size() == 1);
}

// A copy over a store that another handle has open took the name from under it: what that handle wrote was lost.
TEST_CASE("a copy does not replace a store that is open", "[regressions]") {
    TempDir dir;
    kvs::SeedStore<32> a{dir.file("a")};
    {
        kvs::SeedStore<32> b{dir.file("b")};
        b.set("kept", 1);
        expect_error(kvs::errc::in_use, {}, [&] { a.copy_to(dir.file("b")); });
        expect_error(kvs::errc::in_use, {}, [&] { a.compact_to(dir.file("b")); });
        CHECK(b.get<int>("kept") == 1);
    }
    { CHECK(kvs::SeedStore<32>{dir.file("b")}.get<int>("kept") == 1); }
    a.copy_to(dir.file("b"));
    CHECK(kvs::SeedStore<32>{dir.file("b")}.empty());
    expect_error(kvs::errc::not_found, {}, [&] { a.copy_to(std::string("nul\0x", 5)); });
}

// Copies were private whatever the store was.
TEST_CASE("a copy has the permissions of the store", "[regressions]") {
    TempDir dir;
    kvs::SeedStore<32> s{dir.file(), {.permissions = 0640}};
    s.copy_to(dir.file("copy"));
    s.compact_to(dir.file("compact"));
    const auto wanted = std::filesystem::status(dir.file()).permissions();
    CHECK(std::filesystem::status(dir.file("copy")).permissions() == wanted);
    CHECK(std::filesystem::status(dir.file("compact")).permissions() == wanted);
}

// Creating through a symbolic link to where no file is ended in "replaced again and again".
TEST_CASE("a store is created where a symbolic link points", "[regressions]") {
    TempDir dir;
    std::filesystem::create_symlink(dir.file("target"), dir.file("link"));
    kvs::SeedStore<32> s{dir.file("link")};
    s.set("a", 1);
    CHECK(std::filesystem::exists(dir.file("target")));
}

// A creation that failed left an empty file behind.
TEST_CASE("a store that cannot be created leaves no file", "[regressions]") {
    struct FullPlatform : kvs::detail::PosixPlatform {
        static int allocate(File, std::uint64_t, std::uint64_t) noexcept { return ENOSPC; }
    };
    TempDir dir;
    expect_error(kvs::errc::disk_full, {dir.file()},
                 [&] { kvs::Store<32, kvs::NoBackup, FullPlatform> s{dir.file()}; });
    CHECK(!std::filesystem::exists(dir.file()));
}

// Erasing what is not there counted as a write: every sync after it flushed for nothing.
TEST_CASE("erasing an absent key leaves nothing to sync", "[regressions]") {
    TempDir dir;
    kvs::Store<32, kvs::NoBackup, CountingPlatform> s{dir.file(), {.sync = kvs::sync_manual}};
    CountingPlatform::flushes = 0;
    s.erase("absent");
    s.sync();
    CHECK(CountingPlatform::flushes == 0);
    s.set("present", 1);
    s.sync();
    s.sync();
    CHECK(CountingPlatform::flushes == 1);
}

// A sync takes no lock. It looked how long the file is, and then where its records end: when another thread had made it
// longer in between, they ended behind the file, which then was thought to have been cut short, and took no writes.
TEST_CASE("a file that becomes longer during a sync was not cut short", "[regressions]") {
    TempDir dir;
    kvs::Store<16, kvs::NoBackup, MeddledPlatform> s{dir.file(), {.sync = kvs::sync_manual}};
    s.set("k", 1);
    MeddledPlatform::meanwhile = [&] {
        for (int i = 0; i < 100'000; ++i) s.set("key" + std::to_string(i), std::uint64_t{1});
    };
    s.sync();
    CHECK(!MeddledPlatform::meanwhile);
    s.set("k", 2);
    s.sync();
    CHECK(s.size() == 100'001);
}

namespace {

/// Runs something just before a copy takes a name that was free.
struct Overtaken : kvs::detail::NativePlatform {
    static inline std::function<void()> meanwhile;
    static inline int error = 0;
    static int rename_to_free(const char* from, const char* to) noexcept {
        if (meanwhile) meanwhile();
        return error != 0 ? error : kvs::detail::NativePlatform::rename_to_free(from, to);
    }
};

}  // namespace

// Where nothing was, a copy locked nothing: a store that was created there meanwhile lost its name, and what was set in
// it, synced, was gone.
TEMPLATE_TEST_CASE("a copy does not replace a store that was created meanwhile", "[regressions]",
                   (kvs::Store<16, Overtaken>), (kvs::Store<16, kvs::NoBackup, Overtaken>)) {
    TempDir dir;
    TestType source{dir.file("a")};
    source.set("copied", 1);
    for (const bool compact : {false, true}) {
        const std::string target = dir.file(compact ? "b" : "c");
        const auto copy = [&] { compact ? source.compact_to(target) : source.copy_to(target); };
        {
            std::optional<kvs::Store<16>> other;
            Overtaken::meanwhile = [&] {
                other.emplace(target, kvs::Options{.sync = kvs::sync_each});
                other->set("mine", 1);
            };
            expect_error(kvs::errc::in_use, {dir.file("a"), target}, copy);
            Overtaken::meanwhile = {};
            CHECK(other->get<int>("mine") == 1);
        }
        CHECK(kvs::Store<16>{target}.get<int>("mine") == 1);
        // One that is closed is replaced, whenever it was made; also where names cannot be taken so.
        Overtaken::meanwhile = [&] { kvs::Store<16>{target}.set("theirs", 1); };
        std::filesystem::remove(target);
        copy();
        Overtaken::meanwhile = {};
        CHECK(TestType{target}.template get<int>("copied") == 1);
        Overtaken::error = EINVAL;
        std::filesystem::remove(target);
        copy();
        Overtaken::error = 0;
        CHECK(TestType{target}.template get<int>("copied") == 1);
    }
    CHECK(std::distance(std::filesystem::directory_iterator(dir.path()), {}) == 3);
}

// A file of pairs that had lost its end was called one of the seed format, and by the seed store one of pairs; with one
// page of its superblocks gone, the seed store opened it, and wrote.
TEST_CASE("a damaged file of pairs is told from one of the seed format", "[regressions]") {
    TempDir dir;
    const std::string path = dir.file();
    kvs::Store<16>{path}.set("k", 1);
    const std::string whole = kvs_test::contents_of(path);
    const auto write = [&](const std::string& content) { kvs_test::write_file(path, content); };
    for (const std::size_t size : {10u, 5000u, 262153u, 266248u, 270336u, 300000u, 380927u}) {
        INFO("cut to " << size);
        write(whole.substr(0, size));
        expect_error(kvs::errc::corrupt, {path, "wanted at least", "found " + std::to_string(size) + " bytes"},
                     [&] { kvs::Store<16>{path}; });
        const auto seed = size < 266240 ? kvs::errc::corrupt : kvs::errc::policy_mismatch;
        if (size != 266248)  // where one page begins as such, and that is all that is left
            expect_error(seed, {path}, [&] { kvs::SeedStore<16>{path}; });
        CHECK(std::filesystem::file_size(path) == size);
    }
    constexpr std::size_t superblocks[] = {266240, 270336, 278528, 282624};
    for (const std::size_t page : superblocks) {
        std::string damaged = whole;
        for (const std::size_t other : superblocks)
            if (other != page) damaged.replace(other, 4096, 4096, '\0');
        write(damaged);
        expect_error(kvs::errc::policy_mismatch, {path, "kvs::AbBackup"}, [&] { kvs::SeedStore<16>{path}; });
    }
}

namespace {

/// Bytes that can also be taken for text.
struct Name {
    char text[16] = {};
    operator std::string_view() const { return text; }
};

}  // namespace

template <>
inline constexpr bool kvs::enable_bytes<Name> = true;

namespace {

/// A header of the system for device numbers, which defines these as macros, was in every program.
struct Version {
    Version(int a, int b) : major(a), minor(b) {}
    int major, minor;
};
[[maybe_unused]] int which(kvs::SeedStore<16>&&) { return 1; }
int which(std::unique_ptr<Version>) { return 2; }

}  // namespace

TEST_CASE("kvs stays out of the way of other code", "[regressions]") {
    const Version version(1, 2);
    CHECK(version.major + version.minor == 3);
    CHECK(which(nullptr) == 2);
    static_assert(!kvs::detail::PathLike<std::nullptr_t>);
}

// A seed store refused its own file because a value in it began like a superblock, where one would be.
TEST_CASE("a value of a seed store may begin like a superblock", "[regressions]") {
    TempDir dir;
    constexpr std::size_t page = 4096;
    std::string text(page, 'x');
    const auto write = [&](const std::string& value) {
        kvs::SeedStore<8> s{dir.file()};
        s.set("first", std::string(page, 'y'));
        s.set("text", value);
    };
    write(text);
    const std::string whole = kvs_test::contents_of(dir.file());
    const std::size_t at = whole.find(text);
    for (const std::size_t superblock : {266240u, 270336u, 278528u, 282624u})
        if (superblock >= at && superblock + 8 < at + page) text.replace(superblock - at, 8, "AKVSPAIR");
    REQUIRE(text.find("AKVSPAIR") != std::string::npos);
    write(text);
    CHECK(kvs::SeedStore<8>{dir.file()}.get<std::string>("text") == text);
}

// The fallback was returned, as a string: text was looked for, and bytes were stored.
TEST_CASE("get_or gives back what set took: bytes that convert to text, a null pointer", "[regressions]") {
    TempDir dir;
    kvs::Store<16> store{dir.file()};
    store.set("name", Name{"stored"});
    const Name name = store.get_or("name", Name{"fallback"});
    CHECK(std::string_view(name) == "stored");
    std::error_code error;
    const char* const null = nullptr;
    CHECK(store.get_or("absent", null) == "");
    CHECK(store.get_or("absent", null, error) == "");
    CHECK_FALSE(error);
    static_assert(!std::is_constructible_v<kvs::Store<16>, std::nullptr_t>);
}

TEST_CASE("messages name the file, the copy and the key, and control characters do no harm", "[regressions]") {
    TempDir dir;
    kvs::Store<16> store{dir.file()};
    const std::string nowhere = dir.file("no/where");
    expect_error(kvs::errc::not_found, {dir.file(), nowhere}, [&] { store.copy_to(nowhere); });
    expect_error(kvs::errc::not_found, {dir.file(), nowhere}, [&] { store.compact_to(nowhere); });
    expect_error(kvs::errc::value_too_long, {dir.file(), "\"second\""}, [&] {
        store.batch([](auto& batch) {
            batch.set("first", 1);
            batch.set("second", std::string(70000, 'x'));
        });
    });
    expect_error(kvs::errc::not_found, {"nul?x", "(not_found)"}, [&] { kvs::Store<16>{std::string("nul\0x", 5)}; });
    expect_error(kvs::errc::not_text, {dir.file(), "\"bad\""}, [&] {
        store.register_defaults({{"good", 1}, {"bad", "\xff"}});
    });
    std::error_code error;
    store.register_defaults({{"good", 1}, {"bad", "\xff"}}, error);
    CHECK(error == kvs::errc::not_text);
    CHECK_FALSE(store.get<int>("good").has_value());
    store.register_defaults({{"good", 1}, {"text", "t"}, {"value", kvs::Value(2)}}, error);
    CHECK_FALSE(error);
    CHECK(store.get<int>("good") == 1);
    CHECK(store.get<int>("value") == 2);
    store.batch([](auto&) { throw std::system_error(std::error_code()); }, error);
    CHECK(error == std::errc::operation_canceled);
    static_assert(!std::is_copy_constructible_v<kvs::Batch<16>>);
    const kvs::Key<16> key("by name");
    store.register_defaults({{key, kvs::Value("v")}, {"none", {}}, {"one", {1}}, kvs::Default<16>{"named", 2u}});
    CHECK(store.get<std::string>("by name") == "v");
    CHECK(store.get<bool>("none") == false);
    CHECK(store.get<int>("one") == 1);
    CHECK(store.get<unsigned>("named") == 2u);
    store.register_defaults({});
}

// Compared with a literal of another type, the reference was ambiguous.
TEST_CASE("a setting is compared with numbers of any type", "[regressions]") {
    TempDir dir;
    kvs::Store<16> prefs{dir.file()};
    static constexpr kvs::Setting<float> volume{"volume", 0.5f};
    static constexpr kvs::Setting<unsigned> lives{"lives", 3u};
    static constexpr kvs::Setting<int> depth{"depth", -1};
    static constexpr kvs::Setting<bool> sound{"sound", true};
    static const kvs::Setting<std::string> player{"player", "Ada"};
    CHECK(bool(prefs[volume] == 0.5));
    CHECK(bool(prefs[volume] != 1));
    CHECK(bool(prefs[lives] == 3));
    CHECK(bool(3L == prefs[lives]));
    CHECK(bool(prefs[depth] == -1L));
    CHECK(bool(prefs[depth] != ~0u));
    CHECK(bool(prefs[sound] == true));
    CHECK(bool(prefs[player] == "Ada"));
    CHECK(bool(prefs[player] != std::string("Eve")));
    CHECK(bool(prefs[lives] == prefs[lives]));
    CHECK(bool(prefs[volume] == std::optional<float>(0.5f)));
    CHECK(bool(prefs[player] == std::optional<std::string>("Ada")));
    CHECK(bool(prefs[volume] == Approx(0.5)));
    prefs[volume] = 0.8f;
    CHECK(bool(prefs[volume] == 0.8));
}
