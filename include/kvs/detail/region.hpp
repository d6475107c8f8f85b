// The mapped file. The only code that holds its address; every change of mapped bytes is one of
//
//   store    bytes whose order among themselves does not matter,
//   publish  one number, in one instruction, that makes everything stored before it visible to who reads it,
//
// and, on the file, `File::flush`. Each machine store is told to `Platform::on_store`, where a test can record it, so a
// test sees every state that a killed process can leave.
#ifndef KVS_DETAIL_REGION_HPP
#define KVS_DETAIL_REGION_HPP

#include <cstddef>
#include <cstdint>
#include <utility>

#include <kvs/detail/lost_pages.hpp>
#include <kvs/detail/memory.hpp>

namespace kvs::detail {

/// Mapped bytes, as long as somebody keeps the mapping. Where every nanosecond counts, work on a copy of its own: each
/// access is a barrier to the compiler, which would have to load the address anew from anything that others see.
template <class Platform, class Memory>
class MappedBytes {
public:
    MappedBytes() noexcept = default;
    explicit MappedBytes(std::byte* base) noexcept : base_(base) {}

    /// The bytes from an offset on.
    MappedBytes from(std::uint64_t offset) const noexcept { return MappedBytes(base_ + offset); }
    /// Where those begin that `from` gave.
    std::uint64_t offset_of(const MappedBytes& bytes) const noexcept {
        return static_cast<std::uint64_t>(bytes.base_ - base_);
    }

    // ---- reading; offsets are checked by the caller ----------------------------------------------------------------

    /// The big-endian integer of `Bytes` bytes at an offset.
    template <unsigned Bytes>
    std::uint64_t load(std::uint64_t offset) const noexcept {
        const std::uint64_t word = Memory::load(base_ + offset, Bytes);
        if constexpr (little_endian) return swap_bytes(word) >> 8 * (8 - Bytes);
        return word >> 8 * (8 - Bytes);
    }

    /// Compares `Bytes` bytes with words in memory order; the byte behind the range must be in the file too.
    template <std::size_t Bytes>
    bool equal(std::uint64_t offset, const std::uint64_t* words) const noexcept {
        return Memory::template equal<(Bytes + 7) / 8, Bytes>(base_ + offset, words);
    }

    void copy_out(std::uint64_t offset, std::byte* to, std::size_t bytes) const noexcept {
        const std::byte* at = base_ + offset;
        for (; bytes >= 8; at += 8, to += 8, bytes -= 8) {
            const std::uint64_t word = Memory::load(at, 8);
            std::memcpy(to, &word, 8);
        }
        if (bytes != 0) {
            const std::uint64_t word = Memory::load(at, bytes);
            std::memcpy(to, &word, bytes);
        }
    }

    /// The number of bytes before the first NUL, at most `bytes`.
    std::size_t text_length(std::uint64_t offset, std::size_t bytes) const noexcept {
        const std::byte* at = base_ + offset;
        std::size_t done = 0;
        while (bytes - done >= 8 && !has_zero_byte(Memory::load(at + done, 8))) done += 8;
        for (; done < bytes; ++done)
            if (keep_first(Memory::load(at + done, 1), 1) == 0) return done;
        return bytes;
    }

    /// The offset of the first word of 8 bytes that is not NUL, of those that lie from `begin` to `end`, which is some
    /// words behind it; `end` if all are.
    std::uint64_t find_nonzero(std::uint64_t begin, std::uint64_t end) const noexcept {
        begin += Memory::skip_zeros(base_ + begin, end - begin);
        const auto word = [&](std::uint64_t number) { return Memory::load(base_ + begin + 8 * number, 8); };
        for (; end - begin >= 64; begin += 64) {
            const std::uint64_t front = (word(0) | word(1)) | (word(2) | word(3));  // none waits for all before it
            const std::uint64_t back = (word(4) | word(5)) | (word(6) | word(7));
            if ((front | back) != 0) break;
        }
        while (begin != end && word(0) == 0) begin += 8;
        return begin;
    }

    bool all_zero(std::uint64_t offset, std::size_t bytes) const noexcept {
        const std::uint64_t rest = offset + bytes / 8 * 8;
        if (find_nonzero(offset, rest) != rest) return false;
        return bytes % 8 == 0 || keep_first(Memory::load(base_ + rest, bytes % 8), bytes % 8) == 0;
    }

    /// Eight bytes at any offset, as a word in memory order.
    std::uint64_t load_bytes(std::uint64_t offset) const noexcept { return Memory::load(base_ + offset, 8); }

    /// A word of the shared area, in the machine's own order; `offset` is a multiple of 8.
    /// Whatever the memory's kind not torn, and no race: the thread that syncs changes some of a store of one thread.
    std::uint64_t load_word(std::uint64_t offset) const noexcept { return Memory::load_shared(base_ + offset); }
    /// True if such a word is below `number`.
    bool is_word_below(std::uint64_t offset, std::uint64_t number) const noexcept {
        return Memory::shared_is_below(base_ + offset, number);
    }

    /// The same for a word that others change while this thread waits for that, whatever the memory's kind.
    std::uint64_t watch_word(std::uint64_t offset) const noexcept {
        return __atomic_load_n(word(offset), __ATOMIC_SEQ_CST);
    }

    // ---- changing --------------------------------------------------------------------------------------------------

    void store(std::uint64_t offset, const std::byte* from, std::size_t bytes) noexcept {
        std::byte* to = base_ + offset;
        while (bytes != 0) {
            const std::size_t done = Memory::store_some(to, from, bytes);
            Platform::on_store(to, done);
            to += done;
            from += done;
            bytes -= done;
        }
    }

