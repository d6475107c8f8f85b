#include "workload.hpp"

#include <iterator>
#include <random>
#include <string_view>
#include <utility>

#include "literals.hpp"

namespace kvs_bench {

namespace {

#define KVS_BENCH_LIST(key) key,
constexpr std::string_view literals[] = {KVS_BENCH_FOR_EACH_KEY(KVS_BENCH_LIST)};
#undef KVS_BENCH_LIST

static_assert(std::size(literals) == key_count);
static_assert([] {
    for (const std::string_view key : literals)
        if (key.size() != key_bytes) return false;
    return true;
}());

/// Fisher and Yates; `std::shuffle` orders differently with each standard library.
template <class T>
void shuffle(std::vector<T>& items, std::mt19937_64& random) {
    for (std::size_t left = items.size(); left > 1; --left) std::swap(items[left - 1], items[random() % left]);
}

Workload make_workload() {
    Workload work;
    std::mt19937_64 random(20240229);
    for (const std::string_view key : literals) {
        work.literals.emplace_back(key);
        work.inserted.push_back({std::string(key), random()});
        work.sum += work.inserted.back().value;
    }
    shuffle(work.inserted, random);
    for (const Pair& pair : work.inserted) work.used.push_back(pair.key);
    shuffle(work.used, random);
    return work;
}

}  // namespace

const Workload& workload() {
    static const Workload work = make_workload();
    return work;
}

}  // namespace kvs_bench
