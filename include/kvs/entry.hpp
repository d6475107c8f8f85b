// Iteration over a store.
#ifndef KVS_ENTRY_HPP
#define KVS_ENTRY_HPP

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>

#include <kvs/detail/lookup.hpp>
#include <kvs/value.hpp>

namespace kvs {

/// A key and its value as they were at one moment. Owns its bytes: a copy stays when the iterator moves on.
class Entry {
public:
    /// The bytes of the key, without padding.
    std::string_view key() const noexcept { return item_.key; }
    Type type() const noexcept { return item_.code.type; }

    /// The value. Throws `corrupt` if its bytes are damaged.
    Value value() const { return get<Value>(); }
    Value value(std::error_code& error) const noexcept { return get<Value>(error); }

    /// The value as a `T`, converted as `Store::get` does. Throws `type_mismatch` or `corrupt`.
    template <class T>
    T get() const {
        T value{};
        if (detail::Failure failure = decode(value)) detail::raise(failure, {}, item_.key);
        return value;
    }
    /// The same; a value-initialised `T` goes with an error.
    template <class T>
    T get(std::error_code& error) const noexcept {
        T value{};
        detail::guarded(error, [&] { return decode(value); });
        return value;
    }

private:
    template <class Engine>
    friend class Iterator;

    template <class T>
    detail::Failure decode(T& value) const {
        if (!item_.code.known) return {errc::corrupt, "the iterator found damage here, and no entry"};
        if (item_.is_payload) {
            const detail::PayloadSource source({reinterpret_cast<const char*>(item_.field.data()), item_.field.size()});
            return detail::Codec<T>::decode(detail::Stored<detail::PayloadSource>{source, 0, item_.code}, value);
        }
        const detail::LocalSource source(item_.field.data());
        return detail::Codec<T>::decode(detail::Stored<detail::LocalSource>{source, 0, item_.code}, value);
    }

    detail::Item item_;
};

/// A single-pass iterator over the entries of a store, in no particular order. Safe while others write: a key that is
/// there all the time is seen once; one that comes, goes or changes the length of its value meanwhile is seen or not,
/// or twice. Each entry is whole. Stays valid as long as the store is open.
template <class Engine>
class Iterator {
public:
    using value_type = Entry;
    using reference = const Entry&;
    using pointer = const Entry*;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    /// The end of any store.
    Iterator() noexcept = default;

    /// Before the first entry: `increment` or `++` moves to it.
    explicit Iterator(const Engine& engine) noexcept : engine_(&engine) {}

    reference operator*() const noexcept { return entry_; }
    pointer operator->() const noexcept { return &entry_; }

    /// Throws `corrupt` where the file is damaged; there is no entry then, and the next increment goes on behind it.
    Iterator& operator++() {
        const Engine* engine = engine_;
        if (detail::Failure failure = advance()) detail::raise(failure, engine->path());
        return *this;
    }
    void operator++(int) { ++*this; }

    /// The same, reporting by code: `++` with a twin, as `std::filesystem::directory_iterator` has it.
    Iterator& increment(std::error_code& error) noexcept {
        detail::guarded(error, [&] { return advance(); });
        return *this;
    }

    /// True for two ends, and for two iterators at the same entry.
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept {
        return a.engine_ == b.engine_ && (a.engine_ == nullptr || (a.position_.bucket == b.position_.bucket &&
                                                                   a.position_.record == b.position_.record));
    }

private:
    detail::Failure advance() {
        detail::Failure failure;
        if (engine_ == nullptr) return failure;
        const detail::Presence presence = engine_->next(position_, entry_.item_, failure);
        if (presence == detail::Presence::present) return {};
        entry_.item_ = {};
        // Behind the last bucket there is nothing to go on to.
        if (presence == detail::Presence::absent || position_.bucket == detail::layout::bucket_count) engine_ = nullptr;
        return presence == detail::Presence::failed ? failure : detail::Failure{};
    }

    const Engine* engine_ = nullptr;
    detail::Position position_;
    Entry entry_;
};

}  // namespace kvs

#endif  // KVS_ENTRY_HPP
