// How a store is opened.
#ifndef KVS_OPTIONS_HPP
#define KVS_OPTIONS_HPP

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <kvs/weights.hpp>

namespace kvs {

/// What to do about a file that exists, and one that does not.
enum class Mode : std::uint8_t {
    open_or_create,  ///< open the file; make it if there is none
    open_existing,   ///< `not_found` if there is none
    create_new,      ///< `already_exists` if there is one
    read_only,       ///< `not_found` if there is none; nothing is ever written, and writes fail with `read_only`
};

namespace detail {

/// Anything like `std::chrono::duration`, known by its shape so that `<chrono>` need not be included.
template <class T>
concept Duration = requires(const T& span) {
    span.count();
    T::period::num;
    T::period::den;
};

}  // namespace detail

/// When the file is brought to the device, apart from `sync()` and close, which always do. Until then a write survives
/// the death of the process, but not a power cut.
class SyncPolicy {
public:
    enum class Kind : std::uint8_t { every, manual, each };

    constexpr SyncPolicy(Kind kind, std::uint64_t nanoseconds) noexcept : kind_(kind), nanoseconds_(nanoseconds) {}

    constexpr Kind kind() const noexcept { return kind_; }
    constexpr std::uint64_t nanoseconds() const noexcept { return nanoseconds_; }

private:
    Kind kind_;
    std::uint64_t nanoseconds_;
};

namespace detail {

/// Negative ones count as zero, long ones as about 30 years.
template <Duration Span>
constexpr std::uint64_t nanoseconds_of(const Span& span) noexcept {
    constexpr long double second = 1'000'000'000;
    constexpr long double longest = 1e18L;
    long double ns = static_cast<long double>(span.count()) * second * Span::period::num / Span::period::den;
    if (!(ns > 0)) ns = 0;
    if (ns > longest) ns = longest;
    return static_cast<std::uint64_t>(ns);
}

}  // namespace detail

/// A thread of the store syncs at the latest this long after a write; it sleeps while there is nothing to sync.
/// Takes any `std::chrono` duration; negative ones count as zero.
template <detail::Duration Span>
constexpr SyncPolicy sync_every(const Span& interval) noexcept {
    return {SyncPolicy::Kind::every, detail::nanoseconds_of(interval)};
}

/// Only `sync()` and close.
inline constexpr SyncPolicy sync_manual{SyncPolicy::Kind::manual, 0};

/// Before every write returns: with one flush where a value takes the place of one of the same length, else with two.
inline constexpr SyncPolicy sync_each{SyncPolicy::Kind::each, 0};

/// When a read checks the checksum of the value it returns.
enum class Verify : std::uint8_t {
    always,       ///< in every read
    after_crash,  ///< only in a store that was not closed cleanly; else `verify()` finds what is damaged
};

/// Damage that a read met and got round.
struct Damage {
    std::string_view key;      ///< valid during the call
    std::uint64_t offset = 0;  ///< of the record in the file
};

/// Any function that takes a `const kvs::Damage&`, or none. Called by the thread that reads, outside of all locks, so
/// that it may use the store, and `repair` it; not called for what it meets itself. It must not throw.
class DamageHandler {
public:
    DamageHandler() noexcept = default;
    template <class Function>
    requires(std::is_invocable_v<const Function&, const Damage&> && !std::is_same_v<Function, DamageHandler>)
        DamageHandler(Function function)
        : holder_(new Holder<Function>(std::move(function))) {}
    DamageHandler(const DamageHandler& other) : holder_(other.holder_ != nullptr ? other.holder_->clone() : nullptr) {}
    DamageHandler(DamageHandler&& other) noexcept : holder_(std::exchange(other.holder_, nullptr)) {}
    DamageHandler& operator=(DamageHandler other) noexcept {
        std::swap(holder_, other.holder_);
        return *this;
    }
    ~DamageHandler() { delete holder_; }

    explicit operator bool() const noexcept { return holder_ != nullptr; }
    void operator()(const Damage& damage) const {
        if (holder_ != nullptr) holder_->call(damage);
    }

private:
    struct Base {
        Base() noexcept = default;
        Base(const Base&) = delete;
        Base& operator=(const Base&) = delete;
        virtual ~Base() = default;
        virtual void call(const Damage& damage) const = 0;
        virtual Base* clone() const = 0;
    };
    template <class Function>
    struct Holder final : Base {
        explicit Holder(Function f) : function(std::move(f)) {}
        void call(const Damage& damage) const override { function(damage); }
        Base* clone() const override { return new Holder(function); }
        Function function;
    };

    const Base* holder_ = nullptr;
};

/// The options of a store. An aggregate: `{.mode = kvs::Mode::read_only}`.
struct Options {
    Mode mode = Mode::open_or_create;

    /// See `sync_every`, `sync_manual`, `sync_each`. The default is one second.
    SyncPolicy sync{SyncPolicy::Kind::every, 1'000'000'000};

    /// The value lengths of a file that is created; an existing file keeps its own.
    Weights weights{};

    /// The mode bits of a file that is created, less those of the process's umask.
    unsigned permissions = 0600;

    /// See `Verify`. Stores with `AbBackup` only.
    Verify verify = Verify::always;

    /// Called when a read meets damage and answers with the other copy of the value. Stores with `AbBackup` only.
    DamageHandler on_damage{};

    /// A file all of whose superblock pages are damaged is opened all the same, its state rebuilt from the records that
    /// can still be reached. What was written since the last sync may be among it, and what was cleared, or erased
    /// since the last sync, may be back; of a key that was set again since it was cleared, only the newest value that
    /// is whole. Refused if what is left of header and superblocks does not say that the file is of such a store.
    /// Stores with `AbBackup` only.
    bool salvage = false;
};

}  // namespace kvs

#endif  // KVS_OPTIONS_HPP
