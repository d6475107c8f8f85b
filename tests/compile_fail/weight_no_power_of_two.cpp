// message: a_weight_is_a_power_of_two_from_1_to_32768
#include <kvs/kvs.hpp>

#ifndef KVS_COMPILE_FAIL
constexpr kvs::Weights w{1, 2, 4, 8, 16, 64, 512, 32768};
#else
constexpr kvs::Weights w{1, 2, 4, 8, 16, 64, 500, 32768};
#endif
