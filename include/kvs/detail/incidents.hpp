// What happened to this process that a handle of a store has to know, in one word: so that a look-up looks once.
#ifndef KVS_DETAIL_INCIDENTS_HPP
#define KVS_DETAIL_INCIDENTS_HPP

#include <atomic>

namespace kvs::detail {

class Incidents {
public:
    static unsigned all() noexcept { return word_.load(std::memory_order_relaxed); }

    /// How often this process came out of a fork as the child.
    static unsigned forks() noexcept { return all() & ~lost_page; }
    static void add_fork() noexcept { word_.fetch_add(1); }

    /// True once any mapping lost a page (lost_pages.hpp).
    static bool has_lost_pages() noexcept { return (all() & lost_page) != 0; }
    static void note_lost_page() noexcept { word_.fetch_or(lost_page); }

private:
    static constexpr unsigned lost_page = ~(~0u >> 1);
    static inline std::atomic<unsigned> word_{0};
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_INCIDENTS_HPP
