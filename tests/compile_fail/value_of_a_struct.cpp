// message: value of this type cannot be stored. Storable are bool
#include <kvs/kvs.hpp>

struct Point {
    int x, y;
};

#ifndef KVS_COMPILE_FAIL
void set(kvs::SeedStore<8>& s) { s.set("k", 1); }
#else
void set(kvs::SeedStore<8>& s) { s.set("k", Point{}); }
#endif
