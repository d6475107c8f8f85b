// message: more than one backup policy. Keep one of
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<8>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::NoBackup, kvs::AbBackup<> >::key_length);
#endif
