// Memory runs out: every allocation of an operation fails in turn. The twin that takes a std::error_code says
// not_enough_memory and does not throw, the other one throws std::bad_alloc; nothing has changed, and nothing is lost.
//
// This file replaces the global operator new of the test program: it counts, and fails when a test has said so, in the
// thread of that test alone. All of its forms: the nothrow ones of a sanitizer do not call those that are replaced.
#include <kvs/kvs.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <optional>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/seed_image.hpp"
#include "../support/temp_dir.hpp"

namespace {

struct Memory {
    std::uint64_t until_failure = 0;  // 0 = none fails
    bool failed = false;
    bool for_ever = false;
    std::int64_t allocated = 0;

    void* get(std::size_t bytes, std::size_t alignment) {
        if (until_failure != 0 && --until_failure == 0) {
            failed = true;
            if (for_ever) until_failure = 1;
            throw std::bad_alloc();
        }
        bytes = (bytes + alignment - 1) / alignment * alignment;
        void* at = alignment <= alignof(std::max_align_t) ? std::malloc(bytes != 0 ? bytes : 1)
                                                          : std::aligned_alloc(alignment, bytes);
        if (at == nullptr) throw std::bad_alloc();
        ++allocated;
        return at;
    }
    void free(void* at) {
        if (at != nullptr) --allocated;
        std::free(at);
    }
};
thread_local Memory memory;

void* get_or_null(std::size_t bytes, std::size_t alignment) noexcept {
    try {
        return memory.get(bytes, alignment);
    } catch (const std::bad_alloc&) {
        return nullptr;
    }
}

}  // namespace

