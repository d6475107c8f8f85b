// The version counters of [readers] (version_table.hpp) in the shared area of the file, for stores whose readers may be
// other processes. A process that dies leaves counters odd: who opens the file alone, or takes the lock over, evens
// them by adding one, never by taking it away, else a reader that began before would believe what it read. A reader
// that waits too long asks its engine for help, which finds out whether the writer is dead.
#ifndef KVS_DETAIL_MAPPED_VERSIONS_HPP
#define KVS_DETAIL_MAPPED_VERSIONS_HPP

#include <cstdint>

#include <kvs/detail/pair_layout.hpp>
#include <kvs/detail/version_table.hpp>

namespace kvs::detail {

/// The change word: twice the number of changes, and one more while a change is being made.
template <class Region>
void raise_change_word(Region& region, std::uint64_t by) noexcept {
    region.publish_word(pair_layout::shared::changes, region.load_word(pair_layout::shared::changes) + by);
}

template <class Region, class Platform>
class MappedVersionTable {
public:
    /// Called by a reader that has waited for long; false: it waits in vain.
    struct Helper {
        bool (*help)(void* engine) noexcept;
        void* engine;
    };

    MappedVersionTable(Region& region, const Helper& helper) noexcept : region_(region), helper_(helper) {}

    /// Makes a key's counter odd as long as it lives.
    class Change {
    public:
        Change(MappedVersionTable& table, std::uint32_t hash) noexcept : table_(table), at_(counter_of(hash)) {
            raise_change_word(table_.region_, 1);
            table_.step(at_, __ATOMIC_RELAXED);
        }
        Change(const Change&) = delete;
        Change& operator=(const Change&) = delete;
        ~Change() {
            table_.end_change();
            table_.step(at_, __ATOMIC_RELEASE);
        }

    private:
        MappedVersionTable& table_;
        std::uint64_t at_;
    };

    /// Makes all counters odd as long as it lives.
    class ChangeOfAll {
    public:
        explicit ChangeOfAll(MappedVersionTable& table) noexcept : table_(table) {
            raise_change_word(table_.region_, 1);
            table_.step_all(__ATOMIC_RELAXED);
        }
        ChangeOfAll(const ChangeOfAll&) = delete;
        ChangeOfAll& operator=(const ChangeOfAll&) = delete;
        ~ChangeOfAll() {
            table_.end_change();
            table_.step_all(__ATOMIC_RELEASE);
        }

    private:
        MappedVersionTable& table_;
    };

    std::uint32_t note(std::uint32_t hash) const noexcept {
        return region_.load_counter(counter_of(hash), __ATOMIC_ACQUIRE);
    }
    static constexpr bool is_busy(std::uint32_t noted) noexcept { return (noted & 1) != 0; }
    bool is_still(std::uint32_t hash, std::uint32_t noted) const noexcept {
        return region_.load_counter(counter_of(hash), __ATOMIC_RELAXED) == noted;
    }
    /// The same two looks, by a copy of the region's address.
    template <class Mapped>
    [[gnu::always_inline]] static inline std::uint32_t note(const Mapped& file, std::uint32_t hash) noexcept {
        return file.load_counter(counter_of(hash), __ATOMIC_ACQUIRE);
    }
    template <class Mapped>
    [[gnu::always_inline]] static inline bool is_still(const Mapped& file, std::uint32_t hash,
                                                       std::uint32_t noted) noexcept {
        return file.load_counter(counter_of(hash), __ATOMIC_RELAXED) == noted;
    }

    template <class Read>
    auto consistently(std::uint32_t hash, const Read& read) const noexcept(noexcept(read())) {
        for (unsigned waits = 0;;) {
            const std::uint32_t noted = note(hash);
            if (is_busy(noted)) {
                if (!wait(++waits)) return read();
                continue;
            }
            auto result = read();
            if (is_still(hash, noted)) return result;
        }
    }

    /// After a death.
    void make_even() noexcept {
        raise_change_word(region_, 2 - region_.load_word(pair_layout::shared::changes) % 2);
        for (std::uint32_t i = 0; i < pair_layout::shared::counter_count; ++i)
            if (is_busy(note(i))) step(counter_of(i), __ATOMIC_RELEASE);
    }

private:
    static constexpr std::uint64_t counter_of(std::uint32_t hash) noexcept {
        return pair_layout::shared::counters + 4 * std::uint64_t{hash % pair_layout::shared::counter_count};
    }
    /// A change takes well below a microsecond, unless its writer was interrupted, or has died. False: in vain.
    bool wait(unsigned waits) const noexcept {
        if (waits >= 192) return helper_.help(helper_.engine);
        waits < 128 ? Platform::relax() : Platform::yield();
        return true;
    }
    /// Before the counters are even again, so that who reads what is new, and then the number, finds another one.
    void end_change() noexcept { raise_change_word(region_, 1); }
    void step(std::uint64_t at, int order) noexcept {
        region_.store_counter(at, region_.load_counter(at, __ATOMIC_RELAXED) + 1, order);
    }
    void step_all(int order) noexcept {
        for (std::uint32_t i = 0; i < pair_layout::shared::counter_count; ++i) step(counter_of(i), order);
    }

    Region& region_;
    Helper helper_;
};

/// The same for a store of one thread.
template <class Region, class Platform>
class NoMappedVersionTable : public NoVersionTable {
public:
    struct Helper {
        bool (*help)(void* engine) noexcept;
        void* engine;
    };
    NoMappedVersionTable(Region& region, const Helper&) noexcept : region_(region) {}
    struct Change {
        Change(NoMappedVersionTable& table, std::uint32_t) noexcept { raise_change_word(table.region_, 2); }
    };
    struct ChangeOfAll {
        explicit ChangeOfAll(NoMappedVersionTable& table) noexcept { raise_change_word(table.region_, 2); }
    };
    using NoVersionTable::is_still;
    using NoVersionTable::note;
    template <class Mapped>
    static std::uint32_t note(const Mapped&, std::uint32_t) noexcept {
        return 0;
    }
    template <class Mapped>
    static bool is_still(const Mapped&, std::uint32_t, std::uint32_t) noexcept {
        return true;
    }
    void make_even() noexcept { raise_change_word(region_, 2); }

private:
    Region& region_;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_MAPPED_VERSIONS_HPP
