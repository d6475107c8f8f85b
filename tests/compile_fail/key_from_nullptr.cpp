// message: deleted
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
bool b(const kvs::SeedStore<8>& s) { return s.contains("k"); }
#else
bool b(const kvs::SeedStore<8>& s) { return s.contains(nullptr); }
#endif
