// What the two translation units share: every header, so that a function that is not inline is defined twice.
#pragma once

#include <every_header.hpp>

/// Both kinds of store are used in both units: much of them is compiled only where it is.
using Pairs = kvs::Store<32>;
using Seed = kvs::SeedStore<32>;

Pairs open_pairs_in_other_unit(const char* path);
Seed open_seed_in_other_unit(const char* path);
int read_in_other_unit(const Pairs& store);
int read_in_other_unit(const Seed& store);