    /// Stores NULs; words that hold nothing else already are left alone, and so are their pages.
    void store_zeros(std::uint64_t offset, std::uint64_t bytes) noexcept {
        static constexpr std::byte zeros[8] = {};
        while (bytes != 0) {
            const std::size_t to_word = 8 - (reinterpret_cast<std::uintptr_t>(base_ + offset) & 7);
            const std::size_t piece = bytes < to_word ? static_cast<std::size_t>(bytes) : to_word;
            if (!all_zero(offset, piece)) store(offset, zeros, piece);
            offset += piece;
            bytes -= piece;
        }
    }

    /// Stores a big-endian integer of `Bytes` bytes.
    template <unsigned Bytes>
    void publish(std::uint64_t offset, std::uint64_t value) noexcept {
        if constexpr (little_endian)
            Memory::template put<Bytes>(base_ + offset, swap_bytes(value) >> 8 * (8 - Bytes));
        else
            Memory::template put<Bytes>(base_ + offset, value << 8 * (8 - Bytes));
        Platform::on_store(base_ + offset, Bytes);
    }

    /// Publishes a word of the shared area, in the machine's own order.
    void publish_word(std::uint64_t offset, std::uint64_t value) noexcept {
        Memory::template put<8>(base_ + offset, value);
        Platform::on_store(base_ + offset, 8);
    }
    /// A counter of the shared area; `offset` is a multiple of 4. Relaxed or with an order, as the caller says.
    std::uint32_t load_counter(std::uint64_t offset, int order) const noexcept {
        return __atomic_load_n(counter(offset), order);
    }
    void store_counter(std::uint64_t offset, std::uint32_t value, int order) noexcept {
        __atomic_store_n(counter(offset), value, order);
        Platform::on_store(base_ + offset, 4);
    }

    /// Stores `desired` to a word of the shared area if it holds `expected`; what was stored before is visible to who
    /// reads it, and what the last one to store there had stored before is visible here.
    bool exchange_word(std::uint64_t offset, std::uint64_t expected, std::uint64_t desired) noexcept {
        if (!__atomic_compare_exchange_n(word(offset), &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return false;
        Platform::on_store(base_ + offset, 8);
        return true;
    }
    /// Publishes a word, and lets no later load come before that.
    void publish_word_first(std::uint64_t offset, std::uint64_t value) noexcept {
        __atomic_exchange_n(word(offset), value, __ATOMIC_SEQ_CST);
        Platform::on_store(base_ + offset, 8);
    }
    /// Sets bits of a word, lets no later load come before that, and returns what the word is then.
    std::uint64_t set_bits(std::uint64_t offset, std::uint64_t bits) noexcept {
        const std::uint64_t before = __atomic_fetch_or(word(offset), bits, __ATOMIC_SEQ_CST);
        Platform::on_store(base_ + offset, 8);
        return before | bits;
    }
    void clear_bits(std::uint64_t offset, std::uint64_t bits) noexcept {
        __atomic_fetch_and(word(offset), ~bits, __ATOMIC_SEQ_CST);
        Platform::on_store(base_ + offset, 8);
    }

    /// Sleeps while a word holds `expected`, of which the low 32 bits are looked at; see `Platform::sleep_on`.
    void sleep_on(std::uint64_t offset, std::uint64_t expected, std::uint64_t nanoseconds) const noexcept {
        Platform::sleep_on(low_half(offset), static_cast<std::uint32_t>(expected), nanoseconds);
    }
    void wake(std::uint64_t offset) const noexcept { Platform::wake(low_half(offset)); }

    /// For writing the mapped bytes to another file while nobody changes them.
    const std::byte* data() const noexcept { return base_; }

private:
    using Counter [[gnu::may_alias]] = std::uint32_t;
    using Word [[gnu::may_alias]] = std::uint64_t;
    Counter* counter(std::uint64_t offset) const noexcept { return reinterpret_cast<Counter*>(base_ + offset); }
    Word* word(std::uint64_t offset) const noexcept { return reinterpret_cast<Word*>(base_ + offset); }
    Counter* low_half(std::uint64_t offset) const noexcept { return counter(offset + (little_endian ? 0 : 4)); }

protected:
    std::byte* base_ = nullptr;
};

/// Keeps a mapping.
template <class Platform, class Memory>
class Region : public MappedBytes<Platform, Memory> {
public:
    Region() noexcept = default;
    Region(std::byte* base, std::size_t reserved) noexcept
        : MappedBytes<Platform, Memory>(base), reserved_(reserved), note_(MappingNotes::add(base, reserved)) {}
    Region(Region&& other) noexcept { *this = std::move(other); }
    Region& operator=(Region&& other) noexcept {
        std::swap(this->base_, other.base_);
        std::swap(reserved_, other.reserved_);
        std::swap(note_, other.note_);
        return *this;
    }
    ~Region() {
        if (this->base_ == nullptr) return;
        const typename Platform::ForkBarrier no_fork;
        MappingNotes::remove(note_);
        Platform::unmap(this->base_, reserved_);
    }

    bool is_mapped() const noexcept { return this->base_ != nullptr; }
    std::byte* base() const noexcept { return this->base_; }
    /// True once a page of it is not the file's any more (lost_pages.hpp).
    bool has_lost_page() const noexcept { return note_ != nullptr && note_->has_lost(); }
    const MappedBytes<Platform, Memory>& mapped() const noexcept { return *this; }

private:
    std::size_t reserved_ = 0;
    MappingNote* note_ = nullptr;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_REGION_HPP
