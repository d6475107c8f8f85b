// kvs: a typed key-value store in one memory-mapped file. Include this.
//
//     kvs::Store<32> prefs{"settings.akvs"};
//     prefs.set("volume", 0.8f);
//     float volume = prefs.get_or("volume", 1.0f);
//
// Needs C++20 and the standard library. <kvs/format.hpp> adds formatters for the fmt library.
#ifndef KVS_KVS_HPP
#define KVS_KVS_HPP

#include <kvs/entry.hpp>     // IWYU pragma: export
#include <kvs/error.hpp>     // IWYU pragma: export
#include <kvs/guard.hpp>     // IWYU pragma: export
#include <kvs/key.hpp>       // IWYU pragma: export
#include <kvs/options.hpp>   // IWYU pragma: export
#include <kvs/policies.hpp>  // IWYU pragma: export
#include <kvs/report.hpp>    // IWYU pragma: export
#include <kvs/setting.hpp>   // IWYU pragma: export
#include <kvs/store.hpp>     // IWYU pragma: export
#include <kvs/type.hpp>      // IWYU pragma: export
#include <kvs/value.hpp>     // IWYU pragma: export
#include <kvs/version.hpp>   // IWYU pragma: export
#include <kvs/watch.hpp>     // IWYU pragma: export
#include <kvs/weights.hpp>   // IWYU pragma: export

#endif  // KVS_KVS_HPP
