// message: unknown policy. Write one of kvs::AbBackup
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<8>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::NoBackup, int>::key_length);
#endif
