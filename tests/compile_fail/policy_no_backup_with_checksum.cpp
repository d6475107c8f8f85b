// message: has no place for a checksum. Leave the checksum out
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
using S = decltype(kvs::SeedStore<8>::key_length);
#else
using S = decltype(kvs::Store<8, kvs::NoBackup, kvs::Crc32c>::key_length);
#endif
