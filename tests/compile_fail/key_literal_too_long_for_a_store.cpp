// message: key literal is longer than the store's key length
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
int volume(const kvs::SeedStore<8>& s) { return s.get_or("volume", 1); }
#else
int volume(const kvs::SeedStore<8>& s) { return s.get_or("the volume", 1); }
#endif
