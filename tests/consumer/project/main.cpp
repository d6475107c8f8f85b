#include <cstdio>
#include <kvs/kvs.hpp>

#ifdef GAME_HAS_FMT
#include <kvs/format.hpp>
#endif
#ifdef GAME_HAS_XXHASH
#include <only_in_the_package.h>
#endif

/// True if a store keeps what it is given.
template <class Store>
bool keeps(const char* file) {
    std::remove(file);
    {
        Store prefs{file};
        prefs.set("lives", 3);
    }
    const Store prefs{file};
#ifdef GAME_HAS_FMT
    if (fmt::format("{}", *prefs.value("lives")) != "3") return false;
#endif
    return prefs.get_or("lives", 0) == 3;
}

int main() {
    int unused_and_narrowing = 1.5;
    return keeps<kvs::Store<32>>("game.akvs") && keeps<kvs::SeedStore<32>>("seed.akvs") ? 0 : 1;
}
