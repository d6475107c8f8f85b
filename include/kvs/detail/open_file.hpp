// Opening the file that a path names, and who may have it open at the same time.
//
// Three byte locks of the kernel, beyond the last byte that a file can have; they belong to the open file, and a death
// frees them.
//
//   gate       exclusive while a writing handle opens, until the store is usable, and while it closes; shared while a
//              read-only handle of the seed format opens. So nobody sees another one's open half done.
//   presence   exclusive: this handle alone; shared: handles that share the file, or read a file of the seed format.
//              Who opens for writing tries it exclusively: got it = alone.
//
// and the owner bytes of writer_lock.hpp.
#ifndef KVS_DETAIL_OPEN_FILE_HPP
#define KVS_DETAIL_OPEN_FILE_HPP

#include <cerrno>
#include <string>

#include <kvs/detail/file.hpp>
#include <kvs/detail/layout.hpp>
#include <kvs/options.hpp>

namespace kvs::detail {

/// Takes gate and presence. `may_share`: handles that share the file are joined, `is_alone` is false then.
template <class Platform>
Failure claim_store_file(File<Platform>& file, bool read_only, bool may_share, bool& is_alone) {
    using Lock = typename Platform::Lock;
    if (Failure failure = file.lock(layout::gate_lock, read_only ? Lock::shared : Lock::exclusive)) return failure;
    is_alone = true;
    if (read_only) return file.try_lock(layout::presence_lock, Lock::shared);
    Failure failure = file.try_lock(layout::presence_lock, Lock::exclusive);
    if (failure.code != errc::in_use || !may_share) return failure;
    if (Failure problem = file.try_lock(layout::presence_lock, Lock::shared)) return problem;
    // Who had it may have died between the two, and left a file at rest in which nobody has announced this handle.
    failure = file.try_lock(layout::presence_lock, Lock::exclusive);
    is_alone = !failure;
    return failure.code == errc::in_use ? Failure{} : failure;
}

/// `replaced` if the path names another file by now.
template <class Platform>
Failure was_replaced(const File<Platform>& file, const std::string& path, bool& replaced) {
    typename File<Platform>::Status mine;
    if (Failure failure = file.status(mine)) return failure;
    typename File<Platform>::Status named;
    const int e = retry([&] { return Platform::status_of_path(path.c_str(), named); });
    replaced = e == ENOENT || e == ENOTDIR || (e == 0 && named.id != mine.id);
    return e == 0 || replaced ? Failure{} : system_failure("the state of the file cannot be read", e, false);
}

/// Opens the file that the path names, created if the mode says so, and takes gate and presence; the caller unlocks the
/// gate when the store is usable.
template <class Platform>
Failure open_store_file(File<Platform>& file, const std::string& path, const Options& options, bool may_share,
                        bool& created, bool& is_alone) {
    using Creation = typename Platform::Creation;
    const bool read_only = options.mode == Mode::read_only;
    const auto access = read_only ? Platform::Access::read : Platform::Access::write;
    // The file may be replaced by another one between its opening and its locking: then again.
    for (int tries = 0; tries < 100; ++tries) {
        Failure failure;
        created = false;
        if (options.mode != Mode::create_new) failure = file.open(path.c_str(), access, Creation::never, 0);
        const bool absent = options.mode == Mode::create_new || failure.code == errc::not_found;
        if (absent && (options.mode == Mode::create_new || options.mode == Mode::open_or_create)) {
            // A name that is neither there nor free is a link to where no file is, or was taken just now.
            const bool first = tries == 0 || options.mode == Mode::create_new;
            failure =
                file.open(path.c_str(), access, first ? Creation::exclusive : Creation::if_absent, options.permissions);
            created = !failure && first;
            if (failure.code == errc::already_exists && options.mode == Mode::open_or_create) continue;
        }
        if (failure) return failure;
        bool replaced = false;
        if (Failure problem = claim_store_file(file, read_only, may_share, is_alone)) return problem;
        if (Failure problem = was_replaced(file, path, replaced)) return problem;
        if (!replaced) return {};
        file.close();
    }
    return {errc::in_use, "the file is being replaced again and again"};
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_OPEN_FILE_HPP
