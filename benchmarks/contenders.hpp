// Each contender registers its benchmarks. Their names are `operation/contender`; ratios.cpp compares them by these.
#pragma once

namespace kvs_bench {

void add_kvs_seed();
void add_kvs_pairs();
void add_unordered_map();
void add_lmdb();
void add_sqlite();

/// Apart from them: measures durable writes and prints how they compare.
void compare_durable(bool quick);

/// Measures what sharing costs and prints it; see sharing.cpp.
void compare_sharing(bool quick);

}  // namespace kvs_bench
