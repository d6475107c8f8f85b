// message: more than one platform
#include <kvs/kvs.hpp>

struct One : kvs::detail::NativePlatform {};
struct Two : kvs::detail::NativePlatform {};

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<8>::key_length);
using T = kvs::Store<8, One>;
#else
using T = kvs::Store<8, One, Two>;
#endif
