// The library itself, with literals as keys, with keys made before, and with strings like everybody else. What it is
// measured with is a thousand calls for each kind of store, which take long to compile: a file for the stores of pairs,
// and one for the others.
#pragma once

#include <kvs/kvs.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

#include "literals.hpp"
#include "measure.hpp"

namespace kvs_bench {

template <class Store>
class Kvs {
public:
    explicit Kvs(const std::filesystem::path& dir)
        : store_(dir / "store.akvs", {.mode = kvs::Mode::create_new, .sync = kvs::sync_manual}) {}

    void load(const std::vector<Pair>& pairs) {
        for (const auto& [key, value] : pairs) store_.set(key, value);
    }
    void set(const std::string& key, std::uint64_t value) { store_.set(key, value); }

    class Reader {
    public:
        explicit Reader(const Kvs& kvs) : store_(kvs.store_) {}
        bool get(const std::string& key, std::uint64_t& value) const {
            const auto found = store_.template get<std::uint64_t>(key);
            if (found) value = *found;
            return found.has_value();
        }
        const Store& store() const { return store_; }

    private:
        const Store& store_;
    };

    Store& store() { return store_; }

private:
    Store store_;
};

// 1,000 calls that stand one after the other, not a loop: each literal is a constant in the code. That is more code
// than the processor keeps at hand, so these figures include fetching it; a loop over strings has no such cost.

template <class Reader>
std::uint64_t sum_by_literal(Reader& reader) {
    const auto& store = reader.store();
    std::uint64_t sum = 0;
#define KVS_BENCH_READ(key) \
    if (const auto value = store.template get<std::uint64_t>(key)) sum += *value;
    KVS_BENCH_FOR_EACH_KEY(KVS_BENCH_READ)
#undef KVS_BENCH_READ
    return sum;
}

template <class Contender>
void set_by_literal(Contender& contender, std::uint64_t value) {
    auto& store = contender.store();
#define KVS_BENCH_WRITE(key) store.set(key, value++);
    KVS_BENCH_FOR_EACH_KEY(KVS_BENCH_WRITE)
#undef KVS_BENCH_WRITE
}

/// The keys in the order of use, made once.
template <class Key>
const std::vector<Key>& kept_keys() {
    static const std::vector<Key> keys(workload().used.begin(), workload().used.end());
    return keys;
}

template <class Reader>
std::uint64_t sum_by_kept_key(Reader& reader) {
    const auto& store = reader.store();
    std::uint64_t sum = 0;
    for (const auto& key : kept_keys<typename std::decay_t<decltype(store)>::key_type>())
        if (const auto value = store.template get<std::uint64_t>(key)) sum += *value;
    return sum;
}

template <class Contender>
void add_gets(const std::string& name) {
    using Reader = typename Contender::Reader;
    add_get<Contender, Reader>("get_literal/" + name, sum_by_literal<Reader>);
    add_get<Contender, Reader>("get_kept_key/" + name, sum_by_kept_key<Reader>);
    add_get<Contender>("get_string/" + name);
}

template <class Store>
void add_store(const std::string& name) {
    using Contender = Kvs<Store>;
    add_gets<Contender>(name);
    add_set<Contender>("set_literal/" + name, workload().literals, set_by_literal<Contender>);
    add_set<Contender>("set_string/" + name);
    add_load<Contender>("load/" + name, load_one_by_one<Contender>);
}

}  // namespace kvs_bench
