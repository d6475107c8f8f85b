// message: kvs::Store::view: a store with kvs::NoBackup does not count its changes. Leave kvs::NoBackup
#include <kvs/kvs.hpp>

#ifdef KVS_COMPILE_FAIL
using Store = kvs::SeedStore<16>;
#else
using Store = kvs::Store<16>;
#endif

int use(const Store& store) {
    return store.view([](const auto& s) { return s.get_or("n", 0); });
}
