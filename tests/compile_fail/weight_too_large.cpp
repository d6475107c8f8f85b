// message: a_weight_is_a_power_of_two_from_1_to_32768
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
constexpr kvs::Weights w{1, 1, 1, 1, 1, 1, 1, 16384};
#else
constexpr kvs::Weights w{1, 1, 1, 1, 1, 1, 1, 65536};
#endif
