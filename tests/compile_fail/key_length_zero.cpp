// message: key length of a store is 1 to 1024 bytes
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<1>::key_length);
#else
using S = decltype(kvs::SeedStore<0>::key_length);
#endif
