// The store.
#ifndef KVS_STORE_HPP
#define KVS_STORE_HPP

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

#include <kvs/batch.hpp>
#include <kvs/detail/defaults.hpp>
#include <kvs/detail/pair_engine.hpp>
#include <kvs/detail/seed_engine.hpp>
#include <kvs/entry.hpp>
#include <kvs/error.hpp>
#include <kvs/key.hpp>
#include <kvs/options.hpp>
#include <kvs/policies.hpp>
#include <kvs/report.hpp>
#include <kvs/setting.hpp>
#include <kvs/value.hpp>
#include <kvs/watch.hpp>

namespace kvs {

namespace detail {

/// A path in any usual form: text, or a class such as `std::filesystem::path` that gives its native characters.
template <class Path>
concept PathLike = !std::is_null_pointer_v<Path> &&
                   (std::is_convertible_v<const Path&, std::string_view> || requires(const Path& path) {
                       { path.c_str() } -> std::convertible_to<const char*>;
                   });

template <PathLike Path>
std::string_view path_text(const Path& path) noexcept {
    if constexpr (std::is_convertible_v<const Path&, std::string_view>) {
        if constexpr (std::is_pointer_v<Path>)
            return path != nullptr ? std::string_view(path) : std::string_view();
        else
            return std::string_view(path);
    } else {
        return std::string_view(path.c_str());
    }
}

/// Refused where a store is instantiated and not in the fold, so that the set can be named and compared.
template <class Policies>
inline constexpr bool has_checksum = true;
template <class Checksum, class Sharing, class Index, class Platform>
inline constexpr bool has_checksum<PolicySet<AbBackup<Checksum>, Sharing, Index, Platform>> =
    SlotChecksum<Checksum>::is_available;

/// The engine of a set of policies.
template <std::size_t KeyLen, class Policies>
struct EngineOf;
template <std::size_t KeyLen, class Checksum, class Sharing, class Index, class Platform>
struct EngineOf<KeyLen, PolicySet<AbBackup<Checksum>, Sharing, Index, Platform>> {
    using type = PairEngine<KeyLen, Sharing, PairForm<Checksum, Index>, Platform>;
};
template <std::size_t KeyLen, class Sharing, class Index, class Platform>
struct EngineOf<KeyLen, PolicySet<NoBackup, Sharing, Index, Platform>> {
    using type = SeedEngine<KeyLen, Sharing, Platform>;
};

/// Stands for "the type of the function's parameter".
struct FromParameter;

/// The type of the one parameter of a function or a function object that is no template.
template <class Function>
struct ParameterOf : ParameterOf<decltype(&Function::operator())> {};
template <class Result, class Parameter>
struct ParameterOf<Result (*)(Parameter)> {
    using type = std::remove_cvref_t<Parameter>;
};
template <class Result, class Parameter>
struct ParameterOf<Result (*)(Parameter) noexcept> : ParameterOf<Result (*)(Parameter)> {};
template <class Class, class Result, class Parameter>
struct ParameterOf<Result (Class::*)(Parameter)> : ParameterOf<Result (*)(Parameter)> {};
template <class Class, class Result, class Parameter>
struct ParameterOf<Result (Class::*)(Parameter) const> : ParameterOf<Result (*)(Parameter)> {};
template <class Class, class Result, class Parameter>
struct ParameterOf<Result (Class::*)(Parameter) noexcept> : ParameterOf<Result (*)(Parameter)> {};
template <class Class, class Result, class Parameter>
struct ParameterOf<Result (Class::*)(Parameter) const noexcept> : ParameterOf<Result (*)(Parameter)> {};

template <class T>
struct WithoutOptional {
    using type = T;
};
template <class T>
struct WithoutOptional<std::optional<T>> {
    using type = T;
};

/// What `read_modify_write<T>` reads and writes.
template <class T, class Function>
struct Modified {
    using type = T;
};
template <class Function>
struct Modified<FromParameter, Function> {
    using type = typename WithoutOptional<typename ParameterOf<std::decay_t<Function>>::type>::type;
};
template <class T, class Function>
using ModifiedType = typename Modified<T, Function>::type;

/// A buffer that `get_into` fills.
template <class T>
concept Buffer = std::is_convertible_v<T&&, std::span<char>> || std::is_convertible_v<T&&, std::span<std::byte>>;

}  // namespace detail

/// A typed key-value store in one file. Write it as `kvs::Store<KeyLen, Policies...>` or `kvs::SeedStore<KeyLen>`.
///
/// * A key holds one value, of whatever type it was last set to.
/// * `get`, `set`, `erase` and `contains` cost O(1) expected up to some ten thousand keys, and O(keys / 4096) beyond.
/// * Every function that can throw `kvs::Error` has a twin that takes a trailing `std::error_code&`, does not throw and
///   clears the code on success. Every operation can fail with `corrupt` where the file is damaged, `forked` in the
///   child of a fork and `not_found` after a move; operations with a key also with `key_empty`, `key_too_long` and
///   `not_text`; those that write with `read_only`, `not_durable`, `disk_full` and `io_error`. What else a function
///   fails with stands beside it. A failed operation changes nothing, unless it says so; and with `sync_each` a change
///   whose flush fails, which is `io_error` or `disk_full`, is made and not durable.
/// * Where memory runs out, functions throw `std::bad_alloc`, and twins say `std::errc::not_enough_memory`. What a
///   function of the caller throws comes through; for a twin it becomes a code: its own if it is a `std::system_error`,
///   `not_enough_memory` if it is a `std::bad_alloc`, else `std::errc::operation_canceled`.
/// * Every function but construction, destruction and moving may be called from any thread at any time. Reads take no
///   lock and store nothing that others see. With `SharedProcesses`, the default, up to 255 handles of any processes
///   have the file open; what one of them sets, all of them see at once. With `Unshared`, one thread at a time.
template <std::size_t KeyLen, class Policies>
class BasicStore {
    static_assert(KeyLen >= 1 && KeyLen <= detail::layout::longest_key,
                  "kvs::Store<KeyLen>: the key length of a store is 1 to 1024 bytes.");
    static_assert(detail::has_checksum<Policies>,
                  "kvs::Store: the checksum kvs::Xxh3 needs the header xxhash.h of xxHash 0.8 or later, which is not "
                  "found. Install it (Debian: libxxhash-dev, vcpkg: xxhash), or write kvs::Crc32c.");

