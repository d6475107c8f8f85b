// Several changes of a store that happen together.
#ifndef KVS_BATCH_HPP
#define KVS_BATCH_HPP

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include <kvs/detail/codec.hpp>
#include <kvs/error.hpp>
#include <kvs/key.hpp>
#include <kvs/setting.hpp>

namespace kvs {

/// What `Store::batch` hands to its function: notes sets and erases, in the order in which they are to count. Owns
/// copies of keys and values. Of one thread.
template <std::size_t KeyLen>
class Batch {
public:
    using key_type = Key<KeyLen>;

    Batch() noexcept = default;
    /// A function that took its batch by value would note everything in a copy.
    Batch(const Batch&) = delete;
    Batch& operator=(const Batch&) = delete;

    /// Notes a value. A key or a value that cannot be stored makes the whole batch fail, with that error.
    template <class T>
    void set(const key_type& key, const T& value) {
        Entry entry{key, false, {}, {}};
        note(key.failure(), key);
        note(detail::Codec<T>::encode(value, entry.value), key);
        if (entry.value.size != 0)
            entry.payload.assign(reinterpret_cast<const char*>(entry.value.data), entry.value.size);
        entries_.push_back(std::move(entry));
    }
    template <class T>
    void set(const Setting<T>& setting, const std::type_identity_t<T>& value) {
        set(setting.template key<KeyLen>(), value);
    }

    /// Notes that a key goes; one that is absent then is no error.
    void erase(const key_type& key) {
        note(key.failure(), key);
        entries_.push_back({key, true, {}, {}});
    }
    template <class T>
    void erase(const Setting<T>& setting) {
        erase(setting.template key<KeyLen>());
    }

    std::size_t size() const noexcept { return entries_.size(); }
    bool empty() const noexcept { return entries_.empty(); }

private:
    template <std::size_t, class>
    friend class BasicStore;

    struct Entry {
        key_type key;
        bool erases;
        detail::Encoded value;
        std::string payload;
    };

    /// The first failure is the batch's.
    void note(const detail::Failure& failure, const key_type& key) {
        if (!failure || failure_) return;
        failure_ = failure;
        failed_key_.assign(key.view());
    }

    template <class Operation>
    std::vector<Operation> operations() const {
        std::vector<Operation> all;
        all.reserve(entries_.size());
        for (const Entry& entry : entries_) {
            detail::Encoded value = entry.value;
            value.data = reinterpret_cast<const std::byte*>(entry.payload.data());
            all.push_back({entry.key, entry.erases, value});
        }
        return all;
    }

    std::vector<Entry> entries_;
    detail::Failure failure_;
    std::string failed_key_;
};

}  // namespace kvs

#endif  // KVS_BATCH_HPP
