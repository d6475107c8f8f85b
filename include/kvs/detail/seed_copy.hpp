// Copies of a store of the seed format, made while it is in use. How they get to their names: replacement.hpp.
#ifndef KVS_DETAIL_SEED_COPY_HPP
#define KVS_DETAIL_SEED_COPY_HPP

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <kvs/detail/replacement.hpp>
#include <kvs/detail/seed_engine.hpp>
#include <kvs/value.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::copy_to(std::string_view path) {
    if (Failure failure = check_process()) return failure;
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    Replacement<Platform> replacement(path, status);
    if (Failure failure = replacement.reserve()) return failure;
    File<Platform> target;
    if (Failure failure = replacement.open([&](const std::string& name) {
            return target.open(name.c_str(), Platform::Access::write, Platform::Creation::exclusive,
                               status.permissions);
        }))
        return failure;
    if (Failure failure = write_copy(target)) return failure;
    if (Failure failure = target.flush()) return failure;
    target.close();
    return replacement.finish();
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::write_copy(File<Platform>& target) {
    const Guard<Mutex> no_writer(writers_);
    const std::uint64_t end = live_end_.load(std::memory_order_relaxed);
    if (Failure failure = check_size()) return failure;
    if (Failure failure = target.write_mapped(region_.data(), 0, end)) return failure;
    return unless_lost({});
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::compact_to(std::string_view path) {
    if (Failure failure = check_process()) return failure;
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    Replacement<Platform> replacement(path, status);
    if (Failure failure = replacement.reserve()) return failure;
    {
        SeedEngine target;
        if (Failure failure = replacement.open([&](const std::string& name) {
                return target.open(name, {.mode = Mode::create_new,
                                          .sync = sync_manual,
                                          .weights = geometry_.weights(),
                                          .permissions = status.permissions});
            }))
            return failure;
        if (Failure failure = copy_entries(target)) return failure;
        if (Failure failure = target.sync()) return failure;
    }
    return replacement.finish();
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::copy_entries(SeedEngine& target) {
    const Guard<Mutex> no_writer(writers_);
    Position position;
    Item item;
    Value value;
    Failure failure;
    for (;;) {
        const Presence presence = next(position, item, failure);
        if (presence == Presence::failed) return failure;
        if (presence == Presence::absent) return {};
        const KeyType key{std::string_view(item.key)};
        if (has_duplicates_.load(std::memory_order_relaxed)) {
            // Of a key with two records, the one that every read takes.
            Place place;
            if (find(key, key.hash(), any_length, place, failure) == Presence::present &&
                place.record != position.record)
                continue;
        }
        const LocalSource source(item.field.data());
        if (Failure problem = value.load(Stored<LocalSource>{source, 0, item.code})) return problem;
        if (Failure problem = target.put(key, value.encoded())) return problem;
    }
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_SEED_COPY_HPP
