// Mappings that lost a page: which of them hold an address, asked by a signal handler.
//
// A page of a mapped file that cannot be had, because the device does not read it back or another program cut the file
// short, is a bus error for who touches it. `kvs::guard_bus_errors()` puts a page of NULs in its place, so that the
// access goes on, and notes here that the mapping is no longer the file. Whoever used the mapping looks for that note
// when it is done, and believes nothing of what it read or stored if there is one.
//
// The child of a fork, too, asks for all of them (`Forks` in platform_posix.hpp).
//
// The notes are read by a signal handler, in the middle of anything: they are never freed, but used again, and nobody
// takes a lock.
//
//   add       takes a free note; `begin` is stored last
//   remove    `begin` first, so that the note holds no address any more
//   lose      all notes that hold the address; one that is being used for another mapping just now is no such note
#ifndef KVS_DETAIL_LOST_PAGES_HPP
#define KVS_DETAIL_LOST_PAGES_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace kvs::detail {

/// A mapping, and whether it lost a page.
class MappingNote {
public:
    bool has_lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

private:
    friend class MappingNotes;

    bool try_take(std::uintptr_t begin, std::size_t bytes) noexcept {
        if (taken_.load(std::memory_order_relaxed) || taken_.exchange(true, std::memory_order_acquire)) return false;
        lost_.store(false, std::memory_order_relaxed);
        bytes_.store(bytes, std::memory_order_relaxed);
        begin_.store(begin, std::memory_order_release);
        return true;
    }
    void give_back() noexcept {
        begin_.store(0, std::memory_order_seq_cst);
        taken_.store(false, std::memory_order_release);
    }
    bool holds(std::uintptr_t address) const noexcept {
        const std::uintptr_t begin = begin_.load(std::memory_order_acquire);
        const std::size_t bytes = bytes_.load(std::memory_order_acquire);
        return begin != 0 && address - begin < bytes && begin_.load(std::memory_order_relaxed) == begin;
    }

    std::atomic<std::uintptr_t> begin_{0};  ///< 0 = of no mapping
    std::atomic<std::size_t> bytes_{0};
    std::atomic<bool> taken_{false};
    std::atomic<bool> lost_{false};
};

/// The notes of all mappings of this process.
class MappingNotes {
public:
    /// Null if memory runs out: then a bus error in this mapping is one like any other.
    static MappingNote* add(const std::byte* base, std::size_t bytes) noexcept {
        const auto begin = reinterpret_cast<std::uintptr_t>(base);
        for (Chunk* chunk = &first_; chunk != nullptr; chunk = next_or_new(*chunk))
            for (MappingNote& note : chunk->notes)
                if (note.try_take(begin, bytes)) return &note;
        return nullptr;
    }
    static void remove(MappingNote* note) noexcept {
        if (note != nullptr) note->give_back();
    }

    /// For a signal handler: notes that the page at an address is lost; false if no mapping holds it.
    static bool lose(const void* at) noexcept {
        const auto address = reinterpret_cast<std::uintptr_t>(at);
        bool is_ours = false;
        for (Chunk* chunk = &first_; chunk != nullptr; chunk = chunk->next.load(std::memory_order_acquire))
            for (MappingNote& note : chunk->notes) {
                if (!note.holds(address)) continue;
                note.lost_.store(true, std::memory_order_relaxed);
                is_ours = true;
            }
        return is_ours;
    }

    /// Calls `visit(begin, bytes)` for every mapping.
    template <class Visit>
    static void visit_all(const Visit& visit) noexcept {
        for (Chunk* chunk = &first_; chunk != nullptr; chunk = chunk->next.load(std::memory_order_acquire))
            for (MappingNote& note : chunk->notes)
                if (const std::uintptr_t begin = note.begin_.load(std::memory_order_acquire); begin != 0)
                    // Kept as a number, because the signal handler compares it as one.
                    // NOLINTNEXTLINE(performance-no-int-to-ptr)
                    visit(reinterpret_cast<void*>(begin), note.bytes_.load(std::memory_order_acquire));
    }

private:
    struct Chunk {
        Chunk() noexcept : next(nullptr) {}
        MappingNote notes[64];
        std::atomic<Chunk*> next;
    };

    static Chunk* next_or_new(Chunk& chunk) noexcept {
        if (Chunk* next = chunk.next.load(std::memory_order_acquire)) return next;
        Chunk* made = new (std::nothrow) Chunk;
        Chunk* found = nullptr;
        if (made == nullptr || chunk.next.compare_exchange_strong(found, made, std::memory_order_acq_rel)) return made;
        delete made;  // another thread was quicker
        return found;
    }

    static inline Chunk first_;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_LOST_PAGES_HPP
