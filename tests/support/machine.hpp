// A machine that a test starts anew, whose flushes fail when the test says so, and processes that die on it.
#pragma once

#include <kvs/kvs.hpp>

#include <cstdint>
#include <string>

#include "../catch.hpp"
#include "child.hpp"

namespace kvs_test {

struct Machine : kvs::detail::NativePlatform {
    static inline std::uint64_t boot = 1;
    static inline int flush_error = 0;
    static int boot_id(std::uint64_t (&id)[2]) noexcept {
        id[0] = boot;
        id[1] = 7;
        return 0;
    }
    static int flush(File file) noexcept {
        return flush_error != 0 ? flush_error : kvs::detail::NativePlatform::flush(file);
    }
};

/// Runs `use` on a store in a child, which then dies without closing it.
template <class Store, class Use>
void die_after(const std::string& path, Use use) {
    const std::string problem = in_child([&] {
        auto* store = new Store(path, kvs::Options{.sync = kvs::sync_manual});
        use(*store);
        return std::string();
    });
    REQUIRE(problem == "");
}

}  // namespace kvs_test
