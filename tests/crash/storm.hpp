// What the processes of a storm tell, in memory that outlives them, and what they write: a value that says which one it
// is in every byte.
//
// Three kinds of keys:
//
//   registers   all processes write them: each operation is logged with the time when it was called and the time when
//               it returned, for linearizability.hpp. A register is one key, or a pair of keys that batches set
//               together.
//   own         one key for each writer, whose n-th state follows from n: two counters say which state was acknowledged
//               and which is intended, so every read can be judged at once.
//   new         keys that are set once, for the store to grow.
#pragma once

#include <time.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include <kvs/kvs.hpp>

#include "linearizability.hpp"

namespace kvs_test::storm {

using Store = kvs::Store<13>;

inline constexpr unsigned writer_count = 4;
inline constexpr unsigned reader_count = 4;
inline constexpr unsigned process_count = writer_count + reader_count;
inline constexpr unsigned number_count = 4;  ///< registers that hold a u64
inline constexpr unsigned value_count = 4;   ///< registers that hold values of all types and lengths
inline constexpr unsigned pair_count = 3;    ///< registers of two keys
inline constexpr unsigned register_count = number_count + value_count + pair_count;
inline constexpr unsigned most_logged = 6000;  ///< operations of one process slot
inline constexpr unsigned most_new = 600;      ///< new keys of one writer slot

inline std::uint64_t now() {
    timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(time.tv_nsec);
}

/// An operation as its process notes it: before it calls, and when it has returned (0 = not yet, perhaps never).
struct Logged {
    std::atomic<std::uint64_t> called{0};
    std::atomic<std::uint64_t> returned{0};
    std::atomic<std::uint64_t> value{0};
    std::atomic<std::uint64_t> found{0};
    std::uint32_t key = 0;
    KeyOperation::Kind kind = KeyOperation::Kind::get;
};

/// What one process tells; the next process in its place goes on in it.
struct Told {
    std::atomic<std::uint64_t> alarm{0};     ///< the last alarm after which it has done something, from call to return
    std::atomic<std::uint64_t> alarm_at{0};  ///< and when that had returned
    std::atomic<std::uint64_t> operations{0};
    std::atomic<std::uint64_t> opens{0};
    std::atomic<std::uint64_t> resumed{0};  ///< opens that found the file as killed processes had left it
    std::atomic<std::uint32_t> logged{0};
    std::array<Logged, most_logged> log;

    // Of writers.
    std::atomic<std::uint64_t> ids{0};           ///< values given out
    std::atomic<std::uint64_t> intended{0};      ///< the own key's state when the operation under way is done
    std::atomic<std::uint64_t> acknowledged{0};  ///< its state
    std::atomic<std::uint64_t> seen{0};          ///< the newest state that anybody has seen
    std::atomic<std::uint64_t> new_keys{0};      ///< acknowledged ones
};

struct Board {
    std::atomic<std::uint64_t> clock{1};      ///< ticks with each call and each return
    std::atomic<std::uint64_t> alarm{0};      ///< counts what is measured: kills, and moments without one
    std::atomic<std::uint32_t> allowance{0};  ///< so many operations each process may have logged by now
    std::atomic<bool> only_readers{false};    ///< readers open read-only, so that writers are alone at times
    std::atomic<bool> restless{false};        ///< writers close and open again after a few operations
    std::atomic<bool> steady{false};          ///< nobody closes the store
    std::atomic<bool> leave{false};           ///< all close and end
    std::atomic<int> complaints{0};
    char complaint[600] = {};
    std::array<Told, process_count> told;

    std::uint64_t tick() { return clock.fetch_add(1); }

    /// The first one stays.
    void complain(unsigned process, const std::string& what) {
        if (int none = 0; !complaints.compare_exchange_strong(none, 1)) return;
        std::snprintf(complaint, sizeof complaint, "process %u: %s", process, what.c_str());
        complaints = 2;
    }
};

// ---- keys and values -----------------------------------------------------------------------------------------------

inline std::string name_of(unsigned key) { return "register " + std::to_string(key); }
inline std::string left_of(unsigned key) { return "left " + std::to_string(key); }
inline std::string right_of(unsigned key) { return "right " + std::to_string(key); }
inline std::string own_of(unsigned process) { return "own " + std::to_string(process); }
inline std::string new_key(unsigned process, std::uint64_t n) {
    return "n" + std::to_string(process) + "." + std::to_string(n);
}
inline bool is_number(unsigned key) { return key < number_count; }
inline bool is_pair(unsigned key) { return key >= number_count + value_count; }

/// Text of a length that begins with a number and goes on with what follows from it.
inline std::string text_of(std::uint64_t id, std::size_t length) {
    std::string text = std::to_string(id) + ".";
    std::uint64_t state = id * 0x9e3779b97f4a7c15u + 1;
    while (text.size() < length) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        text += static_cast<char>('a' + (state >> 33) % 26);
    }
    return text;
}
inline std::size_t length_of(std::uint64_t id) {
    static constexpr std::size_t lengths[] = {0, 12, 28, 60, 120, 250, 500, 2000};
    return id % 64 == 63 ? 50'000 : lengths[id / 8 % 8];  // two of the longest are more than the journal's room
}
inline kvs::Value value_of(std::uint64_t id) {
    if (id % 3 == 0) return kvs::Value(id);
    return kvs::Value(text_of(id, length_of(id)));
}
/// The number that the value was made of; nothing if it was made of none, or is not all there.
inline std::optional<std::uint64_t> id_of(const kvs::Value& value) {
    std::uint64_t id = 0;
    if (value.type() == kvs::Type::u64)
        id = value.get<std::uint64_t>();
    else
        for (const char c : value.text().substr(0, value.text().find('.')))
            if (c >= '0' && c <= '9') id = id * 10 + static_cast<std::uint64_t>(c - '0');
    return value == value_of(id) ? std::optional(id) : std::nullopt;
}

/// What a register holds: numbers are not disguised.
inline std::optional<std::uint64_t> id_in(unsigned key, const kvs::Value& value) {
    return is_number(key) ? value.get_if<std::uint64_t>() : id_of(value);
}

/// The n-th state of an own key: also absent, and 0 is.
inline std::optional<kvs::Value> own_state(std::uint64_t n) {
    if (n % 7 == 0) return std::nullopt;
    return value_of(n);
}

}  // namespace kvs_test::storm
