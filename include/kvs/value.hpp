// A value of any storable type, as `value()` and iteration return it.
#ifndef KVS_VALUE_HPP
#define KVS_VALUE_HPP

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <kvs/detail/codec.hpp>
#include <kvs/error.hpp>
#include <kvs/type.hpp>

namespace kvs {

/// A stored value with its type. A value like any other: copied, compared, kept after the store is closed.
class Value {
public:
    /// The boolean false.
    Value() noexcept = default;

    /// Of any storable type. Throws `not_text` for a string that is no text.
    template <class T>
    requires(!std::is_same_v<std::remove_cvref_t<T>, Value>) Value(const T& value) {
        if (detail::Failure failure = take(value)) detail::raise(failure, {});
    }

    Type type() const noexcept { return type_; }

    /// The value as a `T`, converted as `Store::get` does. Throws `type_mismatch`.
    template <class T>
    T get() const;

    /// The value as a `T`, or nothing if it is of another type or does not fit exactly.
    template <class T>
    std::optional<T> get_if() const;

    /// The characters of text; empty for other types. Valid as long as the value is.
    std::string_view text() const noexcept { return is_text(type_) ? payload_ : std::string_view{}; }

    /// The bytes of text or bytes; empty for other types. Valid as long as the value is.
    std::span<const std::byte> bytes() const noexcept {
        return {reinterpret_cast<const std::byte*>(payload_.data()), payload_.size()};
    }

    /// The bytes of the value: 1 to 8 of a number, 1 of a boolean, the length of text or bytes.
    std::size_t size() const noexcept {
        return type_ < Type::ascii
                   ? static_cast<std::size_t>(detail::layout::value_bytes(detail::layout::length_of_number(type_)))
                   : payload_.size();
    }

    /// Same type and same bits; so a NaN equals itself, and 0.0 does not equal -0.0.
    bool operator==(const Value&) const = default;

    // ---- for the library -------------------------------------------------------------------------------------------

    detail::Encoded encoded() const noexcept {
        return {type_, bits_, reinterpret_cast<const std::byte*>(payload_.data()), payload_.size()};
    }

    /// Becomes a copy of any storable value; nothing has changed if it cannot be stored.
    template <class T>
    detail::Failure take(const T& value) {
        if constexpr (std::is_same_v<T, Value>) {
            *this = value;
        } else {
            detail::Encoded encoded;
            if (detail::Failure failure = detail::Codec<T>::encode(value, encoded)) return failure;
            type_ = encoded.type;
            bits_ = encoded.bits;
            payload_.clear();
            if (encoded.size != 0) payload_.assign(reinterpret_cast<const char*>(encoded.data), encoded.size);
        }
        return {};
    }

    /// Takes over a value where it lies.
    template <class Source>
    detail::Failure load(const detail::Stored<Source>& stored) {
        type_ = stored.code.type;
        bits_ = 0;
        payload_.clear();
        if (type_ >= Type::ascii) return detail::load_payload(stored, payload_);
        if (detail::Failure failure = detail::load_number(stored, bits_)) return failure;
        if (type_ == Type::boolean && bits_ != 0) bits_ = detail::layout::true_byte;
        return {};
    }

    /// Shows the value to `use(Stored<Source>)` as it would lie in a file, so that one decoder serves both.
    template <class Use>
    detail::Failure lend(Use use) const;

private:
    Type type_ = Type::boolean;
    std::uint64_t bits_ = 0;
    std::string payload_;
};

namespace detail {

/// Text and bytes of a `Value`, which keeps them without count and padding.
class PayloadSource {
public:
    explicit PayloadSource(std::string_view payload) noexcept : payload_(payload) {}
    template <unsigned Bytes>
    std::uint64_t load(std::uint64_t) const noexcept {
        return payload_.size();  // the count before the bytes is the only number a payload's decoder reads
    }
    void copy_out(std::uint64_t, std::byte* to, std::size_t bytes) const noexcept {
        if (bytes != 0) std::memcpy(to, payload_.data(), bytes);
    }
    std::size_t text_length(std::uint64_t, std::size_t) const noexcept { return payload_.size(); }

private:
    std::string_view payload_;
};

template <>
struct Codec<Value> {
    static constexpr unsigned preferred_length = any_length;
    static Failure encode(const Value& value, Encoded& encoded) noexcept {
        encoded = value.encoded();
        return {};
    }
    template <class Source>
    static Failure decode(const Stored<Source>& stored, Value& value) {
        return value.load(stored);
    }
};

}  // namespace detail

namespace detail {

/// The value of a record that was copied out of a store.
template <class Item>
Failure load_item(const Item& item, Value& value) {
    if (item.is_payload) {
        const PayloadSource source({reinterpret_cast<const char*>(item.field.data()), item.field.size()});
        return value.load(Stored<PayloadSource>{source, 0, item.code});
    }
    const LocalSource source(item.field.data());
    return value.load(Stored<LocalSource>{source, 0, item.code});
}

}  // namespace detail

template <class Use>
detail::Failure Value::lend(Use use) const {
    using namespace detail;
    if (type_ >= Type::ascii) {
        const PayloadSource source(payload_);
        return use(Stored<PayloadSource>{source, 0, {type_, payload_length, false, true}});
    }
    std::byte field[8];
    const unsigned length = layout::length_of_number(type_);
    store_big_endian<8>(field, bits_ << 8 * (8 - layout::value_bytes(length)));
    const LocalSource source(field);
    return use(Stored<LocalSource>{source, 0, {type_, static_cast<std::uint8_t>(length), false, true}});
}

template <class T>
T Value::get() const {
    T value{};
    if (detail::Failure failure = lend([&](const auto& stored) { return detail::Codec<T>::decode(stored, value); }))
        detail::raise(failure, {});
    return value;
}

template <class T>
std::optional<T> Value::get_if() const {
    std::optional<T> value(std::in_place);
    if (lend([&](const auto& stored) { return detail::Codec<T>::decode(stored, *value); })) value.reset();
    return value;
}

}  // namespace kvs

#endif  // KVS_VALUE_HPP
