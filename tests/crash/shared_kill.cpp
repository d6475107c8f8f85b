// [writers] A process dies at every single store of an operation, one after the other, while others have the file open:
// a read-only handle looks first, and finishes the dead one's work in memory of its own; then a writing one follows it.
// Both see the operation done or not, the one as the other, and nothing is damaged, not even in between. So does a
// reader of another make: what FORMAT_PAIRS.md says of a file that was not closed is read from each of these files.
//
// Found by this: after a death inside a sync a page of the superblock stayed torn until it was written the next time
// but one, and verify() told of it, although it was no damage.
#include <kvs/kvs.hpp>

#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/files.hpp"
#include "../support/pair_walker.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::TempDir;

/// Kills its process at the n-th store from now on.
struct Deadly : kvs::detail::NativePlatform {
    using KvsPlatform = Deadly;
    static inline std::uint64_t stores_left = 0;  ///< 0 = for ever
    static void on_store(const std::byte*, std::size_t) noexcept {
        if (stores_left != 0 && --stores_left == 0) ::kill(::getpid(), SIGKILL);
    }
};

using Store = kvs::Store<8>;
using DeadlyStore = kvs::Store<8, Deadly>;
using Content = std::map<std::string, kvs::Value>;

Content content_of(const Store& store) {
    return store.view([](const Store& s) {
        Content content;
        for (const auto& entry : s) content.emplace(entry.key(), entry.value());
        return content;
    });
}

struct Deed {
    const char* name;
    std::function<void(DeadlyStore&)> run;
    bool syncs = false;
};

std::vector<Deed> deeds() {
    return {
        {"a number set again", [](DeadlyStore& s) { s.set("number", 2); }},
        {"a durable number set again", [](DeadlyStore& s) { s.set("durable", 2); }},
        {"text set again", [](DeadlyStore& s) { s.set("text", std::string(100, 'b')); }},
        {"another length", [](DeadlyStore& s) { s.set("number", std::string(300, 'c')); }},
        {"a new key", [](DeadlyStore& s) { s.set("new", 1); }},
        {"a key erased", [](DeadlyStore& s) { s.erase("text"); }},
        {"a batch",
         [](DeadlyStore& s) {
             s.batch([](auto& batch) {
                 batch.set("number", 3);
                 batch.set("durable", std::string(40, 'd'));
                 batch.set("new", true);
                 batch.erase("text");
             });
         }},
        {"a sync",
         [](DeadlyStore& s) {
             s.set("number", 2);
             s.sync();
         },
         true},
        {"two syncs",
         [](DeadlyStore& s) {
             s.sync();
             s.set("number", 2);
             s.sync();
         },
         true},
        {"everything cleared", [](DeadlyStore& s) { s.clear(); }, true},
    };
}

/// Of the version counters that readers look at, those that say "a writer is at work".
unsigned odd_counters(const std::string& path) {
    namespace shared = kvs::detail::pair_layout::shared;
    std::array<std::uint32_t, shared::counter_count> counters{};
    std::ifstream file(path, std::ios::binary);
    file.seekg(static_cast<std::streamoff>(shared::counters));
    file.read(reinterpret_cast<char*>(counters.data()), sizeof counters);
    return static_cast<unsigned>(std::count_if(counters.begin(), counters.end(), [](auto n) { return n % 2 != 0; }));
}

/// Runs the deed in a process that dies at its n-th store. False if it had fewer.
bool die_at(const std::string& path, const Deed& deed, std::uint64_t n) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        try {
            DeadlyStore store(path, {.mode = kvs::Mode::open_existing, .sync = kvs::sync_manual});
            Deadly::stores_left = n;
            deed.run(store);
            Deadly::stores_left = 0;
        } catch (const kvs::Error&) {
            ::_exit(1);
        }
        ::_exit(0);
    }
    const std::string end = kvs_test::end_of(child);
    if (!end.empty()) CHECK(end == "it was killed by signal " + std::to_string(SIGKILL));
    return !end.empty();
}

void fill(Store& store) {
    store.set("durable", 1);
    store.set("text", std::string(100, 'a'));
    store.sync();
    store.set("number", 1);
}

/// Keys, and values as their bytes are in the file.
using Bytes = std::map<std::string, std::string>;

Bytes bytes_of(const Content& content) {
    Bytes bytes;
    for (const auto& [key, value] : content) {
        std::string& to = bytes[key];
        if (value.type() >= kvs::Type::ascii) {
            to = value.text();
        } else if (value.type() == kvs::Type::boolean) {
            to = value.get<bool>() ? '\xff' : '\0';
        } else {
            const auto number = static_cast<std::uint64_t>(value.get<std::int64_t>());
            for (std::size_t i = value.size(); i-- != 0;) to += static_cast<char>(number >> 8 * i);
        }
    }
    return bytes;
}

/// What the second reader finds, and that it finds nothing wrong but superblocks that were being written.
Bytes bytes_of(const kvs_test::PairWalk& walk) {
    CHECK((walk.valid && !walk.clean));
    for (const std::string& problem : walk.problems)
        if (problem.rfind("the superblock at", 0) != 0) FAIL_CHECK(problem);
    Bytes bytes;
    for (const auto& [key, walked] : walk.entries) bytes[key] = walked.value;
    return bytes;
}

void check_soundness(const Store& store) {
    const kvs::Report report = store.verify();
    for (const kvs::Problem& problem : report.problems) UNSCOPED_INFO(problem.text << " at " << problem.offset);
    CHECK(report.ok());
}

}  // namespace

TEST_CASE("a process that dies at any store of an operation is followed by those that have the file open",
          "[shared_kill]") {
    std::uint64_t deaths = 0;
    for (const Deed& deed : deeds()) {
        INFO(deed.name);
        Content durable, before, after;
        for (std::uint64_t n = 0;; ++n) {
            INFO("death at store " << n);
            TempDir dir;
            const std::string path = dir.file();
            Store store(path, {.sync = kvs::sync_manual});
            fill(store);
            if (n == 0) {
                durable = content_of(store);
                durable.erase("number");
            }
            const Store reader(path, {.mode = kvs::Mode::read_only});
            if (n == 0) before = content_of(store);
            const bool died = die_at(path, deed, n);
            if (n == 0) after = content_of(store);
            if (n == 0) continue;
            if (!died) break;
            ++deaths;
            const std::string bytes = kvs_test::contents_of(path);
            const Content seen = content_of(reader);
            CHECK((seen == before || seen == after));
            CHECK(bytes_of(kvs_test::PairWalker::walk_last(bytes)) == bytes_of(seen));
            const Bytes synced = bytes_of(kvs_test::PairWalker(bytes).walk());
            const bool is_of_a_sync = synced == bytes_of(before) || synced == bytes_of(after);
            CHECK((synced == bytes_of(durable) || (deed.syncs && is_of_a_sync)));
            check_soundness(reader);
            check_soundness(store);  // takes the lock, so from here on it is decided
            CHECK(odd_counters(path) == 0);
            const Content decided = content_of(store);
            CHECK((decided == seen || (seen == before && decided == after)));
            CHECK(content_of(reader) == decided);
            store.set("number", 7);
            store.set("next", 8);
            check_soundness(reader);
            Content expected = decided;
            expected.insert_or_assign("number", kvs::Value(7));
            expected.insert_or_assign("next", kvs::Value(8));
            CHECK(content_of(store) == expected);
            CHECK(content_of(reader) == expected);
            store.sync();
            check_soundness(store);
        }
    }
    INFO(deaths << " deaths");
    CHECK(deaths > 300);
}
