#include "two_units.hpp"

Pairs open_pairs_in_other_unit(const char* path) { return Pairs{path}; }
Seed open_seed_in_other_unit(const char* path) { return Seed{path}; }
int read_in_other_unit(const Pairs& store) { return store.get_or("k", 0); }
int read_in_other_unit(const Seed& store) { return store.get_or("k", 0); }
