// message: has no second copies
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
void f(kvs::Store<8>& s) {
#else
void f(kvs::SeedStore<8>& s) {
#endif
    s.repair();
}
