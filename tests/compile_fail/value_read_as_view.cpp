// message: cannot be read as a type that only points to it. Read std::string
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
void set(kvs::SeedStore<8>& s) { s.set("k", 1); }
#else
auto get(const kvs::SeedStore<8>& s) { return s.get<std::string_view>("k"); }
#endif
