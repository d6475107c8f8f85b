// Copies of a store of the seed format, made while it is in use.
//
// [copy] A copy is written beside its destination under a temporary name, flushed, and renamed over the destination in
// one step: whoever looks there finds what was there before or the whole copy. A destination that is a symbolic link is
// replaced, not followed. Killed before the rename, it leaves the temporary file.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <kvs/detail/seed_engine.hpp>
#include <kvs/value.hpp>

namespace kvs::detail {

/// A file on its way to a name; removed if it does not get there.
template <class Platform>
class Replacement {
public:
    explicit Replacement(std::string_view target) : target_(target), directory_(directory_of(target)) {}
    Replacement(const Replacement&) = delete;
    Replacement& operator=(const Replacement&) = delete;
    ~Replacement() {
        if (!done_) remove_file<Platform>(name_.c_str());
    }

    /// Runs `create(name)` with names until one is free: a process that had this one's number may have been killed
    /// before it could remove its file.
    template <class Create>
    Failure open(Create create) {
        static std::atomic<unsigned> count{0};
        const std::string stem = target_ + ".kvs-" + std::to_string(Platform::process_id()) + "-";
        Failure failure;
        for (int tries = 0; tries < 1000; ++tries) {
            name_ = stem + std::to_string(count.fetch_add(1, std::memory_order_relaxed)) + ".tmp";
            done_ = false;  // also if memory runs out behind the creation
            failure = create(name_);
            if (failure.code != errc::already_exists) break;
        }
        done_ = failure.code == errc::already_exists;  // then the file is somebody else's
        return failure;
    }

    /// Refuses a destination that somebody has open as a store, the source among them, and keeps it from being opened
    /// until it has been replaced: what is written to a file without a name is lost.
    Failure reserve() {
        if (Failure failure = check_path(target_)) return failure;
        Failure failure = replaced_.open(target_.c_str(), Platform::Access::write, Platform::Creation::never, 0);
        if (failure.code == errc::not_found) return {};
        if (failure) return failure;
        typename Platform::FileStatus status;
        if (Failure problem = replaced_.status(status)) return problem;
        if (!status.regular) return {errc::io_error, "the destination of a copy is not a regular file"};
        return replaced_.try_lock(layout::presence_lock, Platform::Lock::exclusive);
    }

    /// Puts the flushed file in place and makes that durable.
    Failure finish() {
        if (const int e = retry([&] { return Platform::rename(name_.c_str(), target_.c_str()); }); e != 0)
            return system_failure("the copy cannot be renamed", e, true);
        done_ = true;
        const int e = retry([&] { return Platform::flush_directory(directory_.c_str()); });
        return e != 0 ? system_failure("the directory of the copy cannot be flushed", e, true) : Failure{};
    }

private:
    std::string target_;
    std::string directory_;
    std::string name_;
    File<Platform> replaced_;
    bool done_ = true;  // until there is a file to remove
};

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::copy_to(std::string_view path) {
    if (Failure failure = check_process()) return failure;
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    Replacement<Platform> replacement(path);
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
    constexpr std::uint64_t piece = std::uint64_t{1} << 20;
    for (std::uint64_t at = 0; at < end; at += piece)
        if (Failure failure =
                target.write(region_.data() + at, static_cast<std::size_t>(std::min(end - at, piece)), at))
            return failure;
    return {};
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::compact_to(std::string_view path) {
    if (Failure failure = check_process()) return failure;
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    Replacement<Platform> replacement(path);
    if (Failure failure = replacement.reserve()) return failure;
    {
        SeedEngine<KeyLen, Unshared, Platform> target;
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
Failure SeedEngine<KeyLen, Sharing, Platform>::copy_entries(SeedEngine<KeyLen, Unshared, Platform>& target) {
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
