// The stores without a backup.
#include "contenders.hpp"
#include "kvs_store.hpp"

namespace kvs_bench {

void add_kvs_seed() {
    add_store<kvs::SeedStore<32>>("SeedStore");
    add_store<kvs::Store<32, kvs::NoBackup, kvs::Unshared>>("Unshared");
}

}  // namespace kvs_bench
