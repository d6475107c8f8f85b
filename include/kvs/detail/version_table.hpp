// [readers] How a read that takes no lock notices a writer.
//
// A table of counters, one for all buckets that a key can be in: a key's bucket number has the same low bits in every
// group, and those choose the counter.
//
//   writer (one at a time): counter odd; change the bytes; counter even again, two higher than before
//   reader:                 note the counter, wait while it is odd; copy what it wants; is the counter the same? else
//   again
//
// A reader therefore sees each operation whole or not at all. What it copied in vain may be torn, so everything read on
// the way is treated as unchecked: offsets against the live end before they are followed, results only believed, and
// damage only reported, when the counter did not change. The bytes are loaded with acquire order (memory.hpp), so the
// second look at the counter comes after them; they are stored with release order, so a reader that saw one of them
// also sees the odd counter.
#ifndef KVS_DETAIL_VERSION_TABLE_HPP
#define KVS_DETAIL_VERSION_TABLE_HPP

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace kvs::detail {

template <class Platform>
class VersionTable {
public:
    /// Makes a counter odd as long as it lives.
    class Change {
    public:
        Change(VersionTable& table, std::uint32_t hash) noexcept : counter_(table.counters_[hash & mask]) {
            counter_.store(counter_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
        Change(const Change&) = delete;
        Change& operator=(const Change&) = delete;
        ~Change() { counter_.store(counter_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

    private:
        std::atomic<std::uint32_t>& counter_;
    };

    /// Makes all counters odd as long as it lives.
    class ChangeOfAll {
    public:
        explicit ChangeOfAll(VersionTable& table) noexcept : table_(table) {
            for (auto& c : table_.counters_) c.store(c.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        }
        ChangeOfAll(const ChangeOfAll&) = delete;
        ChangeOfAll& operator=(const ChangeOfAll&) = delete;
        ~ChangeOfAll() {
            for (auto& c : table_.counters_) c.store(c.load(std::memory_order_relaxed) + 1, std::memory_order_release);
        }

    private:
        VersionTable& table_;
    };

    /// The first look at a counter; odd while a writer is at work. `hash` may be a bucket number: only the low bits
    /// count.
    std::uint32_t note(std::uint32_t hash) const noexcept {
        return counters_[hash & mask].load(std::memory_order_acquire);
    }
    static constexpr bool is_busy(std::uint32_t noted) noexcept { return (noted & 1) != 0; }

    /// The second look.
    bool is_still(std::uint32_t hash, std::uint32_t noted) const noexcept {
        return counters_[hash & mask].load(std::memory_order_relaxed) == noted;
    }

    /// Runs `read` until no writer came in between, and returns what it returned then.
    template <class Read>
    auto consistently(std::uint32_t hash, const Read& read) const noexcept(noexcept(read())) {
        for (unsigned waits = 0;;) {
            const std::uint32_t noted = note(hash);
            if (is_busy(noted)) {
                // A change takes well below a microsecond, unless its writer was interrupted.
                ++waits < 128 ? Platform::relax() : Platform::yield();
                continue;
            }
            auto result = read();
            if (is_still(hash, noted)) return result;
        }
    }

private:
    static constexpr std::size_t count = 256;
    static constexpr std::uint32_t mask = count - 1;
    std::array<std::atomic<std::uint32_t>, count> counters_{};
};

/// The same for a store of one thread: nothing to notice.
class NoVersionTable {
public:
    struct Change {
        Change(NoVersionTable&, std::uint32_t) noexcept {}
    };
    struct ChangeOfAll {
        explicit ChangeOfAll(NoVersionTable&) noexcept {}
    };
    std::uint32_t note(std::uint32_t) const noexcept { return 0; }
    static constexpr bool is_busy(std::uint32_t) noexcept { return false; }
    bool is_still(std::uint32_t, std::uint32_t) const noexcept { return true; }
    template <class Read>
    auto consistently(std::uint32_t, const Read& read) const noexcept(noexcept(read())) {
        return read();
    }
};

/// Tells threads apart: an address that each has for itself.
inline const void* this_thread() noexcept {
    static thread_local char here;
    return &here;
}

struct NoMutex {
    void lock() noexcept {}
    void unlock() noexcept {}
};

/// Holds a mutex as long as it lives.
template <class Mutex>
class Guard {
public:
    explicit Guard(Mutex& mutex) noexcept : mutex_(mutex) { mutex_.lock(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;
    ~Guard() { mutex_.unlock(); }

private:
    Mutex& mutex_;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_VERSION_TABLE_HPP
