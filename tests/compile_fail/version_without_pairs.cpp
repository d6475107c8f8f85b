// message: kvs::Store::version: leave kvs::NoBackup out
#include <kvs/kvs.hpp>

#ifdef KVS_COMPILE_FAIL
using Store = kvs::SeedStore<16>;
#else
using Store = kvs::Store<16>;
#endif

std::uint64_t use(const Store& store) { return store.version(); }
