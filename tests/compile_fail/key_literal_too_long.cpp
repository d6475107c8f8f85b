// message: key literal is longer than the store's key length
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
kvs::Key<8> key{"12345678"};
#else
kvs::Key<8> key{"123456789"};
#endif
