// message: kvs::Store::wait_for_change: leave kvs::NoBackup out
#include <kvs/kvs.hpp>

#include <chrono>

#ifdef KVS_COMPILE_FAIL
using Store = kvs::SeedStore<16>;
#else
using Store = kvs::Store<16>;
#endif

std::uint64_t use(const Store& store) { return store.wait_for_change(0, std::chrono::seconds(1)); }
