// Going through the index, against a look at each of its slots.
#include <kvs/detail/index.hpp>
#include <kvs/detail/platform.hpp>
#include <kvs/detail/region.hpp>

#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"

namespace {

namespace layout = kvs::detail::layout;

/// The buckets that a walk meets, in order.
template <class Memory>
std::vector<std::uint32_t> walk(std::vector<std::byte>& file) {
    const kvs::detail::MappedBytes<kvs::detail::NativePlatform, Memory> region(file.data());
    std::vector<std::uint32_t> met;
    for (std::uint32_t bucket = next_used_bucket(region, 0); bucket < layout::bucket_count;
         bucket = next_used_bucket(region, bucket + 1))
        met.push_back(bucket);
    return met;
}

}  // namespace

TEMPLATE_TEST_CASE("a walk over the index meets every bucket with a record, and no other", "[index]",
                   kvs::detail::AtomicMemory, kvs::detail::PlainMemory) {
    kvs_test::Campaign campaign(20271);
    INFO(campaign.replay());
    std::mt19937_64& random = campaign.random();
    const auto check = [&](const std::set<std::uint32_t>& used) {
        // Around the index nothing is NUL: neither the header nor what lies behind counts as a bucket.
        std::vector<std::byte> file(layout::records_offset + 64, std::byte{0xff});
        for (std::uint64_t at = layout::index_offset; at < layout::records_offset; ++at) file[at] = std::byte{};
        for (const std::uint32_t bucket : used)  // any one of the four bytes
            file[layout::slot_offset(bucket) + random() % 4] = static_cast<std::byte>(1 + random() % 255);
        CHECK(walk<TestType>(file) == std::vector<std::uint32_t>(used.begin(), used.end()));
    };
    check({});
    for (const std::uint32_t bucket : {0u, 1u, 2u, 14u, 15u, 16u, 17u, 4095u, 4096u, 65519u, 65520u, 65534u, 65535u})
        check({bucket});
    std::set<std::uint32_t> all;
    for (std::uint32_t bucket = 0; bucket < layout::bucket_count; ++bucket) all.insert(all.end(), bucket);
    check(all);
    // Slots that are all the same are not taken for NULs because they are.
    std::vector<std::byte> alike(layout::records_offset + 64, std::byte{0xff});
    CHECK(walk<TestType>(alike) == std::vector<std::uint32_t>(all.begin(), all.end()));
    for (std::uint64_t round = kvs_test::rounds(64, 2000); round != 0; --round) {
        std::set<std::uint32_t> some;
        for (std::uint64_t n = random() % (std::uint64_t{1} << random() % 16); n != 0; --n)
            some.insert(static_cast<std::uint32_t>(random() % layout::bucket_count));
        check(some);
    }
}
