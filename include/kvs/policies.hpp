// The policies of `kvs::Store` and how a list of them becomes one canonical set.
//
// A program names any of them, in any order, at most one of each family; the rest are chosen to fit. The list is
// folded into one `detail::PolicySet` at once, so that `Store<16, A, B>` and `Store<16, B, A>` are the same type, and a
// list that makes no sense stops the build with the words to write instead. Never is a policy dropped silently: for a
// store, a dropped durability policy would be data loss.
#ifndef KVS_POLICIES_HPP
#define KVS_POLICIES_HPP

#include <cstddef>
#include <type_traits>

#include <kvs/detail/platform.hpp>

namespace kvs {

/// Checksum: CRC-32C. Sees every flipped bit and every burst of up to 32 bits.
struct Crc32c {};

/// Checksum: XXH3 of xxHash, 32 bits of it. Misses damage once in 2^32, however small it is. For machines that have no
/// instruction for CRC-32C, where it is many times as quick; with one, `Crc32c` is the quicker. It needs the header
/// `xxhash.h` (Debian: libxxhash-dev, vcpkg: xxhash), and nothing to link.
struct Xxh3 {};

/// Backup: two copies of every value, each with a checksum; survives killed processes and power cuts.
template <class Checksum = Crc32c>
struct AbBackup {};

/// Backup: none. The file is byte for byte the seed format and values are updated in place. A process killed at any
/// instruction loses nothing but, possibly, the one value it was writing, and that only if it is text or bytes, or of
/// another type than before; a power cut can damage whatever was written since the last completed `sync()`.
struct NoBackup {};

/// Sharing: all threads of any processes, up to 255 handles at the same time. A process that dies is cleaned up after
/// by whoever writes next.
struct SharedProcesses {};

/// Sharing: all threads of one process; other processes, and a second handle in this one, are refused with
/// `errc::in_use`. Read-only handles refuse nobody: while somebody has the file open for writing, they answer `in_use`.
struct SharedThreads {};

/// Sharing: one thread at a time, no locking inside the process; others are refused as by `SharedThreads`.
struct Unshared {};

/// Index: a hash table in the file that grows step by step. The file has its place and names the policy; this version
/// does not build it yet, and looks keys up as `ChainIndex` does.
struct GrowingIndex {};

/// Index: the 65,536 chains of the seed format alone; look-ups are O(1) up to some ten thousand keys and O(keys / 4096)
/// beyond.
struct ChainIndex {};

namespace detail {

enum class Family { unknown, backup, checksum, sharing, index, platform };

template <class Policy>
struct FamilyOf {
    // A platform (operating system and store seam; for tests and ports) is known by this one nested type.
    static constexpr Family value = requires { typename Policy::KvsPlatform; }
    ? Family::platform : Family::unknown;
};
template <class Checksum>
struct FamilyOf<AbBackup<Checksum>> {
    static constexpr Family value = Family::backup;
};
template <>
struct FamilyOf<NoBackup> {
    static constexpr Family value = Family::backup;
};
template <>
struct FamilyOf<Crc32c> {
    static constexpr Family value = Family::checksum;
};
template <>
struct FamilyOf<Xxh3> {
    static constexpr Family value = Family::checksum;
};
template <>
struct FamilyOf<SharedProcesses> {
    static constexpr Family value = Family::sharing;
};
template <>
struct FamilyOf<SharedThreads> {
    static constexpr Family value = Family::sharing;
};
template <>
struct FamilyOf<Unshared> {
    static constexpr Family value = Family::sharing;
};
template <>
struct FamilyOf<GrowingIndex> {
    static constexpr Family value = Family::index;
};
template <>
struct FamilyOf<ChainIndex> {
    static constexpr Family value = Family::index;
};

template <Family Wanted, class... Policies>
inline constexpr std::size_t count_of = (std::size_t{0} + ... + (FamilyOf<Policies>::value == Wanted ? 1 : 0));

/// The first of `Policies` that is of the wanted family, else `Default`.
template <Family Wanted, class Default, class... Policies>
struct Choose {
    using type = Default;
};
template <Family Wanted, class Default, class First, class... Rest>
struct Choose<Wanted, Default, First, Rest...> {
    using type = typename std::conditional_t<FamilyOf<First>::value == Wanted, std::type_identity<First>,
                                             Choose<Wanted, Default, Rest...>>::type;
};

template <class Backup>
struct ChecksumOf {
    using type = void;
};
template <class Checksum>
struct ChecksumOf<AbBackup<Checksum>> {
    using type = Checksum;
};

/// The canonical set: what `BasicStore` is a template on. `Checksum` is part of `Backup`.
template <class BackupPolicy, class SharingPolicy, class IndexPolicy, class PlatformPolicy>
struct PolicySet {
    using Backup = BackupPolicy;
    using Sharing = SharingPolicy;
    using Index = IndexPolicy;
    using Platform = PlatformPolicy;
};

template <class... Policies>
struct Fold {
    template <Family Wanted, class Default>
    using Chosen = typename Choose<Wanted, Default, Policies...>::type;

