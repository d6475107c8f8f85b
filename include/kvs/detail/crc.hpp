// The checksums of the paired format: CRC-32C over whole words, and a CRC-16 for slot headers.
//
// CRC-32C: polynomial 0x1EDC6F41, reflected, initial value and final inversion all ones (G. Castagnoli, S. Bräuer,
// M. Herrmann, "Optimization of Cyclic Redundancy-Check Codes with 24 and 32 Parity Bits", IEEE Transactions on
// Communications 41, 1993; the parameters of RFC 3720, appendix B.4, whose test vectors the tests use). It sees every
// burst of up to 32 bits, and every flipped bit of the lengths in a store.
//
// CRC-16: polynomial 0x1021, not reflected, initial value 0 (ITU-T V.41; known as CRC-16/XMODEM). It sees every burst
// of up to 16 bits.
//
// On x86-64 the instruction is used if the processor has it, which is asked once; on AArch64 if the compiler may.
#ifndef KVS_DETAIL_CRC_HPP
#define KVS_DETAIL_CRC_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <kvs/detail/memory.hpp>

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

namespace kvs::detail {

/// A table of remainders. Arrays of the language, and each entry made of others, because all who include this compute
/// it when they compile: bit by bit in a `std::array` it took a tenth of a second.
template <class Remainder, std::size_t Tables>
struct RemainderTables {
    Remainder of[Tables][256];

    /// Fills a table from the remainders of the bytes with one bit: a CRC is linear.
    constexpr void fill(std::size_t table) noexcept {
        for (unsigned bit = 1; bit < 256; bit <<= 1)
            for (unsigned byte = 1; byte < bit; ++byte)
                of[table][bit | byte] = static_cast<Remainder>(of[table][bit] ^ of[table][byte]);
    }
};

inline constexpr RemainderTables<std::uint32_t, 1> crc32c_table = [] {
    RemainderTables<std::uint32_t, 1> table{};
    constexpr std::uint32_t polynomial = 0x82f63b78u;
    std::uint32_t remainder = polynomial;
    for (unsigned bit = 0x80; bit != 0; bit >>= 1) {
        table.of[0][bit] = remainder;
        remainder = remainder >> 1 ^ (polynomial & (0u - (remainder & 1)));
    }
    table.fill(0);
    return table;
}();

/// True if the processor computes CRC-32C by an instruction.
inline const bool has_crc32c_instruction = [] {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") != 0;
#elif defined(__ARM_FEATURE_CRC32)
    return true;
#else
    return false;
#endif
}();

/// A CRC-32C on its way: words in memory order go in, the checksum comes out.
class Crc32cState {
public:
    /// `portable` leaves the instruction aside; for tests.
    explicit Crc32cState(bool portable = false) noexcept : use_instruction_(has_crc32c_instruction && !portable) {}

    /// Where `has_quick` is true: as quick as it gets on this machine.
    struct Quick {};
    explicit Crc32cState(Quick) noexcept : use_instruction_(true) {}
    static bool has_quick() noexcept {
#if defined(__x86_64__)
        return has_crc32c_instruction;
#else
        return true;
#endif
    }

    /// Eight bytes, as a word in memory order.
    [[gnu::always_inline]] inline void add(std::uint64_t word) noexcept {
#if defined(__x86_64__)
        if (use_instruction_) [[likely]] {
            // Written as such because a function with a target attribute cannot be inlined into those without.
            asm("crc32q %1, %0" : "+r"(state_) : "rm"(word));
            return;
        }
#elif defined(__ARM_FEATURE_CRC32)
        if (use_instruction_) [[likely]] {
            state_ = __crc32cd(static_cast<std::uint32_t>(state_), little_endian ? word : swap_bytes(word));
            return;
        }
#endif
        state_ = add_portably(static_cast<std::uint32_t>(state_), word);
    }

    std::uint32_t value() const noexcept { return ~static_cast<std::uint32_t>(state_); }

private:
    /// By value, so that the state can stay in a register.
    [[gnu::noinline]] static std::uint32_t add_portably(std::uint32_t state, std::uint64_t word) noexcept {
        for (unsigned i = 0; i < 8; ++i) {
            const unsigned shift = little_endian ? 8 * i : 8 * (7 - i);
            state = state >> 8 ^ crc32c_table.of[0][(state ^ word >> shift) & 0xff];
        }
        return state;
    }

    std::uint64_t state_ = 0xffffffffu;
    bool use_instruction_;
};

/// Of any bytes; the last word is filled with NULs, which the checksum then covers too.
inline std::uint32_t crc32c_of_words(const void* from, std::size_t bytes, bool portable = false) noexcept {
    Crc32cState crc(portable);
    const auto* at = static_cast<const std::byte*>(from);
    for (; bytes >= 8; at += 8, bytes -= 8) crc.add(local_word(at, 8));
    if (bytes != 0) crc.add(local_word(at, bytes));
    return crc.value();
}

/// `crc16_tables.of[i][b]`: the CRC-16 of byte b followed by i NULs.
inline constexpr RemainderTables<std::uint16_t, 6> crc16_tables = [] {
    RemainderTables<std::uint16_t, 6> tables{};
    unsigned remainder = 0x1021;
    for (std::size_t i = 0; i < 6; ++i) {
        for (unsigned bit = 1; bit < 256; bit <<= 1) {
            tables.of[i][bit] = static_cast<std::uint16_t>(remainder);
            remainder = (remainder << 1 ^ ((remainder & 0x8000) != 0 ? 0x1021u : 0u)) & 0xffff;
        }
        tables.fill(i);
    }
    return tables;
}();

/// The CRC-16 of six bytes, given as the low 48 bits of a number, the highest byte first. Linear: of two numbers
/// combined by exclusive or it is the exclusive or of theirs.
[[gnu::always_inline]] constexpr std::uint16_t crc16_of_48_bits(std::uint64_t bits) noexcept {
    unsigned crc = 0;
    for (unsigned i = 0; i < 6; ++i) crc ^= crc16_tables.of[i][bits >> 8 * i & 0xff];
    return static_cast<std::uint16_t>(crc);
}

static_assert(crc16_of_48_bits(0x31) == 0x2672);  // of the one byte "1", which leading NULs do not change

}  // namespace kvs::detail

#endif  // KVS_DETAIL_CRC_HPP
