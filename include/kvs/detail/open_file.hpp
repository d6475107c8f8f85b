// Opening the file that a path names, and keeping others out of it.
//
// A writing handle holds the presence byte exclusively, a read-only handle shared: they keep each other out.
#ifndef KVS_DETAIL_OPEN_FILE_HPP
#define KVS_DETAIL_OPEN_FILE_HPP

#include <cerrno>
#include <string>

#include <kvs/detail/file.hpp>
#include <kvs/detail/layout.hpp>
#include <kvs/options.hpp>

namespace kvs::detail {

/// Takes the presence byte; `replaced` if the path names another file by now.
template <class Platform>
Failure lock_store_file(File<Platform>& file, const std::string& path, bool read_only, bool& replaced) {
    const auto mode = read_only ? Platform::Lock::shared : Platform::Lock::exclusive;
    if (Failure failure = file.try_lock(layout::presence_lock, mode)) return failure;
    typename File<Platform>::Status mine;
    if (Failure failure = file.status(mine)) return failure;
    typename File<Platform>::Status named;
    const int e = retry([&] { return Platform::status_of_path(path.c_str(), named); });
    replaced = e == ENOENT || e == ENOTDIR || (e == 0 && named.id != mine.id);
    return e == 0 || replaced ? Failure{} : system_failure("the state of the file cannot be read", e, false);
}

/// Opens and locks the file that the path names; created, if the mode says so.
template <class Platform>
Failure open_store_file(File<Platform>& file, const std::string& path, const Options& options, bool& created) {
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
        if (Failure problem = lock_store_file(file, path, read_only, replaced)) return problem;
        if (!replaced) return {};
        file.close();
    }
    return {errc::in_use, "the file is being replaced again and again"};
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_OPEN_FILE_HPP
