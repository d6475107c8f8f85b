// Typed handles: name, type and fallback of a setting, said once.
#ifndef KVS_SETTING_HPP
#define KVS_SETTING_HPP

#include <string_view>
#include <type_traits>
#include <utility>

#include <kvs/key.hpp>

namespace kvs {

/// A named value of type `T` with the fallback that is used while the store has none:
///
///     inline const kvs::Setting<float> volume{"volume", 0.8f};
///     float v = prefs[volume];
///     prefs[volume] = 0.5f;
///
/// Belongs to no store and can be used with any. The name must outlive the handle, as a literal does. Hashing happens
/// once, at compile time for a `constexpr` handle; the name is checked against the key length at each use.
template <class T>
class Setting {
public:
    constexpr Setting(std::string_view name, T fallback) : name_(name), fallback_(std::move(fallback)) {}

    constexpr std::string_view name() const noexcept { return name_.name; }
    constexpr const T& fallback() const noexcept { return fallback_; }

    /// The key in a store of this key length.
    template <std::size_t KeyLen>
    constexpr Key<KeyLen> key() const noexcept {
        return Key<KeyLen>(name_);
    }

private:
    detail::HashedName name_;
    T fallback_;
};

namespace detail {

template <class T>
constexpr bool is_negative(T number) noexcept {
    if constexpr (std::is_signed_v<T>)
        return number < 0;
    else
        return false;
}
/// `a == b`, and -1 is no unsigned number.
template <class A, class B>
constexpr bool same_number(A a, B b) noexcept {
    using Both = std::common_type_t<A, B>;
    return is_negative(a) == is_negative(b) && static_cast<Both>(a) == static_cast<Both>(b);
}

}  // namespace detail

/// What `store[setting]` is: converts to a `T`, and assigning to it sets. Refers to the store and the handle. Where a
/// `T` has to be deduced, write `store.get(setting)`.
template <class Store, class T>
class SettingReference {
public:
    SettingReference(Store& store, const Setting<T>& setting) noexcept : store_(store), setting_(setting) {}

    operator T() const { return store_.get(setting_); }
    const SettingReference& operator=(const T& value) const {
        store_.set(setting_, value);
        return *this;
    }
    const SettingReference& operator=(const SettingReference& other) const { return *this = static_cast<T>(other); }
    SettingReference(const SettingReference&) = default;

    friend bool operator==(const SettingReference& a, const SettingReference& b) {
        return static_cast<T>(a) == static_cast<T>(b);
    }
    friend bool operator==(const SettingReference& setting, const T& value) requires(!std::is_arithmetic_v<T>) {
        return static_cast<T>(setting) == value;
    }
    /// Numbers of any types: `prefs[lives] == 3`. What was set to 0.8 equals 0.8, also as a `float`.
    template <class Number>
    requires(std::is_arithmetic_v<T>&& std::is_arithmetic_v<Number>) friend bool operator==(
        const SettingReference& setting, Number value) {
        if constexpr (std::is_floating_point_v<T> && std::is_floating_point_v<Number>)
            return static_cast<T>(setting) == static_cast<T>(value);
        else
            return detail::same_number(static_cast<T>(setting), value);
    }

private:
    Store& store_;
    const Setting<T>& setting_;
};

}  // namespace kvs

#endif  // KVS_SETTING_HPP
