#include <cstdio>
#include <kvs/kvs.hpp>

int main() {
    int unused_and_narrowing = 1.5;
    std::remove("game.akvs");
    kvs::SeedStore<32> prefs{"game.akvs"};
    prefs.set("lives", 3);
    return prefs.get_or("lives", 0) == 3 ? 0 : 1;
}
