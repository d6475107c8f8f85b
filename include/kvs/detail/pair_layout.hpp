// Where everything is in a file of paired records: every offset, size and magic number, and nothing else.
// FORMAT_PAIRS.md is the same for people; tests/unit/pair_format.cpp compares the two.
//
//   offset 0        header and index of the seed format (layout.hpp)
//   offset 266240   two pages of 4 KiB: superblock copy 0, copy 1
//   offset 274432   the shared area, memory of the processes that have the file open: words, counters, small journal
//   offset 278528   two pages: the twin of copy 0, the twin of copy 1
//   offset 286720   the shared area: room for the journal
//   offset 380928   records: check u32 | key[m] | type u8 | slot A | slot B | next u32
//
// All integers are big-endian but those of the shared area, which are the machine's own.
#ifndef KVS_DETAIL_PAIR_LAYOUT_HPP
#define KVS_DETAIL_PAIR_LAYOUT_HPP

#include <cstddef>
#include <cstdint>

#include <kvs/detail/crc.hpp>
#include <kvs/detail/layout.hpp>

namespace kvs::detail::pair_layout {

inline constexpr std::uint32_t format_version = 2;
inline constexpr std::uint64_t page_bytes = 4096;

// ---- superblock ----------------------------------------------------------------------------------------------------

inline constexpr std::uint64_t superblocks_offset = (layout::records_offset + page_bytes - 1) / page_bytes * page_bytes;
inline constexpr unsigned superblock_copies = 2;
inline constexpr unsigned superblock_twins = 2;

/// The first twins, the words of the shared area, the second twins. Twins are not neighbours, so that damage of two
/// pages in a row leaves one of each copy. Each sync dirties both twins of one copy and the shared words: of either
/// copy one twin is the neighbour of the words, and goes to the device in one piece with them.
inline constexpr std::uint64_t shared_offset = superblocks_offset + superblock_copies * page_bytes;
constexpr std::uint64_t superblock_offset(unsigned copy, unsigned twin) noexcept {
    return superblocks_offset + (twin * (superblock_copies + 1) + copy) * page_bytes;
}
/// The pages of the superblock by number: the first twins, then the second ones.
constexpr std::uint64_t superblock_page(unsigned page) noexcept {
    return superblock_offset(page % superblock_copies, page / superblock_copies);
}

/// A superblock is a sequence of 8-byte words; these are their numbers.
namespace superblock {
inline constexpr unsigned magic = 0;       ///< "AKVSPAIR"
inline constexpr unsigned versions = 1;    ///< u32 format version | u8 checksum | u8 index | u16 0
inline constexpr unsigned geometry = 2;    ///< u32 key length | u32 weights
inline constexpr unsigned generation = 3;  ///< the valid copy with the larger one counts
inline constexpr unsigned durable_epoch = 4;
inline constexpr unsigned durable_end = 5;
inline constexpr unsigned records = 6;  ///< records below the durable end
inline constexpr unsigned keys = 7;
inline constexpr unsigned void_epoch = 8;  ///< slots of this epoch and earlier ones are void
inline constexpr unsigned flags = 9;
inline constexpr unsigned boot = 10;  ///< two words: which run of the machine wrote it
inline constexpr unsigned device = 12;
inline constexpr unsigned inode = 13;
inline constexpr unsigned mount = 14;
inline constexpr unsigned index_place = 15;   ///< two words: offset and size of the growing index, 0 without one
inline constexpr unsigned lone_slot = 17;     ///< offset of the slot that was synced with one flush, 0 = none
inline constexpr unsigned lone_content = 18;  ///< its second word: checksum and byte count
inline constexpr unsigned checksum = 19;      ///< u32 0 | u32 CRC-32C of the words before it
inline constexpr unsigned words = 20;

/// The offset of a word in its page.
constexpr std::uint64_t offset_of(unsigned word) noexcept { return std::uint64_t{word} * 8; }

inline constexpr std::uint64_t magic_word = 0x414b565350414952;  // "AKVSPAIR"
inline constexpr std::uint64_t clean = 1;                        ///< flag: closed properly
}  // namespace superblock

inline constexpr unsigned checksum_crc32c = 1;
inline constexpr unsigned checksum_xxh3 = 2;
inline constexpr unsigned index_chains = 1;
inline constexpr unsigned index_growing = 2;

// ---- shared area ---------------------------------------------------------------------------------------------------

/// Words of 8 bytes in the machine's order.
namespace shared {
constexpr std::uint64_t word(unsigned number) noexcept { return shared_offset + std::uint64_t{number} * 8; }
// Three cache lines: what every read looks at, and seldom changes;
inline constexpr std::uint64_t stamp = word(0);    ///< `stamp_of`: who may share the area
inline constexpr std::uint64_t opening = word(1);  ///< another one after every open that was alone
inline constexpr std::uint64_t live_end = word(2);
inline constexpr std::uint64_t durable_epoch = word(3);
inline constexpr std::uint64_t void_epoch = word(4);
inline constexpr std::uint64_t lengths = word(5);  ///< bit per logarithm of a value length that any record has
// what every write stores to;
inline constexpr std::uint64_t lock = word(8);      ///< count << 8 | owner byte, 0 = nobody
inline constexpr std::uint64_t sleepers = word(9);  ///< who sleeps: bits `waits_for_lock`, `waits_for_change`
inline constexpr std::uint64_t changes = word(10);  ///< twice the number of changes, odd during one
inline constexpr std::uint64_t pending = word(11);  ///< 0 = nothing, `pending_any`, or the one slot that was changed
inline constexpr std::uint64_t failed = word(12);
inline constexpr std::uint64_t in_use = word(13);  ///< 1 = the superblock on the device says "not clean"
inline constexpr std::uint64_t mount = word(14);   ///< of who opened the file alone; the others write its name too
// and what some writes and syncs do.
inline constexpr std::uint64_t durable_end = word(16);
inline constexpr std::uint64_t durable_generation = word(17);  ///< 0 = not known
inline constexpr std::uint64_t records = word(18);
inline constexpr std::uint64_t keys = word(19);
inline constexpr std::uint64_t index_place = word(20);    ///< two words
inline constexpr std::uint64_t journal_valid = word(22);  ///< 1 = the journal is to be applied
inline constexpr std::uint64_t journal_words = word(23);
inline constexpr std::uint64_t journal_place = word(24);  ///< offset of its first word

/// Of this area: another number whenever something in it changes its place or its meaning.
inline constexpr std::uint64_t layout_number = 3;
/// Layout, size of a pointer and, by its place, order of bytes.
constexpr std::uint64_t stamp_of(std::uint64_t pointer_bytes) noexcept {
    return 0x4b56530100000000u | pointer_bytes << 16 | layout_number;
}

inline constexpr std::uint64_t waits_for_lock = 1;
inline constexpr std::uint64_t waits_for_change = 2;

inline constexpr std::uint64_t pending_any = 1;

/// On the page of the words, so that a change of one value dirties one page here.
inline constexpr std::uint64_t counters = shared_offset + 1024;  ///< u32[256]
inline constexpr std::uint32_t counter_count = 256;              ///< as many as a `Hint` can tell apart
/// Room for most changes of one key, on that page too.
inline constexpr std::uint64_t small_journal = counters + std::uint64_t{4} * counter_count;
inline constexpr std::uint64_t small_journal_bytes = shared_offset + page_bytes - small_journal;
/// Room for any change of one key: a key, a slot of 64 KiB, and some words.
inline constexpr std::uint64_t journal = superblock_offset(superblock_copies - 1, superblock_twins - 1) + page_bytes;
inline constexpr std::uint64_t journal_bytes = 23 * page_bytes;
inline constexpr std::uint64_t end = journal + journal_bytes;
}  // namespace shared

inline constexpr std::uint64_t records_offset = shared::end;

/// A link that leads nowhere: damage that stays. Below all records, and neither half is 0, so that nobody takes it for
/// one that was not synced, or torn.
inline constexpr std::uint64_t lost_link = 0x00010001;

/// True of the words, the counters and the rooms for the journal.
constexpr bool is_shared(std::uint64_t offset) noexcept {
    return (offset >= shared_offset && offset < shared_offset + page_bytes) ||
           (offset >= shared::journal && offset < shared::end);
}

// ---- records -------------------------------------------------------------------------------------------------------

inline constexpr std::uint64_t check_bytes = 4;
inline constexpr std::uint8_t paired_type = 0x80;  ///< of a record, with the logarithm of its value length

/// A slot: u64 header | u32 checksum | u32 byte count | value, padded to a multiple of 8.
inline constexpr std::uint64_t slot_header_bytes = 16;

constexpr std::uint64_t padded(std::uint64_t bytes) noexcept { return (bytes + 7) / 8 * 8; }
constexpr std::uint64_t slot_bytes(unsigned length) noexcept {
    return slot_header_bytes + padded(layout::value_bytes(length));
}
/// From a record's key to the end of its link.
constexpr std::uint64_t record_bytes(std::size_t key_length, unsigned length) noexcept {
    return key_length + layout::type_bytes + 2 * slot_bytes(length) + layout::link_bytes;
}
/// Of slot 0 (A) or 1 (B), from the record's offset.
constexpr std::uint64_t slot_offset(std::size_t key_length, unsigned length, unsigned which) noexcept {
    return key_length + layout::type_bytes + which * slot_bytes(length);
}
constexpr std::uint64_t link_offset(std::size_t key_length, unsigned length) noexcept {
    return slot_offset(key_length, length, 2);
}

constexpr bool is_power_of_two(std::uint64_t n) noexcept { return (n & (n - 1)) == 0; }

/// True if a record can begin there: its slots are aligned, and one flipped bit cannot make a link to it 0.
constexpr bool is_record_offset(std::uint64_t offset, std::size_t key_length) noexcept {
    return (offset + key_length + layout::type_bytes) % 8 == 0 && !is_power_of_two(offset);
}
/// The first place for a record whose check lies at or behind `end`.
constexpr std::uint64_t next_record(std::uint64_t end, std::size_t key_length) noexcept {
    std::uint64_t offset = end + check_bytes;
    offset += (8 - (offset + key_length + layout::type_bytes) % 8) % 8;
    return is_power_of_two(offset) ? offset + 8 : offset;
}

/// Proves a link right; never changes.
inline std::uint32_t record_check(std::uint64_t link, std::uint64_t record, std::uint32_t bucket,
                                  unsigned length) noexcept {
    std::byte bytes[16];
    store_big_endian<4>(bytes, link);
    store_big_endian<4>(bytes + 4, record);
    store_big_endian<4>(bytes + 8, bucket);
    store_big_endian<4>(bytes + 12, layout::value_bytes(length));
    return crc32c_of_words(bytes, sizeof bytes);
}

// ---- slot headers --------------------------------------------------------------------------------------------------

/// The first epoch of a file: no single flipped bit makes a header with it 0.
inline constexpr std::uint64_t first_epoch = (std::uint64_t{1} << 30) + 1;
inline constexpr std::uint64_t last_epoch = (std::uint64_t{1} << 40) - 2;
inline constexpr std::uint8_t deleted = 0xff;  ///< in place of a type

/// The first word of a slot: epoch, 40 bits | type byte of the seed format, or `deleted` | check, 16 bits. 0 = the slot
/// is empty.
class SlotHeader {
public:
    constexpr SlotHeader() noexcept = default;
    constexpr explicit SlotHeader(std::uint64_t word) noexcept : word_(word) {}
    constexpr SlotHeader(std::uint64_t epoch, std::uint8_t type, std::uint64_t offset) noexcept
        : word_(epoch << 24 | std::uint64_t{type} << 16) {
        word_ |= check_of(word_, offset);
    }

