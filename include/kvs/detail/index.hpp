// Going through the index, most of which is NUL in most files: an open that recovers, a look at everything and an
// iteration all do, and it is most of what they do in a small store.
#ifndef KVS_DETAIL_INDEX_HPP
#define KVS_DETAIL_INDEX_HPP

#include <cstdint>

#include <kvs/detail/layout.hpp>

namespace kvs::detail {

/// The first bucket from `bucket` on that has a record; `layout::bucket_count` if there is none. Where others write it
/// may have been emptied by the time it is looked at.
template <class Region>
std::uint32_t next_used_bucket(const Region& region, std::uint32_t bucket) noexcept {
    if (bucket >= layout::bucket_count) return layout::bucket_count;
    if (bucket % 2 != 0) {
        if (region.template load<layout::link_bytes>(layout::slot_offset(bucket)) != 0) return bucket;
        ++bucket;
    }
    const std::uint64_t both = region.find_nonzero(layout::slot_offset(bucket), layout::records_offset);
    if (both == layout::records_offset) return layout::bucket_count;
    bucket = static_cast<std::uint32_t>((both - layout::index_offset) / layout::link_bytes);
    return region.template load<layout::link_bytes>(both) != 0 ? bucket : bucket + 1;
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_INDEX_HPP
