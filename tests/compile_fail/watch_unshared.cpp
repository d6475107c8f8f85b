// message: kvs::Store::watch: callbacks come from another thread. Write kvs::SharedThreads or
#include <kvs/kvs.hpp>

#ifdef KVS_COMPILE_FAIL
using Store = kvs::Store<16, kvs::Unshared>;
#else
using Store = kvs::Store<16, kvs::SharedThreads>;
#endif

kvs::Watch use(Store& store) {
    return store.watch_all([](const kvs::Change&) {});
}
