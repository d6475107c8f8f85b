// Picks the one file that knows the operating system.
//
// A platform is a struct of static functions, each about one call of the system, that report errors as errno values
// and never throw. Everything above it is written once: retries, fall-backs and what an error means are not the
// platform's business. Tests derive from `NativePlatform`, hide the functions they want to fail or to watch, and name
// the result as a policy of the store. The contract of each function is told in platform_posix.hpp.
#ifndef KVS_DETAIL_PLATFORM_HPP
#define KVS_DETAIL_PLATFORM_HPP

#if defined(__unix__) || defined(__APPLE__)
#include <kvs/detail/platform_posix.hpp>
namespace kvs::detail {
using NativePlatform = PosixPlatform;
}
#else
#error "kvs: this version runs on POSIX systems (Linux, macOS); there is no platform file for this one."
#endif

#endif  // KVS_DETAIL_PLATFORM_HPP
