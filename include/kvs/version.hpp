// The version of the library. The format of files has none of its own yet: the seed format never changes.
#ifndef KVS_VERSION_HPP
#define KVS_VERSION_HPP

#define KVS_VERSION_MAJOR 0
#define KVS_VERSION_MINOR 1
#define KVS_VERSION_PATCH 0

#endif  // KVS_VERSION_HPP
