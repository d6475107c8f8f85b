// How mapped bytes are read and written one machine word at a time.
//
// In a file of this format nothing is aligned: an index slot lies at 10 + 4i, a record at any byte. Two accessors give
// the same operations on such bytes:
//
// * `AtomicMemory` for stores that threads share. A range is read and written as the naturally aligned 8-byte words
//   that cover it, each an atomic load (acquire) or store (release). Readers run while a writer changes bytes under
//   them and find out afterwards (version_table.hpp); atomics make that a defined program, and acquire loads in program
//   order keep the later check of the version behind the data. H.-J. Boehm, "Can seqlocks get along with programming
//   language memory models?", MSPC 2012, gives the argument; the variant with fences is not understood by
//   ThreadSanitizer.
// * `PlainMemory` for stores of one thread: the same without atomics.
//
// An aligned word never crosses a page, so reading the words around a range never touches a page that the range does
// not touch. Only one thread writes at a time, so writing back the unchanged bytes of a word loses nothing.
//
// On x86-64, where a plain load is an acquire and a plain store a release at any address, whole words are moved by one
// instruction each, written as such because the language has no atomic for an unaligned address. A `get` takes 8 ns so
// and 13 ns word by word. Other machines, and every build under ThreadSanitizer, go word by word.
//
// `put` is the one store that a crash cannot split: 1, 2, 4 or 8 bytes at any address in a single instruction (on
// x86-64 and AArch64; elsewhere, and under ThreadSanitizer, word by word).
#ifndef KVS_DETAIL_MEMORY_HPP
#define KVS_DETAIL_MEMORY_HPP

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SANITIZE_THREAD__)
#define KVS_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KVS_THREAD_SANITIZER 1
#endif
#endif
#if !defined(KVS_THREAD_SANITIZER)
#define KVS_THREAD_SANITIZER 0
#endif

#if defined(__x86_64__) && !KVS_THREAD_SANITIZER
#define KVS_X86_64_MOVES 1
#else
#define KVS_X86_64_MOVES 0
#endif

namespace kvs::detail {

inline constexpr bool little_endian = std::endian::native == std::endian::little;
static_assert(little_endian || std::endian::native == std::endian::big, "kvs: mixed-endian machines are not known.");

/// The 8 bytes of a word in the other order.
constexpr std::uint64_t swap_bytes(std::uint64_t word) noexcept {
#if defined(__GNUC__)
    return __builtin_bswap64(word);
#else
    std::uint64_t swapped = 0;
    for (int i = 0; i < 8; ++i, word >>= 8) swapped = swapped << 8 | (word & 0xff);
    return swapped;
#endif
}

/// The 4 bytes of half a word in the other order.
constexpr std::uint32_t swap_bytes(std::uint32_t half) noexcept {
#if defined(__GNUC__)
    return __builtin_bswap32(half);
#else
    return static_cast<std::uint32_t>(swap_bytes(std::uint64_t{half}) >> 32);
#endif
}

/// The integer whose big-endian bytes lie at `from`; local memory, any alignment. Usable at compile time.
template <unsigned Bytes>
constexpr std::uint64_t load_big_endian(const std::byte* from) noexcept {
    std::uint64_t value = 0;
    for (unsigned i = 0; i < Bytes; ++i) value = value << 8 | std::to_integer<std::uint64_t>(from[i]);
    return value;
}

template <unsigned Bytes>
constexpr void store_big_endian(std::byte* to, std::uint64_t value) noexcept {
    for (unsigned i = 0; i < Bytes; ++i) to[i] = static_cast<std::byte>(value >> 8 * (Bytes - 1 - i));
}

/// The first `count` (1 to 8) bytes at `from` as a word in memory order, the rest 0; local memory.
inline std::uint64_t local_word(const std::byte* from, std::size_t count) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, from, count);
    return word;
}

/// In a word in memory order, keeps the bytes that come first in memory.
constexpr std::uint64_t keep_first(std::uint64_t word, std::size_t count) noexcept {
    const auto dropped = static_cast<unsigned>(8 * (8 - count));
    return little_endian ? word << dropped >> dropped : word >> dropped << dropped;
}

/// True if one of the 8 bytes is NUL (H. S. Warren, "Hacker's Delight", section 6-1).
constexpr bool has_zero_byte(std::uint64_t word) noexcept {
    return ((word - 0x0101010101010101u) & ~word & 0x8080808080808080u) != 0;
}

