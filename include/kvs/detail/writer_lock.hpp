// Who writes: one handle at a time, of whatever process [writers].
//
// The lock word has an owner byte and a count. Taking it is one compare-exchange of the whole word that raises the
// count; giving it back clears the owner byte, and a handle does that before it frees its byte lock.
//
// The owner byte says which byte of the file the owner holds a lock on, which the kernel frees at its death. A waiter
// says so in the word of the sleepers, and sleeps on that (who takes the note back wakes it, or it does not fall
// asleep); after a while it asks the kernel, and if the byte is free the owner is dead. Then it takes the
// word over and finishes what the dead one began, before anything else is done under the lock. The count decides
// between two that noticed: the word that one of them saw is there once.
//
// A handle can be given the byte of a dead one that the lock word still names. Others would take it for the owner then,
// and wait for ever: so it finishes its predecessor's work first (`inherit`).
//
// A robust mutex in the file would do the same with one C library and one word size only, and the kernel would write to
// whatever is mapped at its address when its owner dies.
#ifndef KVS_DETAIL_WRITER_LOCK_HPP
#define KVS_DETAIL_WRITER_LOCK_HPP

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <kvs/detail/pair_layout.hpp>

namespace kvs::detail {

template <class Region, class Platform>
class WriterLock {
public:
    /// What the lock asks of the engine: whether nobody has an owner byte any more, to finish a dead one's work, to
    /// tell the others if what was done under the lock was done to a lost page, and whether it waits for itself.
    struct Owner {
        bool (*is_dead)(void* engine, unsigned byte) noexcept;
        void (*take_over)(void* engine) noexcept;
        void (*admit_loss)(void* engine) noexcept;
        bool (*is_mine)(void* engine) noexcept;  ///< the lock, this thread's
        void* engine;
    };

    WriterLock(Region& region, const Owner& owner) noexcept : region_(region), owner_(owner) {}
    WriterLock(const WriterLock&) = delete;
    WriterLock& operator=(const WriterLock&) = delete;

    /// From here on the lock is taken under this byte; before, nobody else has the file, and taking it does nothing.
    void set_byte(unsigned byte) noexcept { byte_ = byte; }

    void lock() noexcept {
        if (byte_ == 0) return;
        const std::uint64_t word = region_.watch_word(at);
        if (owner_of(word) != 0 || !region_.exchange_word(at, word, taken(word))) [[unlikely]]
            wait();
    }

    /// The exchange keeps the look at the sleepers behind it: who went to sleep before has set its bit, and who does
    /// later finds the word free.
    void unlock() noexcept {
        if (Platform::has_lost_pages()) [[unlikely]]
            owner_.admit_loss(owner_.engine);
        if (byte_ == 0) return;
        region_.publish_word_first(at, region_.watch_word(at) & ~byte_mask);
        if (const std::uint64_t sleepers = region_.watch_word(pair_layout::shared::sleepers); sleepers != 0)
            [[unlikely]]
            wake(sleepers);
    }

    /// Called once the byte is held, before anything is done under it: a dead owner with the same byte is followed.
    void inherit() noexcept {
        const std::uint64_t word = region_.watch_word(at);
        if (owner_of(word) != byte_ || !region_.exchange_word(at, word, taken(word))) return;
        owner_.take_over(owner_.engine);
        unlock();
    }

    /// For who waits for what the owner is doing: true if the owner is dead, or nobody is owner, so that taking the
    /// lock helps.
    bool is_abandoned() const noexcept {
        const unsigned owner = owner_of(region_.watch_word(at));
        return owner == 0 || (owner != byte_ && owner_.is_dead(owner_.engine, owner));
    }

    static constexpr unsigned owner_of(std::uint64_t word) noexcept { return static_cast<unsigned>(word & byte_mask); }

private:
    static constexpr std::uint64_t at = pair_layout::shared::lock;
    static constexpr std::uint64_t byte_mask = 0xff;
    std::uint64_t taken(std::uint64_t word) const noexcept { return ((word >> 8) + 1) << 8 | byte_; }

    [[gnu::noinline]] void wait() noexcept {
        namespace shared = pair_layout::shared;
        constexpr unsigned spins = 100;  // a change takes less than the way to the kernel
        constexpr unsigned yields = 10;
        constexpr std::uint64_t nap = 1'000'000;  // a death is noticed after about so many nanoseconds
        for (unsigned rounds = 0;; ++rounds) {
            const std::uint64_t word = region_.watch_word(at);
            const unsigned owner = owner_of(word);
            if (owner == 0) {
                if (region_.exchange_word(at, word, taken(word))) return;
            } else if (rounds < spins) {
                Platform::relax();
            } else if (rounds < spins + yields) {
                Platform::yield();
            } else {
                if (owner == byte_ && owner_.is_mine(owner_.engine)) give_up();
                if (owner != byte_ && owner_.is_dead(owner_.engine, owner)) {
                    if (!region_.exchange_word(at, word, taken(word))) continue;
                    return owner_.take_over(owner_.engine);
                }
                const std::uint64_t sleepers = region_.set_bits(shared::sleepers, shared::waits_for_lock);
                if (region_.watch_word(at) == word) region_.sleep_on(shared::sleepers, sleepers, nap);
            }
        }
    }

    /// Better than to wait for ever.
    [[noreturn]] static void give_up() noexcept {
        std::fputs("kvs: a store was changed by the function of its own view\n", stderr);
        std::abort();
    }

    [[gnu::noinline]] void wake(std::uint64_t sleepers) noexcept {
        namespace shared = pair_layout::shared;
        region_.clear_bits(shared::sleepers, sleepers);
        region_.wake(shared::sleepers);
    }

    Region& region_;
    Owner owner_;
    unsigned byte_ = 0;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_WRITER_LOCK_HPP
