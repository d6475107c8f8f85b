// The stores of pairs.
#include <random>

#include "contenders.hpp"
#include "kvs_store.hpp"

namespace kvs_bench {

namespace {

/// Whose values were all set again behind a sync: each has two slots, and nobody can tell which is the newer one.
template <class Store>
class Changed : public Kvs<Store> {
public:
    using Kvs<Store>::Kvs;

    void load(const std::vector<Pair>& pairs) {
        Kvs<Store>::load(pairs);
        this->store().sync();
        Kvs<Store>::load(pairs);
        this->store().sync();
        std::minstd_rand random;
        for (const auto& [key, value] : pairs)
            if (random() / 2 % 2 == 0) this->set(key, value);
    }
};

}  // namespace

void add_kvs_pairs() {
    add_store<kvs::Store<32>>("Store");
    add_gets<Changed<kvs::Store<32>>>("Changed");
}

}  // namespace kvs_bench
