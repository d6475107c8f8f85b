// Walking one bucket's chain of paired records, in a file that may hold anything.
//
// A link is followed only if it points behind the record it stands in (so every walk ends), to a place where a record
// can begin, to one that ends below the live end, and if the check in front of that record was made for this link.
#ifndef KVS_DETAIL_PAIR_CHAIN_HPP
#define KVS_DETAIL_PAIR_CHAIN_HPP

#include <cstddef>
#include <cstdint>

#include <kvs/detail/pair_layout.hpp>
#include <kvs/error.hpp>

namespace kvs::detail {

template <class Region>
class PairChain {
public:
    PairChain(const Region& region, std::size_t key_length, std::uint64_t live_end, std::uint32_t bucket,
              unsigned length) noexcept
        : region_(region),
          key_length_(key_length),
          live_end_(live_end),
          link_(layout::slot_offset(bucket)),
          bucket_(bucket),
          length_(length) {}

    /// Goes on from a record that this chain is known to hold.
    void continue_behind(std::uint64_t record) noexcept {
        lowest_ = record + pair_layout::record_bytes(key_length_, length_) + pair_layout::check_bytes;
        link_ = record + pair_layout::link_offset(key_length_, length_);
    }

    /// Moves to the next record; false at the end, and at a link that must not be followed.
    bool next() noexcept {
        target_ = region_.template load<layout::link_bytes>(link_);
        if (target_ == 0) return false;
        if (!may_be_record() || !is_checked()) {
            damaged_ = true;
            return false;
        }
        record_ = target_;
        continue_behind(record_);
        return true;
    }

    /// The record that the last `next()` moved to.
    std::uint64_t record() const noexcept { return record_; }
    /// Where the link is that leads on from here: after the end was reached, the one to write for a new record.
    std::uint64_t link() const noexcept { return link_; }
    bool damaged() const noexcept { return damaged_; }
    /// What the link held at which the walk stopped.
    std::uint64_t target() const noexcept { return target_; }

    /// What is wrong with the link at which the walk stopped.
    Failure failure() const noexcept {
        if (target_ < lowest_)
            return {errc::corrupt, "a link points backwards, or in front of the records", Fact::of_offset(lowest_),
                    Fact::of_offset(target_)};
        const std::uint64_t bytes = pair_layout::record_bytes(key_length_, length_);
        if (target_ + bytes > live_end_)
            return {errc::corrupt, "a link points beyond the end of the records",
                    Fact::of_offset(live_end_ < bytes ? 0 : live_end_ - bytes), Fact::of_offset(target_)};
        return {errc::corrupt, "a link points to where no record of this chain is",
                Fact::of_text("a record with the check of this link"), Fact::of_offset(target_)};
    }

private:
    bool may_be_record() const noexcept {
        return target_ >= lowest_ && target_ + pair_layout::record_bytes(key_length_, length_) <= live_end_ &&
               pair_layout::is_record_offset(target_, key_length_);
    }
    bool is_checked() const noexcept {
        return region_.template load<4>(target_ - pair_layout::check_bytes) ==
               pair_layout::record_check(link_, target_, bucket_, length_);
    }

    const Region& region_;
    std::size_t key_length_;
    std::uint64_t live_end_;
    std::uint64_t link_;
    std::uint64_t lowest_ = pair_layout::records_offset + pair_layout::check_bytes;
    std::uint64_t record_ = 0;
    std::uint64_t target_ = 0;
    std::uint32_t bucket_;
    unsigned length_;
    bool damaged_ = false;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_CHAIN_HPP
