// The superblock: what is known to be on the device [superblock].
//
// There are two copies, written in turn, each of them twice in pages of its own; twins are identical and either counts.
// Of the copies that are valid, the one with the larger generation counts. A copy is written checksum first (as 0),
// then the fields, then the checksum, so that a page that goes to the device meanwhile is no valid one; the generation
// rises by 1 and a random number of 16 bits, so that a copy torn in a power cut cannot pass for another.
//
// A death while a copy is written leaves that copy's pages torn, or its twins of two generations, and the other copy
// whole. The next open writes such pages anew, else damage of the twin would find no other. Before the other copy is
// written, a flush brings that to the device.
#ifndef KVS_DETAIL_SUPERBLOCK_HPP
#define KVS_DETAIL_SUPERBLOCK_HPP

#include <cstddef>
#include <cstdint>

#include <kvs/detail/memory.hpp>
#include <kvs/detail/pair_layout.hpp>
#include <kvs/error.hpp>

namespace kvs::detail {

/// Where a file was last open: a shared area is worth something only there.
struct FilePlace {
    std::uint64_t boot[2] = {};
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    std::uint64_t mount = 0;
};

/// True if a mount id says that this is the same mounted file system: one of its halves does, or the system has
/// neither.
constexpr bool is_same_mount(std::uint64_t a, std::uint64_t b) noexcept {
    const std::uint64_t difference = a ^ b;
    return difference == 0 || (a >> 32 != 0 && difference >> 32 == 0) ||
           ((a & 0xffffffffu) != 0 && (difference & 0xffffffffu) == 0);
}
constexpr bool is_same_place(const FilePlace& a, const FilePlace& b) noexcept {
    return a.boot[0] == b.boot[0] && a.boot[1] == b.boot[1] && a.device == b.device && a.inode == b.inode &&
           is_same_mount(a.mount, b.mount);
}

/// The fields of a superblock.
struct Superblock {
    std::uint32_t version = pair_layout::format_version;
    unsigned checksum_id = 0;
    unsigned index_id = 0;
    std::uint32_t key_length = 0;
    std::uint32_t weights = 0;
    std::uint64_t generation = 0;
    std::uint64_t durable_epoch = 0;
    std::uint64_t durable_end = 0;
    std::uint64_t records = 0;
    std::uint64_t keys = 0;
    std::uint64_t void_epoch = 0;
    bool clean = false;
    FilePlace place{};
    std::uint64_t index_place[2] = {};
    std::uint64_t lone_slot = 0;  ///< [one-flush] counts at D only with this second word; 0 = none
    std::uint64_t lone_content = 0;
};

/// Modulo 2^64, so that a forged generation near the end of the numbers is one like any other.
constexpr bool is_newer_generation(std::uint64_t a, std::uint64_t b) noexcept {
    return a != b && a - b < std::uint64_t{1} << 63;
}

/// The words of a superblock, numbers and not yet bytes.
using SuperblockWords = std::uint64_t[pair_layout::superblock::words];

inline std::uint32_t superblock_checksum(const SuperblockWords& words) noexcept {
    namespace at = pair_layout::superblock;
    Crc32cState crc;
    for (unsigned i = 0; i < at::checksum; ++i) crc.add(little_endian ? swap_bytes(words[i]) : words[i]);
    return crc.value();
}

inline void encode(const Superblock& s, SuperblockWords& words) noexcept {
    namespace at = pair_layout::superblock;
    words[at::magic] = at::magic_word;
    words[at::versions] =
        std::uint64_t{s.version} << 32 | std::uint64_t{s.checksum_id} << 24 | std::uint64_t{s.index_id} << 16;
    words[at::geometry] = std::uint64_t{s.key_length} << 32 | s.weights;
    words[at::generation] = s.generation;
    words[at::durable_epoch] = s.durable_epoch;
    words[at::durable_end] = s.durable_end;
    words[at::records] = s.records;
    words[at::keys] = s.keys;
    words[at::void_epoch] = s.void_epoch;
    words[at::flags] = s.clean ? at::clean : 0;
    words[at::boot] = s.place.boot[0];
    words[at::boot + 1] = s.place.boot[1];
    words[at::device] = s.place.device;
    words[at::inode] = s.place.inode;
    words[at::mount] = s.place.mount;
    words[at::index_place] = s.index_place[0];
    words[at::index_place + 1] = s.index_place[1];
    words[at::lone_slot] = s.lone_slot;
    words[at::lone_content] = s.lone_content;
    words[at::checksum] = superblock_checksum(words);
}

/// False if the words are no superblock; a damaged one is decoded all the same.
inline bool decode_damaged(const SuperblockWords& words, Superblock& s) noexcept {
    namespace at = pair_layout::superblock;
    if (words[at::magic] != at::magic_word) return false;
    s.version = static_cast<std::uint32_t>(words[at::versions] >> 32);
    s.checksum_id = static_cast<unsigned>(words[at::versions] >> 24 & 0xff);
    s.index_id = static_cast<unsigned>(words[at::versions] >> 16 & 0xff);
    s.key_length = static_cast<std::uint32_t>(words[at::geometry] >> 32);
    s.weights = static_cast<std::uint32_t>(words[at::geometry]);
    s.generation = words[at::generation];
    s.durable_epoch = words[at::durable_epoch];
    s.durable_end = words[at::durable_end];
    s.records = words[at::records];
    s.keys = words[at::keys];
    s.void_epoch = words[at::void_epoch];
    s.clean = (words[at::flags] & at::clean) != 0;
    s.place.boot[0] = words[at::boot];
    s.place.boot[1] = words[at::boot + 1];
    s.place.device = words[at::device];
    s.place.inode = words[at::inode];
    s.place.mount = words[at::mount];
    s.index_place[0] = words[at::index_place];
    s.index_place[1] = words[at::index_place + 1];
    s.lone_slot = words[at::lone_slot];
    s.lone_content = words[at::lone_content];
    return true;
}

/// False if the words are no superblock, or a damaged one.
inline bool decode(const SuperblockWords& words, Superblock& s) noexcept {
    return words[pair_layout::superblock::checksum] == superblock_checksum(words) && decode_damaged(words, s);
}

/// What says that a file is one of pairs.
struct SuperblockSigns {
    unsigned pages = 0;     ///< that begin as a superblock does
    bool is_valid = false;  ///< one of them has the checksum of one
};
/// Looks at all pages: any of them can be damaged. Not through a mapping: a look at a hole of a full file system in
/// memory is a bus error.
template <class File>
Failure find_superblocks(const File& file, SuperblockSigns& signs) noexcept {
    signs = {};
    for (unsigned page = 0; page < pair_layout::superblock_copies * pair_layout::superblock_twins; ++page) {
        SuperblockWords words;
        std::byte bytes[sizeof words] = {};
        std::size_t done = 0;
        const std::uint64_t at = pair_layout::superblock_page(page);
        if (Failure failure = file.read(bytes, sizeof bytes, at, done)) return failure;
        for (unsigned i = 0; i < pair_layout::superblock::words; ++i)
            words[i] = load_big_endian<8>(bytes + pair_layout::superblock::offset_of(i));
        if (words[pair_layout::superblock::magic] != pair_layout::superblock::magic_word) continue;
        Superblock superblock;
        ++signs.pages;
        signs.is_valid |= decode(words, superblock);
    }
    return {};
}

/// The superblock copies of a mapped file.
template <class Region>
class Superblocks {
public:
    explicit Superblocks(Region& region) noexcept : region_(region) {}