    using Platform = typename Policies::Platform;
    using Engine = typename detail::EngineOf<KeyLen, Policies>::type;

public:
    using key_type = Key<KeyLen>;
    using iterator = Iterator<Engine>;
    using const_iterator = iterator;

    /// The longest key, in bytes.
    static constexpr std::size_t key_length = KeyLen;

    // ---- opening and closing ---------------------------------------------------------------------------------------

    /// Opens the file, or creates it, as the options say. Fails with `not_found` (no such file or directory),
    /// `already_exists`, `read_only` (no permission to write), `in_use`, `not_a_store`, `version_mismatch`,
    /// `policy_mismatch`, `key_length_mismatch`, `corrupt` (shorter than its index, or all superblocks damaged),
    /// `disk_full`, `io_error`; a file that is not a store, or is in use, is left untouched. Costs a look at the index;
    /// with `NoBackup`, and after a power cut, a walk over all records.
    template <detail::PathLike Path>
    explicit BasicStore(const Path& path, const Options& options = {}) : BasicStore(Closed{}) {
        if (detail::Failure failure = open(detail::path_text(path), options))
            detail::raise(failure, detail::path_text(path));
    }

    /// The same; after an error no store is open in the object.
    template <detail::PathLike Path>
    BasicStore(const Path& path, const Options& options, std::error_code& error) noexcept : BasicStore(Closed{}) {
        if (!detail::guarded(error, [&] { return open(detail::path_text(path), options); }))
            delete std::exchange(core_, nullptr);
    }

    template <class... Rest>
    explicit BasicStore(std::nullptr_t, Rest&&...) = delete;

