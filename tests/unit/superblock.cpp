// The pages of the superblock while they are written.
#include <kvs/detail/superblock.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "../catch.hpp"

namespace {

namespace pair_layout = kvs::detail::pair_layout;
using kvs::detail::Superblock;

/// As much of a `Region` as superblocks need, in memory; `behind_store` is called behind each store.
class Pages {
public:
    template <unsigned Bytes>
    std::uint64_t load(std::uint64_t offset) const {
        return kvs::detail::load_big_endian<Bytes>(at(offset));
    }
    template <unsigned Bytes>
    void publish(std::uint64_t offset, std::uint64_t value) {
        kvs::detail::store_big_endian<Bytes>(const_cast<std::byte*>(at(offset)), value);
        if (behind_store) behind_store();
    }
    std::function<void()> behind_store;

private:
    const std::byte* at(std::uint64_t offset) const {
        return bytes_.data() + (offset - pair_layout::superblocks_offset);
    }
    std::vector<std::byte> bytes_ = std::vector<std::byte>(5 * pair_layout::page_bytes);
};

/// A number whose bytes in a file are the generator polynomial of CRC-32C: exclusive or'ed to what a CRC-32C covers, it
/// leaves the checksum as it is.
constexpr std::uint64_t unseen_difference() {
    constexpr std::uint64_t polynomial = 0x11edc6f41;  // its 33 coefficients, that of x^32 first
    std::uint64_t number = 0;
    for (unsigned i = 0; i <= 32; ++i)  // the first bit of the message is the lowest one of its first byte
        if ((polynomial >> (32 - i) & 1) != 0) number |= std::uint64_t{1} << (8 * (7 - i / 8) + i % 8);
    return number;
}

}  // namespace

TEST_CASE("a page of the superblock is at no moment a mixture, even of words whose checksum is the same",
          "[pairs][superblock]") {
    // A deliberate bug had survived all tests: the checksum was not voided before the fields were written. A mixture of
    // old and new fields has the old checksum once in 2^32; here it has, so that it is seen if it ever counts.
    Superblock before;
    before.generation = 5;
    before.place.boot[0] = 0x0123456789abcdef;
    before.lone_content = 1;
    Superblock after = before;
    after.place.boot[0] ^= unseen_difference();
    after.lone_content = 2;
    const auto mixture = [&] {
        Superblock mixed = before;
        mixed.place.boot[0] = after.place.boot[0];
        return mixed;
    };
    kvs::detail::SuperblockWords words_before, words_mixed;
    encode(before, words_before);
    encode(mixture(), words_mixed);
    REQUIRE(kvs::detail::superblock_checksum(words_mixed) == kvs::detail::superblock_checksum(words_before));

    Pages pages;
    kvs::detail::Superblocks<Pages> superblocks(pages);
    superblocks.write(0, before);
    int stores = 0, whole = 0;
    pages.behind_store = [&] {
        ++stores;
        for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin) {
            Superblock found;
            if (!superblocks.read_page(pages, pair_layout::superblock_offset(0, twin), found)) continue;
            ++whole;
            const bool is_new = found.place.boot[0] == after.place.boot[0];
            CHECK(found.lone_content == (is_new ? after : before).lone_content);
        }
    };
    superblocks.write(0, after);
    CHECK(stores > 2 * static_cast<int>(pair_layout::superblock::words));
    CHECK(whole > stores / 2);  // one twin is whole while the other one is written
}

TEST_CASE("a sync that a power cut undid does not come to life by one word of the next one", "[pairs][superblock]") {
    // A power cut left both pages of a copy without one word, here the number of keys. The next sync stores that same
    // number, among others, and the power fails again: where only that word got to the device, the pages would be what
    // the undone sync had written, newer than the copy that counts.
    Superblock counting, undone, next;
    counting.generation = 5;
    undone.generation = 9;
    undone.keys = next.keys = 7;
    next.generation = 14;
    const std::uint64_t keys = pair_layout::superblock::offset_of(pair_layout::superblock::keys);

    Pages pages;
    kvs::detail::Superblocks<Pages> superblocks(pages);
    superblocks.write(0, counting);
    superblocks.write(1, undone);
    for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin)
        pages.publish<8>(pair_layout::superblock_offset(1, twin) + keys, 0);
    Superblock found;
    REQUIRE_FALSE(superblocks.read(1, found));

    superblocks.mend(true);  // and a flush
    unsigned copy = 1;
    for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin) {
        Pages device = pages;
        device.publish<8>(pair_layout::superblock_offset(1, twin) + keys, next.keys);
        REQUIRE(kvs::detail::Superblocks<Pages>(device).read_counting(found, copy));
        CHECK(copy == 0);
        CHECK(found.generation == counting.generation);
    }
    superblocks.write(1, next);
    REQUIRE(superblocks.read_counting(found, copy));
    CHECK(found.generation == next.generation);
}