void* operator new(std::size_t bytes) { return memory.get(bytes, 1); }
void* operator new[](std::size_t bytes) { return memory.get(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
    return memory.get(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
    return memory.get(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return get_or_null(bytes, 1); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return get_or_null(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return get_or_null(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment, const std::nothrow_t&) noexcept {
    return get_or_null(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* at) noexcept { memory.free(at); }
void operator delete[](void* at) noexcept { memory.free(at); }
void operator delete(void* at, std::size_t) noexcept { memory.free(at); }
void operator delete[](void* at, std::size_t) noexcept { memory.free(at); }
void operator delete(void* at, std::align_val_t) noexcept { memory.free(at); }
void operator delete[](void* at, std::align_val_t) noexcept { memory.free(at); }
void operator delete(void* at, std::size_t, std::align_val_t) noexcept { memory.free(at); }
void operator delete[](void* at, std::size_t, std::align_val_t) noexcept { memory.free(at); }
void operator delete(void* at, const std::nothrow_t&) noexcept { memory.free(at); }
void operator delete[](void* at, const std::nothrow_t&) noexcept { memory.free(at); }
void operator delete(void* at, std::align_val_t, const std::nothrow_t&) noexcept { memory.free(at); }
void operator delete[](void* at, std::align_val_t, const std::nothrow_t&) noexcept { memory.free(at); }

namespace {

using kvs_test::Complaints;
using kvs_test::contents_of;
using kvs_test::in_child;
using kvs_test::TempDir;
using Seed = kvs::SeedStore<32>;
using Pairs = kvs::Store<32>;
const kvs::Options quiet{.sync = kvs::sync_manual};

/// Runs the operation with its first, second, ... allocation failing, until none does; says how many there were.
template <class Operation, class Check>
std::size_t fail_each_allocation(Operation operation, Check check) {
    for (const bool for_ever : {true, false}) {
        for (std::size_t i = 1;; ++i) {
            REQUIRE(i < 10'000);
            memory.failed = false;
            memory.for_ever = for_ever;
            memory.until_failure = i;
            operation();
            memory.until_failure = 0;
            const bool failed = memory.failed;
            check(failed);
            if (!failed && !for_ever) return i - 1;
            if (!failed) break;
        }
    }
    return 0;
}

const std::string long_text(100, 'x');
const std::vector<std::byte> blob(50, std::byte{7});

template <class Store>
void fill(const std::string& path) {
    Store s(path, quiet);
    s.set("number", 1);
    s.set("a key with a name of 32 bytes ..", 2);
    s.set("text", long_text);
    s.set("blob", blob);
}

std::size_t files_in(const TempDir& dir) {
    std::size_t files = 0;
    for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(dir.path())) ++files;
    return files;
}

template <class Store>
std::string content_of(const Store& s) {
    std::string text;
    for (const auto& entry : s)
        text += std::string(entry.key()) +
                (entry.type() == kvs::Type::i32 ? "=" + std::to_string(entry.template get<int>()) : "") + ";";
    return text;
}

}  // namespace

TEMPLATE_TEST_CASE("a twin reports that memory ran out, and changes nothing", "[out_of_memory]", Seed, Pairs) {
    using Store = TestType;
    TempDir dir;
    fill<Store>(dir.file());
    std::optional<Store>
        s;  // in a child each time: an exception out of a function that must not throw ends the process
    std::error_code error;
    std::optional<std::string> text;
    std::optional<kvs::Value> value;
    char buffer[200];
    const std::string target = dir.file("target with a name that is longer than a short string");
    const kvs::Setting<std::string> setting("text", "short");
    typename Store::iterator it;

    struct Case {
        const char* name;
        std::size_t least;  // allocations
        std::function<void()> operation;
    };
    const Case cases[] = {
        {"get<string>", 1, [&] { text = s->template get<std::string>("text", error); }},
        {"get<string> of a default", 1, [&] { text = s->template get<std::string>("default", error); }},
        {"get<vector>", 1, [&] { static_cast<void>(s->template get<std::vector<std::byte>>("blob", error)); }},
        {"get<int>", 0, [&] { static_cast<void>(s->template get<int>("number", error)); }},
        {"get_or", 1, [&] { static_cast<void>(s->get_or("text", "short", error)); }},
        {"get of a setting", 1, [&] { static_cast<void>(s->get(setting, error)); }},
        {"get_into", 0, [&] { static_cast<void>(s->get_into("text", buffer, error)); }},
        {"value", 1, [&] { value = s->value("text", error); }},
        {"type", 0, [&] { static_cast<void>(s->type("text", error)); }},
        {"contains", 0, [&] { static_cast<void>(s->contains("text", error)); }},
        {"set", 0, [&] { s->set("number", 1, error); }},
        {"set of text", 0, [&] { s->set("text", long_text, error); }},
        {"erase of an absent key", 0, [&] { s->erase("absent", error); }},
        {"sync", 0, [&] { s->sync(error); }},
        {"verify", 1, [&] { static_cast<void>(s->verify(error)); }},
        {"stats", 1, [&] { static_cast<void>(s->stats(error)); }},
        {"copy_to", 2, [&] { s->copy_to(target, error); }},
        {"compact_to", 2, [&] { s->compact_to(target, error); }},
        {"begin", 1, [&] { it = s->begin(error); }},
        {"iteration", 1,
         [&] {
             for (it = s->begin(error); !error && it != s->end();) it.increment(error);
         }},
        {"value of an entry", 0,
         [&] {
             const auto first = s->begin(error);
             if (!error) value = first->value(error);
         }},
    };
    const auto try_all = [&](const Case& one) {
        s.emplace(dir.file(), quiet);
        s->set("number", 1);  // so that nothing has to be prepared later
        s->register_defaults({{"default", long_text}});
        const std::string content = content_of(*s);
        const std::string bytes = contents_of(dir.file());
        Complaints complaints;
        const std::string name = one.name;
        const bool makes_target = name == "copy_to" || name == "compact_to";
        const std::size_t count = fail_each_allocation(
            [&] {
                text.reset();
                value.reset();
                it = typename Store::iterator();
                error.clear();
                one.operation();
            },
            [&](bool failed) {
                complaints.unless((error == std::errc::not_enough_memory) == failed, "error: " + error.message());
                complaints.unless(failed || !error, "error without a failure: " + error.message());
                complaints.unless(content_of(*s) == content, "another content");
                // The shared area of pairs counts who takes its lock.
                if (std::is_same_v<Store, Seed>) complaints.unless(contents_of(dir.file()) == bytes, "another file");
                complaints.unless(!failed || !text, "a text with an error");
                complaints.unless(std::filesystem::exists(target) == (makes_target && !failed), "the copy");
                std::filesystem::remove(target);
            });
        complaints.unless(count >= one.least, "only " + std::to_string(count) + " allocations");
        complaints.unless(count == 0 || one.least != 0 || name == "value of an entry", "it allocates");
        complaints.unless(files_in(dir) == 1, "files are left behind");
        complaints.unless(s->verify().ok(), "verify is not content");
        return complaints.text();
    };
    for (const Case& one : cases) {
        INFO(one.name);
        const std::string problem = in_child([&] { return try_all(one); });
        CHECK(problem == "");
        for (const auto& file : std::filesystem::directory_iterator(dir.path()))
            if (file.path() != dir.file()) std::filesystem::remove(file);
    }
}

TEMPLATE_TEST_CASE("opening reports that memory ran out, and leaves nothing behind", "[out_of_memory]", Seed, Pairs) {
    using Store = TestType;
    TempDir dir;
    const std::string path = dir.file("a name that is longer than a short string");
    const auto open_until_it_works = [&](bool create) {
        Complaints complaints;
        std::error_code error;
        std::optional<Store> s;
        const std::string bytes = create ? std::string() : contents_of(path);
        const std::size_t count = fail_each_allocation(
            [&] { s.emplace(path, quiet, error); },
            [&](bool failed) {
                complaints.unless((error == std::errc::not_enough_memory) == failed, "error: " + error.message());
                complaints.unless(s->is_open() == !failed, "open or not");
                s.reset();
                if (create) {
                    complaints.unless(std::filesystem::exists(path) == !failed, "a file is left behind");
                    std::filesystem::remove(path);
                } else {
                    if (std::is_same_v<Store, Seed>) complaints.unless(contents_of(path) == bytes, "another file");
                }
            });
        complaints.unless(count >= 2, "only " + std::to_string(count) + " allocations");
        const auto before = memory.allocated;
        s.emplace(path, quiet, error);
        s.reset();
        complaints.unless(memory.allocated == before, "memory is lost");
        return complaints.text();
    };
    std::string problem = in_child([&] { return open_until_it_works(true); });
    CHECK(problem == "");
    std::filesystem::remove(path);
    fill<Store>(path);
    problem = in_child([&] { return open_until_it_works(false); });
    CHECK(problem == "");
}

TEMPLATE_TEST_CASE("what is not a twin throws bad_alloc, and changes nothing", "[out_of_memory]", Seed, Pairs) {
    using Store = TestType;
    TempDir dir;
    fill<Store>(dir.file());
    const auto try_all = [&]() -> std::string {
        Store s(dir.file(), quiet);
        const std::string content = content_of(s);
        Complaints complaints;
        const auto expect_unchanged = [&](const std::string& name, const std::function<void()>& operation) {
            bool thrown = false;
            fail_each_allocation(
                [&] {
                    thrown = false;
                    try {
                        operation();
                    } catch (const std::bad_alloc&) {
                        thrown = true;
                    }
                },
                [&](bool failed) {
                    complaints.unless(thrown == failed, name + (failed ? " has not thrown" : " has thrown"));
                    complaints.unless(content_of(s) == content, name + " has changed the store");
                });
        };
        expect_unchanged("get", [&] { static_cast<void>(s.template get<std::string>("text")); });
        expect_unchanged("get_or", [&] { static_cast<void>(s.get_or("text", long_text)); });
        expect_unchanged("get_or of an absent key", [&] { static_cast<void>(s.get_or("absent", long_text)); });
        expect_unchanged("value", [&] { static_cast<void>(s.value("text")); });
        expect_unchanged("verify", [&] { static_cast<void>(s.verify()); });
        expect_unchanged("copy_to", [&] { s.copy_to(dir.file("copy")); });
        expect_unchanged("compact_to", [&] { s.compact_to(dir.file("copy")); });
        expect_unchanged("iteration", [&] {
            for (const auto& entry : s) static_cast<void>(entry.value());
        });
        expect_unchanged("open", [&] { Store other(dir.file("other"), quiet); });
        expect_unchanged("register_defaults", [&] { s.register_defaults({{"default", 1}}); });
        complaints.unless(s.template get<int>("default") == 1, "the default is not there");
        return complaints.text();
    };
    const std::string problem = in_child(try_all);
    CHECK(problem == "");
}
