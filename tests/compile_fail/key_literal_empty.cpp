// message: a key has at least one byte
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
kvs::Key<8> key{"k"};
#else
kvs::Key<8> key{""};
#endif
