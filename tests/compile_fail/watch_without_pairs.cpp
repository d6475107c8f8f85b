// message: kvs::Store::watch: a store with kvs::NoBackup does not count its changes. Leave kvs::NoBackup
#include <kvs/kvs.hpp>

#ifdef KVS_COMPILE_FAIL
using Store = kvs::SeedStore<16>;
#else
using Store = kvs::Store<16>;
#endif

kvs::Watch use(Store& store) {
    return store.watch("n", [](const kvs::Change&) {});
}
