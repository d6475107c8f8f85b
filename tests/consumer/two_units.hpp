// What the two translation units share: every header, so that a function that is not inline is defined twice.
#pragma once

#include <every_header.hpp>

kvs::SeedStore<32> open_in_other_unit(const char* path);
int read_in_other_unit(const kvs::SeedStore<32>& store);
