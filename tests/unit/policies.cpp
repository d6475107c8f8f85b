#include <kvs/policies.hpp>
#include <kvs/store.hpp>

#include <type_traits>

#include "../catch.hpp"

namespace {

using namespace kvs;

// The same policies in another order are the same type.
static_assert(std::is_same_v<Store<16, NoBackup, Unshared>, Store<16, Unshared, NoBackup>>);
static_assert(std::is_same_v<Store<16, ChainIndex, NoBackup, SharedThreads>, SeedStore<16>>);
static_assert(!std::is_same_v<Store<16, NoBackup, Unshared>, SeedStore<16>>);

// What is left out is chosen to fit: the seed format has no room for anything but itself.
static_assert(std::is_same_v<Store<16, NoBackup>, SeedStore<16>>);

// All policies fold into one canonical set too.
static_assert(std::is_same_v<detail::Fold<>::type, detail::Fold<Crc32c>::type>);
static_assert(
    std::is_same_v<detail::Fold<>::type, detail::Fold<GrowingIndex, SharedProcesses, AbBackup<Crc32c>>::type>);
static_assert(std::is_same_v<detail::Fold<Xxh3>::type, detail::Fold<AbBackup<Xxh3>>::type>);
static_assert(std::is_same_v<detail::Fold<AbBackup<Xxh3>, Unshared>::type, detail::Fold<Unshared, Xxh3>::type>);
static_assert(!std::is_same_v<detail::Fold<Xxh3>::type, detail::Fold<Crc32c>::type>);

// Policies are names: they hold nothing and cost nothing.
static_assert(std::is_empty_v<NoBackup> && std::is_empty_v<SharedThreads> && std::is_empty_v<ChainIndex>);
static_assert(sizeof(SeedStore<16>) == sizeof(void*));

// A store is moved and not copied.
static_assert(std::is_nothrow_move_constructible_v<SeedStore<16>>);
static_assert(std::is_nothrow_move_assignable_v<SeedStore<16>>);
static_assert(!std::is_copy_constructible_v<SeedStore<16>>);
static_assert(!std::is_copy_assignable_v<SeedStore<16>>);

}  // namespace

TEST_CASE("policies fold at compile time", "[policies]") { SUCCEED(); }
