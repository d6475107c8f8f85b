// The version of the library. The format of files has none of its own yet: the seed format never changes.
#pragma once

#define KVS_VERSION_MAJOR 0
#define KVS_VERSION_MINOR 1
#define KVS_VERSION_PATCH 0
