// message: not a checksum policy. Write kvs::AbBackup<kvs::Crc32c>
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<8>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::AbBackup<int> >::key_length);
#endif
