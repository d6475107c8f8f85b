// The version of the library; that of the file format is in detail/pair_layout.hpp.
#ifndef KVS_VERSION_HPP
#define KVS_VERSION_HPP

#define KVS_VERSION_MAJOR 0
#define KVS_VERSION_MINOR 1
#define KVS_VERSION_PATCH 0

#endif  // KVS_VERSION_HPP
