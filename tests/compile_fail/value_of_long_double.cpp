// message: value of this type cannot be stored
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
void set(kvs::SeedStore<8>& s) { s.set("k", 1); }
#else
void set(kvs::SeedStore<8>& s) { s.set("k", 1.0L); }
#endif
