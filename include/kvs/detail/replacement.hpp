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
#include <kvs/detail/open_file.hpp>

namespace kvs::detail {

/// A file on its way to a name; removed if it does not get there.
template <class Platform>
class Replacement {
public:
    /// `source` is of the file that is copied.
    Replacement(std::string_view target, const typename File<Platform>::Status& source)
        : target_(target), directory_(directory_of(target)), source_(source.id) {}
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
        // File systems allow names of 255 bytes.
        constexpr std::size_t longest = 200;
        const std::size_t name = target_.rfind('/') + 1;
        const std::string stem =
            target_.substr(0, name + longest) + ".kvs-" + std::to_string(Platform::process_id()) + "-";
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
    /// until it has been replaced: what is written to a file without a name is lost. The name may have gone to another
    /// file before the lock was there, by a copy to the same destination: then again.
    Failure reserve() {
        if (Failure failure = check_path(target_)) return failure;
        for (int tries = 0; tries < 100; ++tries) {
            bool may_write = true;
            if (Failure failure = open_target(may_write)) return failure;
            if (is_free_) return {};
            if (Failure failure = claim_target(may_write)) return failure;
            bool is_another = false;
            if (Failure failure = was_replaced(replaced_, target_, is_another)) return failure;
            if (!is_another) return {};
            replaced_.close();
        }
        return {errc::in_use, "the destination is being replaced again and again"};
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
    Failure open_target(bool& may_write) {
        using Access = typename Platform::Access;
        Failure failure = replaced_.open(target_.c_str(), Access::write, Platform::Creation::never, 0);
        may_write = failure.code != errc::read_only;
        if (!may_write) failure = replaced_.open(target_.c_str(), Access::read, Platform::Creation::never, 0);
        is_free_ = failure.code == errc::not_found;
        return is_free_ ? Failure{} : failure;
    }
    Failure claim_target(bool may_write) {
        typename Platform::FileStatus status;
        if (Failure failure = replaced_.status(status)) return failure;
        if (!status.regular) return {errc::io_error, "the destination of a copy is not a regular file"};
        if (status.id == source_) return {errc::in_use, "the destination is the file that is copied"};
        using Lock = typename Platform::Lock;
        if (may_write) return replaced_.try_lock(layout::presence_lock, Lock::exclusive);
        // Who may not write cannot lock either, and is told at least who is there now.
        auto lock = Lock::none;
        if (Failure failure = replaced_.lock_of_others(layout::presence_lock, lock)) return failure;
        return lock == Lock::none ? Failure{} : Failure{errc::in_use, "another handle has the destination open"};
    }

    static Failure cannot_rename(int e) noexcept { return system_failure("the copy cannot be renamed", e, true); }
    Failure flush_directory() {
        done_ = true;
        const int e = retry([&] { return Platform::flush_directory(directory_.c_str()); });
        return e != 0 ? system_failure("the directory of the copy cannot be flushed", e, true) : Failure{};
    }

    std::string target_;
    std::string directory_;
    std::string name_;
    decltype(File<Platform>::Status::id) source_;
    File<Platform> replaced_;
    bool is_free_ = false;  // nobody had the name
    bool done_ = true;      // until there is a file to remove
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_REPLACEMENT_HPP
