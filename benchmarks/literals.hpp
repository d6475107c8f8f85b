// The keys of the workload as string literals, so that a program can write `get("...")` for each of them.
//
// KVS_BENCH_FOR_EACH_KEY(USE) expands to USE("device.333.temperature") and so on for all 1,000, digits out of order.
#pragma once

#define KVS_BENCH_KEY(a, b, c) "device." #a #b #c ".temperature"

// Three levels of the same, because a macro does not expand within itself.
// clang-format off
#define KVS_BENCH_TEN(USE, a, b) \
    USE(KVS_BENCH_KEY(a, b, 3)) USE(KVS_BENCH_KEY(a, b, 0)) USE(KVS_BENCH_KEY(a, b, 7)) USE(KVS_BENCH_KEY(a, b, 9)) \
    USE(KVS_BENCH_KEY(a, b, 1)) USE(KVS_BENCH_KEY(a, b, 5)) USE(KVS_BENCH_KEY(a, b, 8)) USE(KVS_BENCH_KEY(a, b, 2)) \
    USE(KVS_BENCH_KEY(a, b, 6)) USE(KVS_BENCH_KEY(a, b, 4))

#define KVS_BENCH_HUNDRED(USE, a) \
    KVS_BENCH_TEN(USE, a, 3) KVS_BENCH_TEN(USE, a, 0) KVS_BENCH_TEN(USE, a, 7) KVS_BENCH_TEN(USE, a, 9) \
    KVS_BENCH_TEN(USE, a, 1) KVS_BENCH_TEN(USE, a, 5) KVS_BENCH_TEN(USE, a, 8) KVS_BENCH_TEN(USE, a, 2) \
    KVS_BENCH_TEN(USE, a, 6) KVS_BENCH_TEN(USE, a, 4)

#define KVS_BENCH_FOR_EACH_KEY(USE) \
    KVS_BENCH_HUNDRED(USE, 3) KVS_BENCH_HUNDRED(USE, 0) KVS_BENCH_HUNDRED(USE, 7) KVS_BENCH_HUNDRED(USE, 9) \
    KVS_BENCH_HUNDRED(USE, 1) KVS_BENCH_HUNDRED(USE, 5) KVS_BENCH_HUNDRED(USE, 8) KVS_BENCH_HUNDRED(USE, 2) \
    KVS_BENCH_HUNDRED(USE, 6) KVS_BENCH_HUNDRED(USE, 4)
// clang-format on
