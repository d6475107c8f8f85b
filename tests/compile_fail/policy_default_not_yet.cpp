// message: not part of this version. Write kvs::SeedStore
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
kvs::SeedStore<8> s{"f"};
#else
kvs::Store<8> s{"f"};
#endif
