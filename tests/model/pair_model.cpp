#include "model.hpp"

#ifdef KVS_TEST_FEWER_TYPES
#define KVS_MODELLED (7, kvs::Unshared, kvs::Crc32c), (32, kvs::SharedThreads, kvs::Crc32c)
#else
#define KVS_MODELLED                                                                                               \
    (1, kvs::SharedThreads, kvs::Crc32c), (7, kvs::Unshared, kvs::Crc32c), (8, kvs::SharedProcesses, kvs::Crc32c), \
        (32, kvs::SharedThreads, kvs::Crc32c), (97, kvs::SharedProcesses, kvs::Crc32c),                            \
        (1024, kvs::Unshared, kvs::Crc32c), (31, kvs::SharedProcesses, kvs::Xxh3), (1024, kvs::Unshared, kvs::Xxh3)
#endif

TEMPLATE_TEST_CASE_SIG("a store of pairs answers as a map does", "[model]",
                       ((std::size_t N, typename Sharing, typename Checksum), N, Sharing, Checksum), KVS_MODELLED) {
    kvs_test::model::run_models<N, Sharing, kvs::AbBackup<Checksum>>(30261 + N);
}
