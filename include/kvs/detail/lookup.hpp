// What an engine answers with.
#ifndef KVS_DETAIL_LOOKUP_HPP
#define KVS_DETAIL_LOOKUP_HPP

#include <cstdint>
#include <string>
#include <vector>

#include <kvs/detail/layout.hpp>

namespace kvs::detail {

/// The answer of a look-up. `failed` goes with a `Failure`.
enum class Presence : std::uint8_t { absent, present, failed };

/// A place in an iteration; only an engine looks inside.
struct Position {
    std::uint32_t bucket = 0;
    std::uint64_t record = 0;  ///< the last record visited in this bucket, 0 = none yet
    std::uint32_t clears = 0;  ///< the store's count of `clear` when that was noted
    std::uint64_t walked = 0;  ///< bytes of the records passed since then
};

/// One record copied out of a store.
struct Item {
    std::string key;
    layout::TypeCode code;
    std::vector<std::byte> field;  ///< all bytes of the value field
    bool is_older_copy = false;    ///< the newer one is damaged
    bool is_payload = false;       ///< no field, but the bytes of text or bytes and nothing else
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_LOOKUP_HPP
