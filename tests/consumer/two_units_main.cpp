#include <cstdio>

#include "two_units.hpp"

namespace {

/// True if one unit reads what the other has opened, and the other what the one has set.
template <class Store>
bool works_in_both(Store (*open_in_other_unit)(const char*)) {
    const char* path = "two_units.akvs";
    std::remove(path);
    Store store = open_in_other_unit(path);
    store.set("k", 7);
    const bool good = read_in_other_unit(store) == 7 && fmt::format("{}", *store.value("k")) == "7";
    std::remove(path);
    return good;
}

}  // namespace

int main() { return works_in_both(open_pairs_in_other_unit) && works_in_both(open_seed_in_other_unit) ? 0 : 1; }