    constexpr std::uint64_t word() const noexcept { return word_; }
    constexpr bool is_empty() const noexcept { return word_ == 0; }
    constexpr std::uint64_t epoch() const noexcept { return word_ >> 24; }
    constexpr std::uint8_t type() const noexcept { return static_cast<std::uint8_t>(word_ >> 16); }
    constexpr bool is_deleted() const noexcept { return type() == deleted; }
    /// True if the check is right for a slot at this offset; not for an empty one.
    [[gnu::always_inline]] constexpr bool is_good(std::uint64_t offset) const noexcept {
        return (word_ & 0xffff) == check_of(word_, offset);
    }

    /// True if the checks of two headers are both right, or both wrong by the same bits: given what the headers, and
    /// what their offsets have in difference. The check is linear, so only the bits count in which they differ, and of
    /// the two slots of a record these are few: the lower 24 of the epoch. Of others it says false.
    [[gnu::always_inline]] static constexpr bool agree(std::uint64_t words, std::uint64_t offsets) noexcept {
        if ((words & 0xffff000000ff0000) != 0) [[unlikely]]
            return false;
        const auto& tables = crc16_tables.of;
        const int sum = tables[1][words >> 24 & 0xff] ^ tables[2][words >> 32 & 0xff] ^ tables[3][words >> 40 & 0xff];
        return static_cast<std::uint64_t>(sum) == ((offsets >> 3 ^ words) & 0xffff);
    }

private:
    /// Of epoch and type, and of the offset, so that a slot found in another's place is not taken for it.
    [[gnu::always_inline]] static constexpr std::uint64_t check_of(std::uint64_t word, std::uint64_t offset) noexcept {
        return crc16_of_48_bits(word >> 16) ^ (offset >> 3 & 0xffff);
    }

    std::uint64_t word_ = 0;
};

// ---- locks: bytes beyond the last one a file can have --------------------------------------------------------------

inline constexpr std::uint64_t owner_locks = layout::file_limit + 16;  ///< byte 1 to 255 behind it: one for a handle
inline constexpr unsigned most_owners = 255;

static_assert(superblocks_offset == 266240);
static_assert(shared_offset == 274432);
static_assert(superblock_offset(1, 0) == shared_offset - page_bytes);
static_assert(superblock_offset(0, 1) == shared_offset + page_bytes);
static_assert(shared::journal == 286720);
static_assert(records_offset == 380928);

}  // namespace kvs::detail::pair_layout

#endif  // KVS_DETAIL_PAIR_LAYOUT_HPP