    BasicStore(BasicStore&& other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
    /// Closes the store that was open here first.
    BasicStore& operator=(BasicStore&& other) noexcept {
        if (this != &other) delete std::exchange(core_, std::exchange(other.core_, nullptr));
        return *this;
    }
    BasicStore(const BasicStore&) = delete;
    BasicStore& operator=(const BasicStore&) = delete;

    /// Syncs and closes. What fails here is not reported: call `sync()` first where that matters.
    ~BasicStore() { delete core_; }

    /// False after a move and after a failed twin of the constructor.
    bool is_open() const noexcept { return core_ != nullptr; }

    /// As given to the constructor; empty if no store is open.
    std::string_view path() const noexcept {
        return core_ != nullptr ? std::string_view(core_->engine.path()) : std::string_view();
    }

    /// What opening the file found and did, as it was then: `size()` is the number of keys now. A store must be open.
    const Recovery& recovery() const noexcept { return core_->engine.recovery(); }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// The value of a key; nothing if the key is absent. A number is read as any number type that holds it exactly;
    /// anything else of another type is `type_mismatch`. A registered default counts as a value.
    template <class T>
    [[gnu::always_inline]] inline std::optional<T> get(const key_type& key) const {
        if constexpr (detail::Scalar<T>) {
            const Found found = get_scalar<T>(key);
            return found.yes != 0 ? std::optional<T>(detail::Codec<T>::from_bits(found.bits)) : std::optional<T>();
        } else {
            std::optional<T> value;
            check(read_value(key, value), key);
            return value;
        }
    }
    template <class T>
    std::optional<T> get(const key_type& key, std::error_code& error) const noexcept {
        std::optional<T> value;
        if (read_scalar(key, value)) {
            error.clear();
            return value;
        }
        if (!detail::guarded(error, [&] { return read_value(key, value); })) value.reset();
        return value;
    }

    /// The value of a key, or `fallback` if the key is absent or its value is not a `T`. A registered default comes
    /// before the fallback. The twin copies the fallback too, which must not throw then.
    template <class T>
    auto get_or(const key_type& key, const T& fallback) const {
        using Result = OwningType<T>;
        std::optional<Result> value;
        if (read_scalar(key, value)) return *value;
        check(drop_mismatch(read_value(key, value), value), key);
        return value ? *std::move(value) : owning(fallback);
    }
    template <class T>
    auto get_or(const key_type& key, const T& fallback, std::error_code& error) const noexcept {
        using Result = OwningType<T>;
        std::optional<Result> value;
        if (read_scalar(key, value)) {
            error.clear();
            return *value;
        }
        if (!detail::guarded(error, [&] { return drop_mismatch(read_value(key, value), value); })) value.reset();
        return value ? *std::move(value) : owning(fallback);
    }

    /// The value of a setting, or its fallback if the key is absent. Fails with `type_mismatch`.
    template <class T>
    T get(const Setting<T>& setting) const {
        if (auto value = get<T>(setting.template key<KeyLen>())) return *std::move(value);
        return setting.fallback();
    }
    template <class T>
    T get(const Setting<T>& setting, std::error_code& error) const noexcept {
        // Not `?:`, where Clang makes a copy of the value: that may allocate, and throw.
        if (auto value = get<T>(setting.template key<KeyLen>(), error)) return *std::move(value);
        return setting.fallback();
    }

    /// Copies text into a buffer of `char`, or text or bytes into one of `std::byte`, without allocating; the number of
    /// bytes copied, or nothing if the key is absent. Fails with `type_mismatch`, and with `value_too_long` if the
    /// buffer is too small; the buffer's content is then unspecified.
    template <detail::Buffer To>
    std::optional<std::size_t> get_into(const key_type& key, To&& buffer) const {
        std::size_t bytes = 0;
        const detail::Presence presence = checked_copy(key, buffer, bytes);
        return presence == detail::Presence::present ? std::optional(bytes) : std::nullopt;
    }
    template <detail::Buffer To>
    std::optional<std::size_t> get_into(const key_type& key, To&& buffer, std::error_code& error) const noexcept {
        std::size_t bytes = 0;
        detail::Presence presence = detail::Presence::absent;
        const bool good = detail::guarded(error, [&] { return copy_value(key, span_of(buffer), bytes, presence); });
        return good && presence == detail::Presence::present ? std::optional(bytes) : std::nullopt;
    }

    /// The value of a key, whatever its type; nothing if the key is absent.
    std::optional<Value> value(const key_type& key) const { return get<Value>(key); }
    std::optional<Value> value(const key_type& key, std::error_code& error) const noexcept {
        return get<Value>(key, error);
    }

    /// The type of a key's value; nothing if the key is absent.
    std::optional<Type> type(const key_type& key) const {
        std::optional<Type> type;
        check(read_type(key, type), key);
        return type;
    }
    std::optional<Type> type(const key_type& key, std::error_code& error) const noexcept {
        std::optional<Type> type;
        if (!detail::guarded(error, [&] { return read_type(key, type); })) type.reset();
        return type;
    }

    /// True if the file holds the key; registered defaults do not count.
    bool contains(const key_type& key) const {
        bool found = false;
        check(find(key, found), key);
        return found;
    }
    bool contains(const key_type& key, std::error_code& error) const noexcept {
        bool found = false;
        return detail::guarded(error, [&] { return find(key, found); }) && found;
    }
    template <class T>
    bool contains(const Setting<T>& setting) const {
        return contains(setting.template key<KeyLen>());
    }
    template <class T>
    bool contains(const Setting<T>& setting, std::error_code& error) const noexcept {
        return contains(setting.template key<KeyLen>(), error);
    }

    /// The number of keys in the file. O(1).
    std::size_t size() const noexcept { return core_ != nullptr ? static_cast<std::size_t>(core_->engine.size()) : 0; }
    bool empty() const noexcept { return size() == 0; }

    /// Iterates over the entries in the file; see `Iterator`. The throwing `begin` fails where the first entry should
    /// be; its twin returns an iterator from which `increment` goes on.
    iterator begin() const {
        check(check_open());
        iterator first(core_->engine);
        ++first;
        return first;
    }
    iterator begin(std::error_code& error) const noexcept {
        if (!detail::guarded(error, [&] { return check_open(); })) return {};
        iterator first(core_->engine);
        first.increment(error);
        return first;
    }
    iterator end() const noexcept { return {}; }

    // ---- writing ---------------------------------------------------------------------------------------------------

    /// Sets a key to a value, whatever it held before. Fails with `value_too_long` (text of more than 65,536 bytes,
    /// bytes of more than 65,536, or 65,534 with `NoBackup`), `not_text`, `store_full`.
    template <class T>
    void set(const key_type& key, const T& value) {
        if (!write_scalar(key, value)) [[unlikely]]
            check(write_value(key, value), key);
    }
    template <class T>
    void set(const key_type& key, const T& value, std::error_code& error) noexcept {
        if (write_scalar(key, value)) return error.clear();
        detail::guarded(error, [&] { return write_value(key, value); });
    }
    template <class T>
    void set(const Setting<T>& setting, const std::type_identity_t<T>& value) {
        set(setting.template key<KeyLen>(), value);
    }
    template <class T>
    void set(const Setting<T>& setting, const std::type_identity_t<T>& value, std::error_code& error) noexcept {
        set(setting.template key<KeyLen>(), value, error);
    }

    /// `store[setting]` reads and sets; see `Setting`.
    template <class T>
    SettingReference<BasicStore, T> operator[](const Setting<T>& setting) noexcept {
        return {*this, setting};
    }
    template <class T>
    T operator[](const Setting<T>& setting) const {
        return get(setting);
    }

    /// Removes a key; false if it was absent. Its record is used again for a later key of the same bucket.
    bool erase(const key_type& key) {
        bool erased = false;
        check(remove(key, erased), key);
        return erased;
    }
    bool erase(const key_type& key, std::error_code& error) noexcept {
        bool erased = false;
        detail::guarded(error, [&] { return remove(key, erased); });
        return erased;
    }
    template <class T>
    bool erase(const Setting<T>& setting) {
        return erase(setting.template key<KeyLen>());
    }
    template <class T>
    bool erase(const Setting<T>& setting, std::error_code& error) noexcept {
        return erase(setting.template key<KeyLen>(), error);
    }

    /// Removes all keys, whatever their number: with `NoBackup` in O(65,536); with `AbBackup` it syncs first, and the
    /// rest is O(1). Registered defaults stay.
    void clear() { check(remove_all()); }
    void clear(std::error_code& error) noexcept {
        detail::guarded(error, [&] { return remove_all(); });
    }

    /// Runs `function(batch)` with a `Batch` that notes sets and erases, and then does all of them or none: no reader,
    /// no killed process and no power cut sees a part. Of several operations on one key the last one counts. Nothing is
    /// changed if the function throws. The function may use the store itself; what it does there is not part of the
    /// batch. Fails as `set` does. O(operations), and one journal entry of that size. Stores with `AbBackup` only.
    template <class Function>
    void batch(Function&& function) {
        Batch<KeyLen> noted;
        function(noted);
        if (detail::Failure failure = apply(noted)) detail::raise(failure, path(), noted.failed_key_);
    }
    /// The same; an exception of the function is an error.
    template <class Function>
    void batch(Function&& function, std::error_code& error) noexcept {
        detail::guarded(error, [&] {
            Batch<KeyLen> noted;
            function(noted);
            return apply(noted);
        });
    }

    /// Registers values that stand under those of the file: a read of a key that is absent finds them. Kept in memory
    /// only; a later registration of the same key replaces the earlier one. Fails with the key's error if a key is not
    /// valid, and registers nothing then.
    void register_defaults(std::initializer_list<Default<KeyLen>> defaults) {
        const key_type* invalid = nullptr;
        if (detail::Failure failure = add_defaults(defaults, invalid))
            detail::raise(failure, path(), invalid != nullptr ? invalid->view() : std::string_view());
    }
    void register_defaults(std::initializer_list<Default<KeyLen>> defaults, std::error_code& error) noexcept {
        const key_type* invalid = nullptr;
        detail::guarded(error, [&] { return add_defaults(defaults, invalid); });
    }

    /// Returns when every write that returned before the call is on the device. After a failed flush this and every
    /// write fail with `not_durable` until all handles have closed the file and it has been opened again. A read-only
    /// store has written nothing: of it this does nothing, also beside a writer.
    void sync() { check(flush()); }
    void sync(std::error_code& error) noexcept {
        detail::guarded(error, [&] { return flush(); });
    }

    // ---- with others -----------------------------------------------------------------------------------------------

    /// Sets a key that is absent; false if it has a value already, which stays. Registered defaults do not count. Of
    /// several that do it at the same time, threads or processes, one is told true. Fails as `set` does.
    template <class T>
    bool set_if_absent(const key_type& key, const T& value) {
        bool done = false;
        check(write_if_absent(key, value, done), key);
        return done;
    }
    template <class T>
    bool set_if_absent(const key_type& key, const T& value, std::error_code& error) noexcept {
        bool done = false;
        return detail::guarded(error, [&] { return write_if_absent(key, value, done); }) && done;
    }

    /// Sets a key to `function(value)`, and nothing comes in between: a counter that many processes raise misses none.
    ///
    ///     store.read_modify_write("starts", [](std::optional<int> n) { return n.value_or(0) + 1; });
    ///
    /// `T`, the type that is read and written, is that of the function's parameter; where that is not said (`auto`),
    /// write `read_modify_write<T>`. The function gets a `std::optional<T>`: nothing if the key is absent. It runs
    /// without a lock, may use the store, and runs again if somebody gave the key another value meanwhile. Returns what
    /// was set. Nothing is changed if it throws. Fails as `get` and `set` do.
    template <class T = detail::FromParameter, class Function>
    auto read_modify_write(const key_type& key, Function&& function) {
        detail::ModifiedType<T, Function> value{};
        check(modify(key, function, value), key);
        return value;
    }
    /// The same; a value-initialised `T` goes with an error, which an exception of the function is one of.
    template <class T = detail::FromParameter, class Function>
    auto read_modify_write(const key_type& key, Function&& function, std::error_code& error) noexcept {
        detail::ModifiedType<T, Function> value{};
        if (!detail::guarded(error, [&] { return modify(key, function, value); })) value = {};
        return value;
    }

    /// Runs `function(store)` such that all it reads is of one moment, and returns what it returns:
    ///
    ///     auto [x, y] = store.view([](const auto& s) { return std::pair(s.get_or("x", 0), s.get_or("y", 0)); });
    ///
    /// It runs without a lock and again if somebody wrote in between; after some attempts it takes the writers' lock,
    /// so it must not write to the store: the program ends where it would wait for itself. What it throws comes
    /// through. A read-only handle cannot take that lock, and fails with `in_use` if others write without a pause.
    /// Stores with `AbBackup` only.
    template <class Function>
    auto view(Function&& function) const {
        if constexpr (std::is_void_v<ViewResult<Function>>) {
            check(look([&] { function(*this); }));
        } else {
            std::optional<ViewResult<Function>> result;
            check(look([&] { result.emplace(function(*this)); }));
            return std::move(*result);
        }
    }
    /// The same; a value-initialised result goes with an error, which an exception of the function is one of.
    template <class Function>
    auto view(Function&& function, std::error_code& error) const noexcept {
        if constexpr (std::is_void_v<ViewResult<Function>>) {
            detail::guarded(error, [&] { return look([&] { function(*this); }); });
        } else {
            std::optional<ViewResult<Function>> result;
            const auto take = [&] { result.emplace(function(*this)); };
            if (!detail::guarded(error, [&] { return look(take); })) result.emplace();
            return std::move(*result);
        }
    }

    /// A number that rises with every change of the store, by any thread or process; a sync is none. Comparable as long
    /// as some handle has the store open. O(1). Stores with `AbBackup` only.
    std::uint64_t version() const {
        std::uint64_t version = 0;
        check(read_version(version));
        return version;
    }
    /// The same; 0 goes with an error.
    std::uint64_t version(std::error_code& error) const noexcept {
        std::uint64_t version = 0;
        return detail::guarded(error, [&] { return read_version(version); }) ? version : 0;
    }

    /// Sleeps until `version()` is not `seen`, at most for `timeout`, and returns it. Where the system has a futex
    /// (Linux) nothing is polled, but by read-only handles, which look every 10 ms. Stores with `AbBackup` only.
    template <detail::Duration Span>
    std::uint64_t wait_for_change(std::uint64_t seen, const Span& timeout) const {
        std::uint64_t version = 0;
        check(await_version(seen, detail::nanoseconds_of(timeout), version));
        return version;
    }
    /// The same; 0 goes with an error.
    template <detail::Duration Span>
    std::uint64_t wait_for_change(std::uint64_t seen, const Span& timeout, std::error_code& error) const noexcept {
        std::uint64_t version = 0;
        const auto wait = [&] { return await_version(seen, detail::nanoseconds_of(timeout), version); };
        return detail::guarded(error, wait) ? version : 0;
    }

    /// Calls `callback(const kvs::Change&)` whenever the key has another value than before, whoever set it, until the
    /// `Watch` that is returned ends. Called by a thread of the store, outside of all locks, one call at a time; it may
    /// use the store, must not close it, and must not throw: an exception that leaves it ends the program. Of changes
    /// that follow each other quickly, the last one is told, with the value that was told before; registered defaults
    /// do not count. Fails with the key's errors, and `io_error` if no thread can be started. Not with `Unshared`;
    /// stores with `AbBackup` only.
    template <class Callback>
    Watch watch(const key_type& key, Callback callback) {
        Watch watch;
        check(begin_watch(watch, key, std::move(callback)), key);
        return watch;
    }
    /// The same; a `Watch` of nothing goes with an error.
    template <class Callback>
    Watch watch(const key_type& key, Callback callback, std::error_code& error) noexcept {
        Watch watch;
        if (!detail::guarded(error, [&] { return begin_watch(watch, key, std::move(callback)); })) watch.stop();
        return watch;
    }
    /// The same for every key. Keeps a copy of all values; a change costs a look at 1/256 of them.
    template <class Callback>
    Watch watch_all(Callback callback) {
        Watch watch;
        check(begin_watch_of_all(watch, std::move(callback)));
        return watch;
    }
    template <class Callback>
    Watch watch_all(Callback callback, std::error_code& error) noexcept {
        Watch watch;
        if (!detail::guarded(error, [&] { return begin_watch_of_all(watch, std::move(callback)); })) watch.stop();
        return watch;
    }

    // ---- the file as a whole ---------------------------------------------------------------------------------------

    /// Writes a copy of the store as it is at one moment, deleted records included, and makes it durable. Replaces a
    /// file of that name in one step; fails with `in_use` if that is a store that is open, this one or another. The
    /// copy has the permissions of the store's file, less those of the process's umask. Writers wait meanwhile. The one
    /// failure behind which the copy is in place is that of making its name durable.
    template <detail::PathLike Path>
    void copy_to(const Path& path) const {
        const std::string_view target = detail::path_text(path);
        if (detail::Failure failure = copy(target)) detail::raise(failure, copying(target));
    }
    template <detail::PathLike Path>
    void copy_to(const Path& path, std::error_code& error) const noexcept {
        detail::guarded(error, [&] { return copy(detail::path_text(path)); });
    }

    /// The same with the keys only: without deleted records, and every value in the smallest length that holds it.
    template <detail::PathLike Path>
    void compact_to(const Path& path) const {
        const std::string_view target = detail::path_text(path);
        if (detail::Failure failure = compact(target)) detail::raise(failure, copying(target));
    }
    template <detail::PathLike Path>
    void compact_to(const Path& path, std::error_code& error) const noexcept {
        detail::guarded(error, [&] { return compact(detail::path_text(path)); });
    }

    /// Reads everything and reports all that is wrong with the file. Writers wait meanwhile. O(n) for n records. With
    /// `NoBackup` it also looks for records that overlap and for keys that have two of them, and costs O(n log n) and
    /// some 24 bytes of memory for each record.
    Report verify() const {
        Report report;
        check(check_all(report));
        return report;
    }
    Report verify(std::error_code& error) const noexcept {
        Report report;
        detail::guarded(error, [&] { return check_all(report); });
        return report;
    }

    /// Mends what the other copy of a value, of the superblock or of the header allows, syncs, and reports as `verify`
    /// does what is still wrong. A damaged copy is given up: its key keeps the value of the other one, which may be the
    /// one before. Writers wait meanwhile. Stores with `AbBackup` only.
    Report repair() {
        Report report;
        check(mend(report));
        return report;
    }
    Report repair(std::error_code& error) noexcept {
        Report report;
        detail::guarded(error, [&] { return mend(report); });
        return report;
    }

    /// Counts what is in the file. Writers wait meanwhile. O(records).
    Stats stats() const {
        Stats stats;
        check(count(stats));
        return stats;
    }
    Stats stats(std::error_code& error) const noexcept {
        Stats stats;
        detail::guarded(error, [&] { return count(stats); });
        return stats;
    }

private:
    struct NoWatchers {
        explicit NoWatchers(Engine&) noexcept {}
        void forget_thread() noexcept {}
    };
    static constexpr bool can_watch =
        detail::has_pairs<Policies> && !std::is_same_v<typename Policies::Sharing, Unshared>;
    struct Core {
        Core() noexcept : watchers(engine) {}
        Core(const Core&) = delete;
        Core& operator=(const Core&) = delete;
        ~Core() {
            if (engine.is_foreign_process()) watchers.forget_thread();
        }
        Engine engine;
        detail::Defaults<KeyLen, Platform> defaults;
        std::conditional_t<can_watch, detail::Watchers<Engine>, NoWatchers> watchers;  // last: its thread uses the rest
    };

    struct Closed {};
    explicit BasicStore(Closed) noexcept {}

    detail::Failure open(std::string_view path, const Options& options) {
        core_ = new Core;
        return core_->engine.open(path, options);
    }

    /// What a read returns for a fallback of type `T`: text that owns its characters.
    template <class T>
    using OwningType = std::conditional_t<std::is_convertible_v<const T&, std::string_view> && !enable_bytes<T>,
                                          std::string, std::decay_t<T>>;
    template <class T>
    static OwningType<T> owning(const T& fallback) {
        if constexpr (std::is_pointer_v<T>)
            return fallback != nullptr ? OwningType<T>(fallback) : OwningType<T>();
        else
            return OwningType<T>(fallback);
    }

    detail::Failure check_open() const noexcept {
        if (core_ != nullptr) return {};
        return {errc::not_found, "no store is open in this object"};
    }
    /// What an operation answers whose result this is; see `guard_bus_errors`.
    detail::Failure unless_lost(const detail::Failure& result) const noexcept {
        return core_->engine.unless_lost(result);
    }
    void check(const detail::Failure& failure) const {
        if (failure) detail::raise(failure, path());
    }
    void check(const detail::Failure& failure, const key_type& key) const {
        if (failure) detail::raise(failure, path(), key.view());
    }

    /// The bits of an optional scalar in two registers. GCC returns `std::optional` through the stack, byte by byte,
    /// and loading that in one piece stalls for longer than the look-up takes.
    struct Found {
        std::uint64_t bits;
        std::uint64_t yes;
    };
    template <class T>
    [[gnu::noinline]] Found get_scalar(const key_type& key) const {
        std::uint64_t bits = 0;
        typename Engine::TwoSlots two;
        // The engine is asked twice by way of `core_`, so that its address needs no register meanwhile.
        if (core_ != nullptr && core_->engine.template read_exact<sizeof(T)>(key, detail::Codec<T>::type, bits, two) &&
            core_->engine.had_no_incident()) [[likely]]
            return {bits, 1};
        return two ? get_newer<T>(key, two) : get_scalar_the_long_way<T>(key);
    }
    /// A function of its own, called last, because the choice among two slots needs registers whose old contents the
    /// way of one slot would have to save too.
    template <class T>
    [[gnu::noinline]] Found get_newer(const key_type& key, typename Engine::TwoSlots two) const {
        std::uint64_t bits = 0;
        if (core_->engine.template read_newer<sizeof(T)>(key, two, detail::Codec<T>::type, bits)) [[likely]]
            return {bits, 1};
        return get_scalar_the_long_way<T>(key);
    }
    template <class T>
    [[gnu::noinline]] Found get_scalar_the_long_way(const key_type& key) const {
        std::uint64_t bits = 0;
        if (core_ != nullptr &&
            core_->engine.template read_exact_steadily<sizeof(T)>(key, detail::Codec<T>::type, bits))
            return {bits, 1};
        std::optional<T> value;
        check(read_value(key, value), key);
        if (!value) return {0, 0};
        detail::Encoded encoded;
        detail::ignore(detail::Codec<T>::encode(*value, encoded));  // of a scalar it cannot fail
        return {encoded.bits, 1};
    }
    /// The short way alone, for a scalar of exactly this type, found before. `yes` = 0 says nothing.
    template <unsigned Bytes>
    [[gnu::noinline]] Found find_scalar(const key_type& key, Type type) const noexcept {
        std::uint64_t bits = 0;
        if (core_ == nullptr) return {0, 0};
        const Engine& engine = core_->engine;
        typename Engine::TwoSlots two;
        const bool found = (engine.template read_exact<Bytes>(key, type, bits, two) && engine.had_no_incident()) ||
                           (two && engine.template read_newer<Bytes>(key, two, type, bits)) ||
                           engine.template read_exact_steadily<Bytes>(key, type, bits);
        return {bits, found};
    }
    template <class T>
    bool read_scalar(const key_type& key, std::optional<T>& value) const noexcept {
        if constexpr (detail::Scalar<T>) {
            const Found found = find_scalar<sizeof(T)>(key, detail::Codec<T>::type);
            if (found.yes != 0) value = detail::Codec<T>::from_bits(found.bits);
            return found.yes != 0;
        } else {
            return false;
        }
    }

    // Each operation once, for both twins.

    template <detail::Scalar T>
    detail::Failure read_value(const key_type& key, std::optional<T>& value) const {
        detail::Encoded found;
        bool present = false;
        value.reset();
        if (detail::Failure failure = read_number(key, detail::Codec<T>::type, found, present)) return failure;
        return present ? detail::Codec<T>::convert(found.type, found.bits, value.emplace()) : detail::Failure{};
    }
    /// A number or boolean where one of type `wanted` is asked for: once for all types.
    detail::Failure read_number(const key_type& key, Type wanted, detail::Encoded& number, bool& present) const {
        detail::Failure failure = check_open();
        if (failure) return failure;
        const auto take = [&](const auto& stored) {
            number.type = stored.code.type;
            return detail::load_scalar(stored, wanted, number.bits);
        };
        const unsigned preferred = detail::layout::length_of_number(wanted);
        const detail::Presence presence = core_->engine.read(key, preferred, failure, take);
        if (presence == detail::Presence::failed) return failure;  // else it is of a try that did not count
        const Value* fallback = presence == detail::Presence::absent ? core_->defaults.find(key) : nullptr;
        present = presence == detail::Presence::present || fallback != nullptr;
        return fallback != nullptr ? fallback->lend(take) : detail::Failure{};
    }
    template <class T>
    detail::Failure read_value(const key_type& key, std::optional<T>& value) const {
        detail::Failure failure = check_open();
        if (failure) return failure;
        value.emplace();
        switch (core_->engine.read(key, detail::Codec<T>::preferred_length, failure,
                                   [&](const auto& stored) { return detail::Codec<T>::decode(stored, *value); })) {
            case detail::Presence::present: return {};
            case detail::Presence::failed: return failure;
            case detail::Presence::absent: break;
        }
        const Value* fallback = core_->defaults.find(key);
        if (fallback == nullptr)
            value.reset();
        else if constexpr (std::is_same_v<T, Value>)
            *value = *fallback;
        else
            return fallback->lend([&](const auto& stored) { return detail::Codec<T>::decode(stored, *value); });
        return {};
    }

    template <class T>
    static detail::Failure drop_mismatch(const detail::Failure& failure, std::optional<T>& value) noexcept {
        if (failure.code != errc::type_mismatch) return failure;
        value.reset();
        return {};
    }

    detail::Failure read_type(const key_type& key, std::optional<Type>& type) const noexcept {
        detail::Failure failure = check_open();
        if (failure) return failure;
        switch (core_->engine.read(key, detail::any_length, failure, [&](const auto& stored) {
            type = stored.code.type;
            return detail::Failure{};
        })) {
            case detail::Presence::present: return {};
            case detail::Presence::failed: return failure;
            case detail::Presence::absent: break;
        }
        type.reset();
        if (const Value* fallback = core_->defaults.find(key)) type = fallback->type();
        return {};
    }

    detail::Failure find(const key_type& key, bool& found) const noexcept {
        detail::Failure failure = check_open();
        if (failure) return failure;
        const detail::Presence presence = core_->engine.contains(key, failure);
        found = presence == detail::Presence::present;
        return presence == detail::Presence::failed ? failure : detail::Failure{};
    }

    /// A buffer, and whether it takes text only.
    struct Target {
        std::byte* data;
        std::size_t size;
        bool text_only;
    };
    template <class To>
    static Target span_of(To& buffer) noexcept {
        if constexpr (std::is_convertible_v<To&, std::span<char>>) {
            const std::span<char> span(buffer);
            return {reinterpret_cast<std::byte*>(span.data()), span.size(), true};
        } else {
            const std::span<std::byte> span(buffer);
            return {span.data(), span.size(), false};
        }
    }
    template <class To>
    detail::Presence checked_copy(const key_type& key, To& buffer, std::size_t& bytes) const {
        detail::Presence presence = detail::Presence::absent;
        check(copy_value(key, span_of(buffer), bytes, presence), key);
        return presence;
    }

    detail::Failure copy_value(const key_type& key, Target to, std::size_t& bytes,
                               detail::Presence& presence) const noexcept {
        detail::Failure failure = check_open();
        if (failure) return failure;
        const auto take = [&](const auto& stored) -> detail::Failure {
            const bool fits = to.text_only ? is_text(stored.code.type) : stored.code.type >= Type::ascii;
            if (!fits) return detail::mismatch(to.text_only ? Type::utf8 : Type::bytes, stored.code.type);
            detail::Extent where;
            if (detail::Failure problem = detail::extent(stored, where)) return problem;
            bytes = where.size;
            if (bytes > to.size)
                return {errc::value_too_long, "the value is longer than the buffer", detail::Fact::at_most(to.size),
                        detail::Fact::of_bytes(bytes)};
            stored.source.copy_out(where.offset, to.data, bytes);
            return {};
        };
        presence = core_->engine.read(key, detail::any_length, failure, take);
        if (presence == detail::Presence::failed) return failure;
        const Value* fallback = presence == detail::Presence::absent ? core_->defaults.find(key) : nullptr;
        if (fallback == nullptr) return {};
        presence = detail::Presence::present;
        return fallback->lend(take);
    }

    /// The short way for the commonest writes: a scalar in place of one of its type. False says nothing.
    template <class T>
    [[gnu::noinline]] bool write_scalar(const key_type& key, const T& value) noexcept {
        if constexpr (detail::Scalar<T>) {
            detail::Encoded encoded;
            detail::ignore(detail::Codec<T>::encode(value, encoded));  // of a scalar it cannot fail
            return core_ != nullptr && core_->engine.template put_exact<sizeof(T)>(key, encoded.type, encoded.bits);
        } else if constexpr (std::is_same_v<T, Value>) {
            if (core_ == nullptr || value.type() >= Type::ascii) return false;
            const detail::Encoded encoded = value.encoded();
            switch (detail::layout::length_of_number(encoded.type)) {
                case 0: return core_->engine.template put_exact<1>(key, encoded.type, encoded.bits);
                case 1: return core_->engine.template put_exact<2>(key, encoded.type, encoded.bits);
                case 2: return core_->engine.template put_exact<4>(key, encoded.type, encoded.bits);
                default: return core_->engine.template put_exact<8>(key, encoded.type, encoded.bits);
            }
        } else {
            return false;
        }
    }
    template <class T>
    detail::Failure write_value(const key_type& key, const T& value) noexcept {
        if (detail::Failure failure = check_open()) return failure;
        detail::Encoded encoded;
        if (detail::Failure failure = detail::Codec<T>::encode(value, encoded)) return failure;
        return unless_lost(core_->engine.put(key, encoded));
    }

    template <class T>
    detail::Failure write_if_absent(const key_type& key, const T& value, bool& done) noexcept {
        if (detail::Failure failure = check_open()) return failure;
        detail::Encoded encoded;
        if (detail::Failure failure = detail::Codec<T>::encode(value, encoded)) return failure;
        return unless_lost(core_->engine.put_if_absent(key, encoded, done));
    }
    template <class T, class Function>
    detail::Failure modify(const key_type& key, Function& function, T& value) {
        if (detail::Failure failure = check_open()) return failure;
        if (detail::Failure failure = core_->engine.check_process()) return failure;
        if (key.problem() != errc{}) return key.failure();
        for (bool done = false; !done;) {
            const std::uint32_t noted = core_->engine.note_key(key);
            std::optional<Value> found;
            if (detail::Failure failure = read_stored(key, found)) return failure;
            std::optional<T> before;
            if (detail::Failure failure = decode_found(key, found, before)) return failure;
            value = function(std::move(before));
            detail::Encoded encoded;
            if (detail::Failure failure = detail::Codec<T>::encode(value, encoded)) return failure;
            // Other keys share the counter, and the function may have changed some: then it is the value that counts.
            std::optional<Value> scratch = found;
            const auto is_same = [&](detail::Failure& failure) {
                return core_->engine.is_unchanged(key, noted) || holds(key, found, scratch, failure);
            };
            detail::Failure failure = core_->engine.put_if(key, encoded, done, is_same);
            if (failure = unless_lost(failure); failure) return failure;
        }
        return {};
    }
    /// The value in the file, without registered defaults.
    detail::Failure read_stored(const key_type& key, std::optional<Value>& value) const {
        detail::Failure failure;
        value.emplace();
        const detail::Presence presence = core_->engine.read(key, detail::any_length, failure,
                                                             [&](const auto& stored) { return value->load(stored); });
        if (presence == detail::Presence::failed) return failure;
        if (presence == detail::Presence::absent) value.reset();
        return {};
    }
    template <class T>
    detail::Failure decode_found(const key_type& key, const std::optional<Value>& found,
                                 std::optional<T>& value) const {
        const Value* from = found ? &*found : core_->defaults.find(key);
        if (from == nullptr) return {};
        value.emplace();
        return from->lend([&](const auto& stored) { return detail::Codec<T>::decode(stored, *value); });
    }
    /// True if the file holds just this for the key. Does not allocate: `scratch` is a copy of `wanted`.
    bool holds(const key_type& key, const std::optional<Value>& wanted, std::optional<Value>& scratch,
               detail::Failure& failure) const noexcept {
        bool same = false;
        const detail::Presence presence =
            core_->engine.read(key, detail::any_length, failure, [&](const auto& stored) -> detail::Failure {
                same = false;
                if (!wanted || stored.code.type != wanted->type()) return {};
                detail::Extent where;
                if (wanted->type() >= Type::ascii)
                    if (detail::Failure problem = detail::extent(stored, where)) return problem;
                if (wanted->type() >= Type::ascii && where.size != wanted->size()) return {};
                if (detail::Failure problem = scratch->load(stored)) return problem;
                same = *scratch == *wanted;
                return {};
            });
        return presence == detail::Presence::present ? same : presence == detail::Presence::absent && !wanted;
    }
    template <class Function>
    using ViewResult = std::decay_t<std::invoke_result_t<Function&, const BasicStore&>>;

    /// For messages of a copy: either file may be the one that is meant.
    std::string copying(std::string_view target) const {
        return std::string(path()).append(" to ").append(detail::printable(target, target.size()));
    }

    detail::Failure check_usable() const noexcept {
        if (detail::Failure failure = check_open()) return failure;
        return core_->engine.check_process();
    }
    template <class Function>
    detail::Failure look(const Function& function) const {
        static_assert(detail::has_pairs<Policies>,
                      "kvs::Store::view: a store with kvs::NoBackup does not count its changes. Leave kvs::NoBackup "
                      "out.");
        if (detail::Failure failure = check_usable()) return failure;
        return core_->engine.view(function);
    }
    detail::Failure read_version(std::uint64_t& version) const noexcept {
        static_assert(detail::has_pairs<Policies>, "kvs::Store::version: leave kvs::NoBackup out.");
        if (detail::Failure failure = check_usable()) return failure;
        version = core_->engine.version();
        return unless_lost({});
    }
    detail::Failure await_version(std::uint64_t seen, std::uint64_t nanoseconds,
                                  std::uint64_t& version) const noexcept {
        static_assert(detail::has_pairs<Policies>, "kvs::Store::wait_for_change: leave kvs::NoBackup out.");
        if (detail::Failure failure = check_usable()) return failure;
        const std::atomic<bool> never{false};
        version = core_->engine.wait_for_change(seen, nanoseconds, never);
        return unless_lost({});
    }
    static constexpr void check_watchable() noexcept {
        static_assert(detail::has_pairs<Policies>,
                      "kvs::Store::watch: a store with kvs::NoBackup does not count its changes. Leave kvs::NoBackup "
                      "out.");
        static_assert(can_watch || !detail::has_pairs<Policies>,
                      "kvs::Store::watch: callbacks come from another thread. Write kvs::SharedThreads or "
                      "kvs::SharedProcesses in place of kvs::Unshared.");
    }
    template <class Callback>
    detail::Failure begin_watch(Watch& watch, const key_type& key, Callback callback) {
        check_watchable();
        if (detail::Failure failure = check_usable()) return failure;
        return core_->watchers.watch(key, std::move(callback), watch);
    }
    template <class Callback>
    detail::Failure begin_watch_of_all(Watch& watch, Callback callback) {
        check_watchable();
        if (detail::Failure failure = check_usable()) return failure;
        return core_->watchers.watch_all(std::move(callback), watch);
    }

    detail::Failure remove(const key_type& key, bool& erased) noexcept {
        detail::Failure failure = check_open();
        if (failure) return failure;
        const detail::Presence presence = core_->engine.erase(key, failure);
        failure = unless_lost(presence == detail::Presence::failed ? failure : detail::Failure{});
        erased = !failure && presence == detail::Presence::present;
        return failure;
    }

    detail::Failure remove_all() noexcept {
        if (detail::Failure failure = check_open()) return failure;
        return unless_lost(core_->engine.clear());
    }
    detail::Failure add_defaults(std::initializer_list<Default<KeyLen>> defaults, const key_type*& invalid) {
        if (detail::Failure failure = check_open()) return failure;
        if (detail::Failure failure = core_->engine.check_process()) return failure;
        return core_->defaults.add(defaults, invalid,
                                   [&](const Value& value) { return core_->engine.check_length(value.encoded()); });
    }
    detail::Failure flush() noexcept {
        if (detail::Failure failure = check_open()) return failure;
        return unless_lost(core_->engine.sync());
    }
    detail::Failure copy(std::string_view path) const {
        if (detail::Failure failure = check_open()) return failure;
        return unless_lost(core_->engine.copy_to(path));
    }
    detail::Failure compact(std::string_view path) const {
        if (detail::Failure failure = check_open()) return failure;
        return unless_lost(core_->engine.compact_to(path));
    }
    detail::Failure check_all(Report& report) const {
        if (detail::Failure failure = check_open()) return failure;
        return unless_lost(core_->engine.verify(report));
    }
    detail::Failure mend(Report& report) {
        static_assert(detail::has_pairs<Policies>,
                      "kvs::Store::repair: a store with kvs::NoBackup has no second copies. Leave kvs::NoBackup out.");
        if (detail::Failure failure = check_open()) return failure;
        return unless_lost(core_->engine.repair(report));
    }
    detail::Failure apply(Batch<KeyLen>& batch) {
        static_assert(detail::has_pairs<Policies>,
                      "kvs::Store::batch: a store with kvs::NoBackup changes its file in place, one value at a time. "
                      "Leave kvs::NoBackup out.");
        if (detail::Failure failure = check_open()) return failure;
        if (batch.failure_) return batch.failure_;
        auto operations = batch.template operations<typename Engine::Operation>();
        std::size_t failed = operations.size();
        const detail::Failure failure = core_->engine.apply(operations, failed);
        if (failed < operations.size()) batch.failed_key_.assign(operations[failed].key.view());
        return unless_lost(failure);
    }
    detail::Failure count(Stats& stats) const {
        if (detail::Failure failure = check_open()) return failure;
        return unless_lost(core_->engine.stats(stats));
    }

    Core* core_ = nullptr;
};

/// A typed key-value store in one file, whose keys have up to `KeyLen` bytes. The policies, in any order and at most
/// one of each family: backup, checksum, sharing, index; see policies.hpp. The same policies in another order are the
/// same type. The members are those of `BasicStore`.
template <std::size_t KeyLen, class... Policies>
using Store = BasicStore<KeyLen, typename detail::Fold<Policies...>::type>;

/// The seed format and nothing else: every byte of its file is the original program's, values are updated in place, and
/// the threads of one process share it. See `NoBackup` for what it promises.
template <std::size_t KeyLen>
using SeedStore = Store<KeyLen, NoBackup, ChainIndex, SharedThreads>;

}  // namespace kvs

#endif  // KVS_STORE_HPP
