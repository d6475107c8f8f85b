// Walking one bucket's chain of records, in a file that may hold anything.
//
// Every link is checked before it is followed: it must point behind the record it stands in (offsets only grow along a
// chain, so every walk ends) and to a record that ends below the live end (so nothing is read outside the file, and
// nothing in the index is taken for a record).
#ifndef KVS_DETAIL_CHAIN_HPP
#define KVS_DETAIL_CHAIN_HPP

#include <cstddef>
#include <cstdint>

#include <kvs/detail/layout.hpp>
#include <kvs/error.hpp>

namespace kvs::detail {

/// A position in a chain; all chains of one bucket have records of one size.
template <class Region>
class Chain {
public:
    Chain(const Region& region, std::size_t key_length, std::uint64_t live_end, std::uint32_t bucket,
          unsigned length) noexcept
        : region_(region),
          record_bytes_(layout::record_bytes(key_length, length)),
          live_end_(live_end),
          link_(layout::slot_offset(bucket)) {}

    /// Goes on from a record that this chain is known to hold.
    void continue_behind(std::uint64_t record) noexcept {
        lowest_ = record + record_bytes_;
        link_ = lowest_ - layout::link_bytes;
    }

    /// Moves to the next record; false at the end, and at a link that must not be followed.
    bool next() noexcept {
        const std::uint64_t target = region_.template load<4>(link_);
        if (target == 0) return false;
        if (target < lowest_ || target + record_bytes_ > live_end_) {
            damaged_ = true;
            target_ = target;
            return false;
        }
        record_ = target;
        continue_behind(target);
        return true;
    }

    /// The record that the last `next()` moved to.
    std::uint64_t record() const noexcept { return record_; }
    /// Where the link is that leads on from here: after the end was reached, the one to write for a new record.
    std::uint64_t link() const noexcept { return link_; }
    bool damaged() const noexcept { return damaged_; }

    /// What is wrong with the link at which the walk stopped.
    Failure failure() const noexcept {
        if (target_ < layout::records_offset)
            return {errc::corrupt, "a link points into the file's header or index",
                    Fact::of_offset(layout::records_offset), Fact::of_offset(target_)};
        if (target_ < lowest_)
            return {errc::corrupt, "a link points backwards", Fact::of_offset(lowest_), Fact::of_offset(target_)};
        return {errc::corrupt, "a link points beyond the end of the records",
                Fact::of_offset(live_end_ < record_bytes_ ? 0 : live_end_ - record_bytes_), Fact::of_offset(target_)};
    }

private:
    const Region& region_;
    std::uint64_t record_bytes_;
    std::uint64_t live_end_;
    std::uint64_t link_;
    std::uint64_t lowest_ = layout::records_offset;
    std::uint64_t record_ = 0;
    std::uint64_t target_ = 0;
    bool damaged_ = false;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_CHAIN_HPP
