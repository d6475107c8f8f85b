// message: needs the header xxhash.h of xxHash 0.8 or later, which is not found. Install it .Debian: libxxhash-dev
#define KVS_NO_XXHASH  // as if it were not there
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::Store<8, kvs::Crc32c>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::Xxh3>::key_length);
#endif
