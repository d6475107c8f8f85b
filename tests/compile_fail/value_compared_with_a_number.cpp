// message: deleted
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
void set(kvs::SeedStore<8>& s) { s.set("k", 1); }
#else
bool same(const kvs::SeedStore<8>& s) { return *s.value("k") == 5; }
#endif