struct AtomicMemory {
    /// True if eight bytes at any address are one load.
    static constexpr bool loads_anywhere = KVS_X86_64_MOVES != 0;

    /// Bytes at `from` as a word in memory order; `count` is 1 to 8, bytes past it are unspecified.
    static std::uint64_t load(const std::byte* from, std::size_t count) noexcept {
        if (count == 1)
            return first_byte(__atomic_load_n(reinterpret_cast<const unsigned char*>(from), __ATOMIC_ACQUIRE));
#if KVS_X86_64_MOVES
        if (count == 8) return move(from);
#endif
        // Two aligned loads without a branch: the second is the word of the last byte, often the same one. When it is,
        // what it adds lies past `count`; when the address is aligned, it adds nothing.
        const auto shift = static_cast<unsigned>(8 * misalignment(from));
        const std::uint64_t first = load_word(from - misalignment(from));
        const std::byte* last = from + (count - 1);
        const std::uint64_t second = load_word(last - misalignment(last));
        return join(first, second, shift);
    }

    /// How many bytes from `from` on are NUL at least. None are known to be without looking at each word.
    static constexpr std::uint64_t skip_zeros(const std::byte*, std::uint64_t) noexcept { return 0; }

    /// Compares `Bytes` bytes with as many words in memory order, NUL behind the last byte. The byte behind the range
    /// must be mapped too.
    template <std::size_t Words, std::size_t Bytes>
    static bool equal(const std::byte* at, const std::uint64_t* words) noexcept {
#if KVS_X86_64_MOVES
        if constexpr (Bytes % 8 == 0) {
            std::uint64_t difference = 0;
            for (std::size_t i = 0; i < Words; ++i) {
                difference |= move(at + 8 * i) ^ words[i];
                if (i % 16 == 15 && difference != 0) break;
            }
            return difference == 0;
        }
#endif
        const auto shift = static_cast<unsigned>(8 * misalignment(at));
        const std::byte* word = at - misalignment(at);
        const std::byte* end = at + Bytes;
        std::uint64_t first = load_word(word);
        std::uint64_t difference = 0;
        for (std::size_t i = 0; i < Words; ++i) {
            const bool last = i + 1 == Words;
            const std::uint64_t second = load_word(last ? end - misalignment(end) : word += 8);
            const std::uint64_t found = join(first, second, shift);
            difference |= (last ? keep_first(found, Bytes - 8 * i) : found) ^ words[i];
            first = second;
            if (i % 16 == 15 && difference != 0) break;
        }
        return difference == 0;
    }

    /// An aligned word in the machine's order that other threads store to.
    static std::uint64_t load_shared(const std::byte* from) noexcept { return load(from, 8); }
    /// True if such a word is below `number`. Where a word is one load, it is compared where it lies.
    static bool shared_is_below(const std::byte* from, std::uint64_t number) noexcept {
#if KVS_X86_64_MOVES
        bool below;
        asm volatile("cmpq %2, %1"
                     : "=@ccb"(below)
                     : "m"(*reinterpret_cast<const std::byte(*)[8]>(from)), "r"(number)
                     : "memory");
        return below;
#else
        return load_shared(from) < number;
#endif
    }

    /// Writes one aligned word's share of a range and says how many bytes that was.
    static std::size_t store_some(std::byte* to, const std::byte* from, std::size_t count) noexcept {
        const std::size_t skip = misalignment(to);
        const std::size_t taken = count < 8 - skip ? count : 8 - skip;
        std::uint64_t word = load_word(to - skip);
        std::memcpy(reinterpret_cast<std::byte*>(&word) + skip, from, taken);
        store_word(to - skip, word);
        return taken;
    }

