// message: a_key_literal_holds_a_nul_byte
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
int get(const kvs::SeedStore<8>& s) { return s.get_or("ab", 1); }
#else
int get(const kvs::SeedStore<8>& s) { return s.get_or("a\0b", 1); }
#endif
