// How much a random test does, and from which seed.
//
//   KVS_LONG=1     the long campaigns (./tests/run --long)
//   KVS_SHORT=1    short ones, for the second and third build of the same tests
//   KVS_SEED=n     replay: every random test starts from this seed
//
// Put INFO(campaign.replay()) into a random test: each failure then prints how to see it again.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace kvs_test {

inline bool is_set(const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && *value != '\0' && *value != '0';
}
inline bool is_long() { return is_set("KVS_LONG"); }
inline bool is_short() { return !is_long() && is_set("KVS_SHORT"); }

/// `quick` in a usual run, `thorough` in a long one; an eighth of `quick` with KVS_SHORT, for the second and third
/// build of the same tests.
inline std::uint64_t rounds(std::uint64_t quick, std::uint64_t thorough) {
    if (is_long()) return thorough;
    return is_short() ? quick / 8 + 1 : quick;
}

class Campaign {
public:
    explicit Campaign(std::uint64_t seed) : seed_(seed) {
        if (const char* value = std::getenv("KVS_SEED")) seed_ = std::strtoull(value, nullptr, 0);
        random_.seed(seed_);
    }

    std::mt19937_64& random() { return random_; }
    /// A number from 0 to `below` - 1.
    std::uint64_t pick(std::uint64_t below) { return random_() % below; }
    bool one_in(std::uint64_t n) { return pick(n) == 0; }

    std::string replay() const { return "replay with KVS_SEED=" + std::to_string(seed_); }

private:
    std::uint64_t seed_;
    std::mt19937_64 random_;
};

}  // namespace kvs_test