    /// Writes `Bytes` bytes, given as a word in memory order, in one instruction where that can be had.
    template <unsigned Bytes>
    static void put(std::byte* to, std::uint64_t word) noexcept {
        static_assert(Bytes == 1 || Bytes == 2 || Bytes == 4 || Bytes == 8);
        if constexpr (!little_endian) word >>= 8 * (8 - Bytes);
#if KVS_X86_64_MOVES
        // Stores are not reordered with earlier stores on x86, so a plain move is a release.
        auto* target = reinterpret_cast<std::byte(*)[Bytes]>(to);
        if constexpr (Bytes == 1) asm volatile("movb %b1, %0" : "=m"(*target) : "q"(word) : "memory");
        if constexpr (Bytes == 2) asm volatile("movw %w1, %0" : "=m"(*target) : "r"(word) : "memory");
        if constexpr (Bytes == 4) asm volatile("movl %k1, %0" : "=m"(*target) : "r"(word) : "memory");
        if constexpr (Bytes == 8) asm volatile("movq %q1, %0" : "=m"(*target) : "r"(word) : "memory");
#elif defined(__aarch64__) && !KVS_THREAD_SANITIZER
        if constexpr (Bytes == 1) asm volatile("dmb ish\n strb %w1, [%0]" : : "r"(to), "r"(word) : "memory");
        if constexpr (Bytes == 2) asm volatile("dmb ish\n strh %w1, [%0]" : : "r"(to), "r"(word) : "memory");
        if constexpr (Bytes == 4) asm volatile("dmb ish\n str %w1, [%0]" : : "r"(to), "r"(word) : "memory");
        if constexpr (Bytes == 8) asm volatile("dmb ish\n str %x1, [%0]" : : "r"(to), "r"(word) : "memory");
#else
        if constexpr (!little_endian) word <<= 8 * (8 - Bytes);
        const auto* from = reinterpret_cast<const std::byte*>(&word);
        for (std::size_t done = 0; done < Bytes;) done += store_some(to + done, from + done, Bytes - done);
#endif
    }

private:
    // The bytes of a mapping are nobody's objects; the attribute lets them be read as words all the same.
    using Word [[gnu::may_alias]] = std::uint64_t;

#if KVS_X86_64_MOVES
    static std::uint64_t move(const std::byte* from) noexcept {
        std::uint64_t word;
        asm volatile("movq %1, %0" : "=r"(word) : "m"(*reinterpret_cast<const std::byte(*)[8]>(from)) : "memory");
        return word;
    }
#endif
    static constexpr std::uint64_t first_byte(std::uint64_t byte) noexcept { return little_endian ? byte : byte << 56; }
    /// The word that begins `shift` bits behind the beginning of `first` and goes on in `second`.
    static std::uint64_t join(std::uint64_t first, std::uint64_t second, unsigned shift) noexcept {
        return little_endian ? first >> shift | second << 1 << (63 - shift)
                             : first << shift | second >> 1 >> (63 - shift);
    }
    static std::size_t misalignment(const std::byte* at) noexcept { return reinterpret_cast<std::uintptr_t>(at) & 7; }
    static std::uint64_t load_word(const std::byte* at) noexcept {
        return __atomic_load_n(reinterpret_cast<const Word*>(at), __ATOMIC_ACQUIRE);
    }
    static void store_word(std::byte* at, std::uint64_t word) noexcept {
        __atomic_store_n(reinterpret_cast<Word*>(at), word, __ATOMIC_RELEASE);
    }
};

struct PlainMemory {
    static std::uint64_t load(const std::byte* from, std::size_t count) noexcept { return local_word(from, count); }
    static std::uint64_t load_shared(const std::byte* from) noexcept { return AtomicMemory::load_shared(from); }
    static bool shared_is_below(const std::byte* from, std::uint64_t number) noexcept {
        return AtomicMemory::shared_is_below(from, number);
    }

    /// How many of `bytes` bytes from `from` on are NUL at least, in whole blocks. The C library compares with the
    /// widest registers of the machine: a block is NUL if its first word is and each byte is that of a word further on.
    static std::uint64_t skip_zeros(const std::byte* from, std::uint64_t bytes) noexcept {
        constexpr std::size_t block = 4096;
        std::uint64_t zeros = 0;
        while (bytes - zeros >= block && local_word(from + zeros, 8) == 0 &&
               std::memcmp(from + zeros, from + zeros + 8, block - 8) == 0)
            zeros += block;
        return zeros;
    }

    template <std::size_t Words, std::size_t Bytes>
    static bool equal(const std::byte* at, const std::uint64_t* words) noexcept {
        return std::memcmp(at, words, Bytes) == 0;
    }

    static std::size_t store_some(std::byte* to, const std::byte* from, std::size_t count) noexcept {
        return AtomicMemory::store_some(to, from, count);
    }
    template <unsigned Bytes>
    static void put(std::byte* to, std::uint64_t word) noexcept {
        AtomicMemory::put<Bytes>(to, word);
    }
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_MEMORY_HPP
