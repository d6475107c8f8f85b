// message: not part of this version. Write kvs::Crc32c
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::Store<8, kvs::Crc32c>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::Xxh3>::key_length);
#endif
