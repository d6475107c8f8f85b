#include "model.hpp"

// Each of them takes ten seconds to compile with AddressSanitizer, where the presets ask for fewer.
#ifdef KVS_TEST_FEWER_TYPES
#define KVS_MODELLED (1, kvs::Unshared), (32, kvs::SharedThreads), (97, kvs::Unshared)
#else
#define KVS_MODELLED                                                                                                   \
    (1, kvs::SharedThreads), (1, kvs::Unshared), (7, kvs::SharedThreads), (7, kvs::Unshared), (8, kvs::SharedThreads), \
        (8, kvs::Unshared), (32, kvs::SharedThreads), (32, kvs::Unshared), (97, kvs::SharedThreads),                   \
        (97, kvs::Unshared), (1024, kvs::SharedThreads), (1024, kvs::Unshared)
#endif

TEMPLATE_TEST_CASE_SIG("a seed store answers as a map does", "[model]", ((std::size_t N, typename Sharing), N, Sharing),
                       KVS_MODELLED) {
    static_assert(std::is_same_v<kvs::Store<N, kvs::NoBackup, kvs::SharedThreads>, kvs::SeedStore<N>>);
    kvs_test::model::run_models<N, Sharing, kvs::NoBackup>(20261 + 2 * N +
                                                           (std::is_same_v<Sharing, kvs::SharedThreads> ? 1 : 0));
}
