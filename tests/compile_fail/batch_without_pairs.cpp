// message: changes its file in place, one value at a time
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
void f(kvs::Store<8>& s) {
#else
void f(kvs::SeedStore<8>& s) {
#endif
    s.batch([](auto& b) { b.set("x", 1); });
}
