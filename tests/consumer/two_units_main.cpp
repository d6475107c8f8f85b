#include <cstdio>

#include "two_units.hpp"

int main() {
    const char* path = "two_units.akvs";
    std::remove(path);
    kvs::SeedStore<32> store = open_in_other_unit(path);
    store.set("k", 7);
    const bool good = read_in_other_unit(store) == 7 && fmt::format("{}", *store.value("k")) == "7";
    std::remove(path);
    return good ? 0 : 1;
}
