// message: not part of this version. Write kvs::SeedStore
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<8>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::Xxh3>::key_length);
#endif
