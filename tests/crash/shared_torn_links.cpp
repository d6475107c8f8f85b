// [readers] The index lies at 10 + 4i, so some of its slots straddle two cache lines, and a reader can see one half of
// a link that is just being stored. Other processes and threads read keys of just such buckets again and again while
// the first record of each is inserted, in one new file after the other: a reader sees nothing, or the value, and no
// error.
#include <kvs/kvs.hpp>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/shared_memory.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::TempDir;
using Store = kvs::Store<13>;
constexpr unsigned key_count = 24;
constexpr std::size_t cache_line = 64;

/// Keys whose u64 goes to a bucket of which the index slot lies in two cache lines.
std::vector<std::string> straddling_keys() {
    const kvs::detail::Geometry geometry{kvs::Weights{}};
    std::vector<std::string> keys;
    for (unsigned i = 0; keys.size() < key_count; ++i) {
        const std::string name = "key " + std::to_string(i);
        const kvs::Key<13> key{name};
        const std::uint64_t slot = kvs::detail::layout::slot_offset(geometry.bucket(key.hash(), 3));
        if (slot / cache_line != (slot + 3) / cache_line) keys.push_back(name);
    }
    return keys;
}

std::uint64_t value_of(unsigned key) { return 0x0101010101010101u * (key + 1); }

struct Told {
    std::atomic<std::uint32_t> round{0};     ///< of the file that is read
    std::atomic<std::uint32_t> inserted{0};  ///< so many of its keys are acknowledged
    std::atomic<std::uint32_t> ready{0};     ///< readers that have it open
    std::atomic<bool> done{false};
    std::atomic<std::uint64_t> reads{0};
    std::atomic<std::uint64_t> errors{0};
    std::atomic<std::uint64_t> wrong{0};
    std::atomic<std::uint64_t> lost{0};  ///< acknowledged and not seen
};

/// Reads the key that is inserted next, and now and then one that is there.
void read_one(const Store& store, const std::vector<std::string>& keys, Told& told, std::uint64_t n) {
    const std::uint32_t inserted = told.inserted;
    const auto key = static_cast<unsigned>(n % 4 == 0 ? n / 4 % key_count : std::min(inserted, key_count - 1));
    std::error_code error;
    const auto value = store.get<std::uint64_t>(keys[key], error);
    ++told.reads;
    if (error) ++told.errors;
    if (value && *value != value_of(key)) ++told.wrong;
    if (!value && key < inserted) ++told.lost;
}

/// Follows the writer from file to file.
void read(const std::string& directory, const std::vector<std::string>& keys, Told& told, bool read_only) {
    for (std::uint32_t round = 0; !told.done;) {
        if (told.round == round) continue;
        round = told.round;
        const Store store(directory + std::to_string(round),
                          {.mode = read_only ? kvs::Mode::read_only : kvs::Mode::open_existing});
        ++told.ready;
        for (std::uint64_t n = 0; told.round == round && !told.done; ++n) read_one(store, keys, told, n);
    }
}

[[noreturn]] void read_in_child(const std::string& directory, const std::vector<std::string>& keys, Told& told,
                                bool read_only) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
        read(directory, keys, told, read_only);
    } catch (const std::exception&) {
        ++told.errors;
    }
    ::_exit(0);
}

}  // namespace

TEST_CASE("links that lie in two cache lines are never seen half", "[shared_torn_links]") {
    TempDir dir;
    const std::string directory = dir.file("store ");
    const std::vector<std::string> keys = straddling_keys();
    kvs_test::SharedMemory<Told> told;
    std::array<pid_t, 2> children{};
    for (unsigned i = 0; i < children.size(); ++i)
        if ((children[i] = ::fork()) == 0) read_in_child(directory, keys, *told, i == 0);

    const auto rounds = static_cast<std::uint32_t>(kvs_test::rounds(60, 20'000));
    for (std::uint32_t round = 1; round <= rounds; ++round) {
        Store store(directory + std::to_string(round), {.sync = kvs::sync_manual});
        std::atomic<bool> stop{false};
        told->inserted = 0;
        told->ready = 0;
        told->round = round;
        std::thread beside([&] {
            for (std::uint64_t n = 0; !stop; ++n) read_one(store, keys, *told, n);
        });
        while (told->ready < children.size() && told->errors == 0) std::this_thread::yield();
        for (unsigned i = 0; i < key_count; ++i) {
            store.set(keys[i], value_of(i));
            told->inserted = i + 1;
            for (const std::uint64_t enough = told->reads + 20; told->reads < enough;) std::this_thread::yield();
        }
        stop = true;
        beside.join();
        CHECK(store.size() == key_count);
        if (round > 1) std::filesystem::remove(directory + std::to_string(round - 1));
    }
    told->done = true;
    for (const pid_t child : children) CHECK(kvs_test::end_of(child) == "");
    INFO(told->reads << " reads");
    CHECK(told->errors == 0);
    CHECK(told->wrong == 0);
    CHECK(told->lost == 0);
}
