#include "model.hpp"

#ifdef KVS_TEST_FEWER_TYPES
#define KVS_MODELLED (7, kvs::Unshared), (32, kvs::SharedThreads)
#else
#define KVS_MODELLED                                                                                  \
    (1, kvs::SharedThreads), (7, kvs::Unshared), (8, kvs::SharedProcesses), (32, kvs::SharedThreads), \
        (97, kvs::SharedProcesses), (1024, kvs::Unshared)
#endif

TEMPLATE_TEST_CASE_SIG("a store of pairs answers as a map does", "[model]",
                       ((std::size_t N, typename Sharing), N, Sharing), KVS_MODELLED) {
    kvs_test::model::run_models<N, Sharing, kvs::AbBackup<>>(30261 + N);
}
