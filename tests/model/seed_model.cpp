#include "model.hpp"

TEMPLATE_TEST_CASE_SIG("a seed store answers as a map does", "[model]", ((std::size_t N, typename Sharing), N, Sharing),
                       (1, kvs::SharedThreads), (1, kvs::Unshared), (7, kvs::SharedThreads), (7, kvs::Unshared),
                       (8, kvs::SharedThreads), (8, kvs::Unshared), (32, kvs::SharedThreads), (32, kvs::Unshared),
                       (97, kvs::SharedThreads), (97, kvs::Unshared), (1024, kvs::SharedThreads),
                       (1024, kvs::Unshared)) {
    static_assert(std::is_same_v<kvs::Store<N, kvs::NoBackup, kvs::SharedThreads>, kvs::SeedStore<N>>);
    kvs_test::model::run_models<N, Sharing, kvs::NoBackup>(
        20261 + 2 * N + (std::is_same_v<Sharing, kvs::SharedThreads> ? 1 : 0));
}
