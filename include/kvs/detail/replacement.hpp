// Putting a new file in the place of a name.
//
// [copy] A copy is written beside its destination under a temporary name, flushed, and renamed over the destination in
// one step: whoever looks there finds what was there before or the whole copy. A destination that is a symbolic link is
// replaced, not followed. Killed before the rename, it leaves the temporary file.
//
// A destination that is there is locked first, so that nobody opens it as a store and writes what the rename takes
// away. One that is not there cannot be locked: the rename is one that takes only a name that is free, where the system
// has such a thing, and what somebody made meanwhile is treated as if it had been there.
#ifndef KVS_DETAIL_REPLACEMENT_HPP
#define KVS_DETAIL_REPLACEMENT_HPP

#include <atomic>
#include <cerrno>
#include <string>
#include <string_view>

#include <kvs/detail/file.hpp>
#include <kvs/detail/layout.hpp>

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
        is_free_ = failure.code == errc::not_found;
        if (is_free_) return {};
        if (failure) return failure;
        typename Platform::FileStatus status;
        if (Failure problem = replaced_.status(status)) return problem;
        if (!status.regular) return {errc::io_error, "the destination of a copy is not a regular file"};
        return replaced_.try_lock(layout::presence_lock, Platform::Lock::exclusive);
    }

    /// Puts the flushed file in place and makes that durable. If only that fails, the file is in place.
    Failure finish() {
        for (int tries = 0; is_free_ && tries < 100; ++tries) {
            const int e = retry([&] { return Platform::rename_to_free(name_.c_str(), target_.c_str()); });
            if (e == 0) return flush_directory();
            if (is_lacking(e)) break;
            if (e != EEXIST) return cannot_rename(e);
            if (Failure failure = reserve()) return failure;
        }
        if (const int e = retry([&] { return Platform::rename(name_.c_str(), target_.c_str()); }); e != 0)
            return cannot_rename(e);
        return flush_directory();
    }

private:
    static Failure cannot_rename(int e) noexcept { return system_failure("the copy cannot be renamed", e, true); }
    Failure flush_directory() {
        done_ = true;
        const int e = retry([&] { return Platform::flush_directory(directory_.c_str()); });
        return e != 0 ? system_failure("the directory of the copy cannot be flushed", e, true) : Failure{};
    }

    std::string target_;
    std::string directory_;
    std::string name_;
    File<Platform> replaced_;
    bool is_free_ = false;  // nobody had the name
    bool done_ = true;      // until there is a file to remove
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_REPLACEMENT_HPP