    static bool read_page(const Region& region, std::uint64_t page, Superblock& s) noexcept {
        SuperblockWords words;
        load(region, page, words);
        return decode(words, s);
    }
    static bool read_damaged_page(const Region& region, std::uint64_t page, Superblock& s) noexcept {
        SuperblockWords words;
        load(region, page, words);
        return decode_damaged(words, s);
    }

    /// Reads a copy by the twin that is valid, the one of the larger generation if both are; false if none is.
    bool read(unsigned copy, Superblock& s) const noexcept {
        bool valid = false;
        for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin) {
            Superblock found;
            if (!read_page(region_, pair_layout::superblock_offset(copy, twin), found)) continue;
            if (!valid || is_newer_generation(found.generation, s.generation)) s = found;
            valid = true;
        }
        return valid;
    }

    /// Reads the copy that counts and says which it is; false if there is none.
    bool read_counting(Superblock& s, unsigned& copy) const noexcept {
        bool valid = false;
        for (unsigned i = 0; i < pair_layout::superblock_copies; ++i) {
            Superblock found;
            if (!read(i, found) || (valid && !is_newer_generation(found.generation, s.generation))) continue;
            s = found;
            copy = i;
            valid = true;
        }
        return valid;
    }

    /// The number of a copy's pages that hold no valid superblock, or an older one than their twin.
    unsigned bad_pages(unsigned copy) const noexcept {
        Superblock best;
        const bool valid = read(copy, best);
        unsigned bad = 0;
        for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin)
            bad += !valid || !is_page_of(copy, twin, best) ? 1u : 0u;
        return bad;
    }

    /// Writes such pages anew from their twins. A page that is good is not touched: it may be all that is left. A copy
    /// that has no good page left loses its checksums: it may lack but a word of the sync that a power cut undid, and
    /// the next one to write the copy could store just that word, on the device before all others. A flush has to come
    /// between. Without `twins_too` the pages stay, for `verify` to find.
    void mend(bool twins_too) noexcept {
        namespace at = pair_layout::superblock;
        for (unsigned copy = 0; copy < pair_layout::superblock_copies; ++copy) {
            Superblock best;
            const bool valid = read(copy, best);
            SuperblockWords words;
            encode(best, words);
            for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin) {
                const std::uint64_t page = pair_layout::superblock_offset(copy, twin);
                if (!valid)
                    region_.template publish<8>(page + at::offset_of(at::checksum), 0);
                else if (twins_too && !is_page_of(copy, twin, best))
                    write_page(page, words);
            }
        }
    }

    /// Writes both twins of a copy.
    void write(unsigned copy, const Superblock& s) noexcept {
        SuperblockWords words;
        encode(s, words);
        for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin)
            write_page(pair_layout::superblock_offset(copy, twin), words);
    }

private:
    static void load(const Region& region, std::uint64_t page, SuperblockWords& words) noexcept {
        for (unsigned i = 0; i < pair_layout::superblock::words; ++i)
            words[i] = region.template load<8>(page + pair_layout::superblock::offset_of(i));
    }
    bool is_page_of(unsigned copy, unsigned twin, const Superblock& best) const noexcept {
        Superblock found;
        return read_page(region_, pair_layout::superblock_offset(copy, twin), found) &&
               found.generation == best.generation;
    }

    void write_page(std::uint64_t page, const SuperblockWords& words) noexcept {
        namespace at = pair_layout::superblock;
        region_.template publish<8>(page + at::offset_of(at::checksum), 0);
        for (unsigned i = 0; i < at::checksum; ++i) region_.template publish<8>(page + at::offset_of(i), words[i]);
        region_.template publish<8>(page + at::offset_of(at::checksum), words[at::checksum]);
    }

    Region& region_;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_SUPERBLOCK_HPP
