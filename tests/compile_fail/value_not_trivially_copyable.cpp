// message: only a trivially copyable type can be stored as its bytes
#include <kvs/kvs.hpp>

struct Name {
    std::string text;
};
template <>
inline constexpr bool kvs::enable_bytes<Name> = true;

#ifndef KVS_COMPILE_FAIL
void set(kvs::SeedStore<8>& s) { s.set("k", 1); }
#else
void set(kvs::SeedStore<8>& s) { s.set("k", Name{}); }
#endif
