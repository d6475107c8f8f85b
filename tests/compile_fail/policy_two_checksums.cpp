// message: two different checksums. Name the checksum once
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<8>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::AbBackup<kvs::Xxh3>, kvs::Crc32c>::key_length);
#endif