    static_assert(((FamilyOf<Policies>::value != Family::unknown) && ...),
                  "kvs::Store: unknown policy. Write one of kvs::AbBackup<Checksum>, kvs::NoBackup, kvs::Crc32c, "
                  "kvs::Xxh3, kvs::SharedProcesses, kvs::SharedThreads, kvs::Unshared, kvs::GrowingIndex, "
                  "kvs::ChainIndex.");
    static_assert(count_of<Family::backup, Policies...> <= 1,
                  "kvs::Store: more than one backup policy. Keep one of kvs::AbBackup<Checksum>, kvs::NoBackup.");
    static_assert(count_of<Family::checksum, Policies...> <= 1,
                  "kvs::Store: more than one checksum policy. Keep one of kvs::Crc32c, kvs::Xxh3.");
    static_assert(count_of<Family::sharing, Policies...> <= 1,
                  "kvs::Store: more than one sharing policy. Keep one of kvs::SharedProcesses, kvs::SharedThreads, "
                  "kvs::Unshared.");
    static_assert(count_of<Family::index, Policies...> <= 1,
                  "kvs::Store: more than one index policy. Keep one of kvs::GrowingIndex, kvs::ChainIndex.");
    static_assert(count_of<Family::platform, Policies...> <= 1, "kvs::Store: more than one platform.");

    // Defaults follow from the backup policy: the seed format has no room for anything but itself.
    using Backup = Chosen<Family::backup, AbBackup<Chosen<Family::checksum, Crc32c>>>;
    static constexpr bool seed = std::is_same_v<Backup, NoBackup>;
    using Sharing = Chosen<Family::sharing, std::conditional_t<seed, SharedThreads, SharedProcesses>>;
    using Index = Chosen<Family::index, std::conditional_t<seed, ChainIndex, GrowingIndex>>;
    using Platform = Chosen<Family::platform, NativePlatform>;
    using Checksum = typename ChecksumOf<Backup>::type;

    static_assert(seed || FamilyOf<Checksum>::value == Family::checksum,
                  "kvs::AbBackup<Checksum>: not a checksum policy. Write kvs::AbBackup<kvs::Crc32c> or "
                  "kvs::AbBackup<kvs::Xxh3>.");
    static_assert(!(seed && count_of<Family::checksum, Policies...> != 0),
                  "kvs::Store: kvs::NoBackup keeps the seed's file, which has no place for a checksum. Leave the "
                  "checksum out, or write kvs::AbBackup<Checksum> in place of kvs::NoBackup.");
    static_assert(!(seed && std::is_same_v<Sharing, SharedProcesses>),
                  "kvs::Store: kvs::NoBackup keeps the seed's file, which has no area for several processes to share. "
                  "Write kvs::SharedThreads or kvs::Unshared, or leave kvs::NoBackup out.");
    static_assert(!(seed && std::is_same_v<Index, GrowingIndex>),
                  "kvs::Store: kvs::NoBackup keeps the seed's file, which has no room for a growing index. Write "
                  "kvs::ChainIndex, or leave kvs::NoBackup out.");
    static_assert(seed || std::is_same_v<Checksum, Chosen<Family::checksum, Checksum>>,
                  "kvs::Store: two different checksums. Name the checksum once: kvs::AbBackup<Checksum>, or the "
                  "checksum policy alone.");

    using type = PolicySet<Backup, Sharing, Index, Platform>;
};

/// True if values have a second copy.
template <class Policies>
inline constexpr bool has_pairs = !std::is_same_v<typename Policies::Backup, NoBackup>;

}  // namespace detail
}  // namespace kvs

#endif  // KVS_POLICIES_HPP
