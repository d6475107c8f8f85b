// Registered defaults: values in memory that stand under those of the file.
//
// Readers take no lock: a registration builds a new sorted list and publishes it in one store; older lists are kept
// until the store is closed, because a reader may still be looking at one. Registration is for start-up, a few times.
#ifndef KVS_DETAIL_DEFAULTS_HPP
#define KVS_DETAIL_DEFAULTS_HPP

#include <algorithm>
#include <atomic>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

#include <kvs/detail/version_table.hpp>
#include <kvs/key.hpp>
#include <kvs/value.hpp>

namespace kvs {

/// One registered default: `{"volume", 0.8f}`. One that cannot be stored is reported where it is registered.
template <std::size_t KeyLen>
class Default {
public:
    template <class T>
    Default(const Key<KeyLen>& its_key, const T& its_value) : key(its_key) {
        if (key.problem() == errc{}) failure_ = value.take(its_value);
    }
    Default(const Key<KeyLen>& its_key, Value its_value = {}) : key(its_key), value(std::move(its_value)) {}

    /// Why it cannot be registered.
    detail::Failure failure() const noexcept { return key.problem() != errc{} ? key.failure() : failure_; }

    Key<KeyLen> key;
    Value value;

private:
    detail::Failure failure_;
};

namespace detail {

template <std::size_t KeyLen, class Platform>
class Defaults {
public:
    Defaults() noexcept = default;
    Defaults(const Defaults&) = delete;
    Defaults& operator=(const Defaults&) = delete;
    ~Defaults() {
        for (const List* list = newest_.load(std::memory_order_relaxed); list != nullptr;) {
            const List* older = list->older;
            delete list;
            list = older;
        }
    }

    /// Nothing is registered if a key or a value is not valid, or `check(value)` fails; `invalid` then points to the
    /// key.
    template <class Check>
    Failure add(std::initializer_list<Default<KeyLen>> entries, const Key<KeyLen>*& invalid, const Check& check) {
        for (const auto& entry : entries) {
            invalid = &entry.key;
            if (Failure failure = entry.failure()) return failure;
            if (Failure failure = check(entry.value)) return failure;
        }
        const Guard<typename Platform::Mutex> guard(registration_);
        const List* older = newest_.load(std::memory_order_relaxed);
        List merged;
        if (older != nullptr) merged.entries = older->entries;
        for (const auto& entry : entries) {
            const auto at = lower_bound(merged.entries, entry.key.view());
            if (at != merged.entries.end() && at->key == entry.key)
                merged.entries[static_cast<std::size_t>(at - merged.entries.begin())].value = entry.value;
            else
                merged.entries.insert(at, entry);
        }
        merged.older = older;
        newest_.store(new List(std::move(merged)), std::memory_order_release);
        return {};
    }

    /// The default of a key, or null. Valid until the store is closed. O(log defaults).
    const Value* find(const Key<KeyLen>& key) const noexcept {
        const List* list = newest_.load(std::memory_order_acquire);
        if (list == nullptr) return nullptr;
        const auto at = lower_bound(list->entries, key.view());
        return at != list->entries.end() && at->key == key ? &at->value : nullptr;
    }

private:
    using Entries = std::vector<Default<KeyLen>>;
    struct List {
        Entries entries;  // by key
        const List* older = nullptr;
    };

    static typename Entries::const_iterator lower_bound(const Entries& entries, std::string_view key) noexcept {
        return std::lower_bound(entries.begin(), entries.end(), key,
                                [](const Default<KeyLen>& a, std::string_view b) { return a.key.view() < b; });
    }

    std::atomic<const List*> newest_{nullptr};
    typename Platform::Mutex registration_;
};

}  // namespace detail
}  // namespace kvs

#endif  // KVS_DETAIL_DEFAULTS_HPP
