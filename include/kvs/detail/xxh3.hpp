// XXH3 with 64 bits, no seed and the default secret (Y. Collet, https://xxhash.com; the reference is xxHash 0.8), of
// which a slot's checksum is the lower half. The hash is defined over bytes, so words in memory order give the same one
// on every machine.
//
// xxHash is taken from the system where it is found, and compiled into the caller: nothing is to be linked. Before
// version 0.8.0 XXH3 was an experiment with other values, so such a header counts as none. KVS_NO_XXHASH does without.
#ifndef KVS_DETAIL_XXH3_HPP
#define KVS_DETAIL_XXH3_HPP

#include <cstddef>
#include <cstdint>

#if defined(__has_include) && !defined(KVS_NO_XXHASH)
#if __has_include(<xxhash.h>)
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>
#endif
#endif

#if !defined(KVS_NO_XXHASH) && defined(XXH_VERSION_NUMBER)
#define KVS_HAS_XXH3 (XXH_VERSION_NUMBER >= 800)
#else
#define KVS_HAS_XXH3 0
#endif

namespace kvs::detail {

#if KVS_HAS_XXH3

/// An XXH3 on its way: words in memory order go in, the checksum comes out. Most slots fit into the buffer and are
/// hashed at one go; the state that longer ones need is not touched until then. What is hashed is the buffer, never
/// mapped bytes: those are read once, as atomic words, whatever a writer does meanwhile.
class Xxh3State {
public:
    struct Quick {};
    Xxh3State() noexcept = default;
    explicit Xxh3State(Quick) noexcept {}
    static bool has_quick() noexcept { return true; }

    [[gnu::always_inline]] inline void add(std::uint64_t word) noexcept {
        if (count_ == buffered_words) [[unlikely]]
            empty_buffer();
        buffer_[count_++] = word;
    }

    std::uint32_t value() noexcept { return static_cast<std::uint32_t>(whole_value()); }

    std::uint64_t whole_value() noexcept {
        if (!is_long_) [[likely]]
            return ::XXH3_64bits(buffer_, 8 * count_);
        empty_buffer();
        return ::XXH3_64bits_digest(&long_);
    }

private:
    static constexpr std::size_t buffered_words = 128;

    [[gnu::noinline]] void empty_buffer() noexcept {
        if (!is_long_) ::XXH3_64bits_reset(&long_);  // which cannot fail, as an update of memory cannot
        is_long_ = true;
        ::XXH3_64bits_update(&long_, buffer_, 8 * count_);
        count_ = 0;
    }

    std::size_t count_ = 0;
    bool is_long_ = false;
    std::uint64_t buffer_[buffered_words];
    XXH3_state_t long_;
};

#else

/// Stands where the policy is named, until the store says what is missing.
class Xxh3State {
public:
    struct Quick {};
    Xxh3State() noexcept = default;
    explicit Xxh3State(Quick) noexcept {}
    static bool has_quick() noexcept { return false; }
    void add(std::uint64_t) noexcept {}
    static std::uint32_t value() noexcept { return 0; }
};

#endif

inline constexpr bool has_xxh3 = KVS_HAS_XXH3 != 0;

}  // namespace kvs::detail

#endif  // KVS_DETAIL_XXH3_HPP
