// What a checksum policy is to a store of pairs: a state, a number in the superblock, a name in messages.
//
// The state takes the words that a slot's checksum covers, one after the other and in memory order, by `add`; `value`
// gives the 32 bits and ends it. `has_quick` is false where the machine lacks what the short way of a look-up needs.
//
// Record checks and superblocks have CRC-32C whatever the policy: they are read before anybody knows it.
#ifndef KVS_DETAIL_SLOT_CHECKSUM_HPP
#define KVS_DETAIL_SLOT_CHECKSUM_HPP

#include <kvs/detail/crc.hpp>
#include <kvs/detail/pair_layout.hpp>
#include <kvs/detail/xxh3.hpp>
#include <kvs/policies.hpp>

namespace kvs::detail {

template <class Policy>
struct SlotChecksum;

template <>
struct SlotChecksum<Crc32c> {
    using State = Crc32cState;
    static constexpr unsigned id = pair_layout::checksum_crc32c;
    static constexpr const char* name = "kvs::Crc32c";
    static constexpr bool is_available = true;
};

template <>
struct SlotChecksum<Xxh3> {
    using State = Xxh3State;
    static constexpr unsigned id = pair_layout::checksum_xxh3;
    static constexpr const char* name = "kvs::Xxh3";
    static constexpr bool is_available = has_xxh3;
};

/// The name of the policy that a file was made with.
constexpr const char* checksum_name(unsigned id) noexcept {
    if (id == SlotChecksum<Crc32c>::id) return SlotChecksum<Crc32c>::name;
    if (id == SlotChecksum<Xxh3>::id) return SlotChecksum<Xxh3>::name;
    return "an unknown one";
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_SLOT_CHECKSUM_HPP
