// A store beside a std::map: tens of thousands of random operations on both, and every answer compared. Whenever a seed
// store has been closed, the walker (a second reader, see tests/support/walker.hpp) must find in the file exactly what
// the map holds, and nothing that the format forbids.
#pragma once

#include <kvs/kvs.hpp>

#include <algorithm>
#include <bit>
#include <cfloat>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/pair_walker.hpp"
#include "../support/temp_dir.hpp"
#include "../support/walker.hpp"

namespace kvs_test::model {

static_assert(LDBL_MANT_DIG >= 64, "long double holds every number that a store holds");

/// A value as the map holds it.
struct Held {
    kvs::Type type{};
    std::uint64_t bits = 0;  ///< of a number or boolean
    std::string payload;     ///< of text and bytes

    bool operator==(const Held&) const = default;

    bool is_number() const { return type < kvs::Type::boolean; }
    bool is_text() const { return type == kvs::Type::ascii || type == kvs::Type::utf8; }

    /// A number's value; a double is one too, exactly.
    long double number() const {
        switch (type) {
            case kvs::Type::i8: return static_cast<std::int8_t>(bits);
            case kvs::Type::i16: return static_cast<std::int16_t>(bits);
            case kvs::Type::i32: return static_cast<std::int32_t>(bits);
            case kvs::Type::i64: return static_cast<long double>(static_cast<std::int64_t>(bits));
            case kvs::Type::f32: return std::bit_cast<float>(static_cast<std::uint32_t>(bits));
            case kvs::Type::f64: return std::bit_cast<double>(bits);
            default: return static_cast<long double>(bits);
        }
    }
};

template <class T>
constexpr kvs::Type type_of() {
    if constexpr (std::is_same_v<T, bool>) return kvs::Type::boolean;
    if constexpr (std::is_same_v<T, float>) return kvs::Type::f32;
    if constexpr (std::is_same_v<T, double>) return kvs::Type::f64;
    if constexpr (sizeof(T) == 1) return std::is_signed_v<T> ? kvs::Type::i8 : kvs::Type::u8;
    if constexpr (sizeof(T) == 2) return std::is_signed_v<T> ? kvs::Type::i16 : kvs::Type::u16;
    if constexpr (sizeof(T) == 4) return std::is_signed_v<T> ? kvs::Type::i32 : kvs::Type::u32;
    return std::is_signed_v<T> ? kvs::Type::i64 : kvs::Type::u64;
}

/// The bytes of a number, as one integer.
template <class T>
std::uint64_t bits_of(T value) {
    if constexpr (std::is_same_v<T, bool>) return value ? 0xff : 0;
    if constexpr (std::is_same_v<T, float>) return std::bit_cast<std::uint32_t>(value);
    if constexpr (std::is_same_v<T, double>) return std::bit_cast<std::uint64_t>(value);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        std::uint64_t bits = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i)
            bits |= static_cast<std::uint64_t>(static_cast<std::uint8_t>(value >> (8 * i))) << 8 * i;
        return bits;
    }
}
template <class T>
Held held(T number) {
    return {type_of<T>(), bits_of(number), {}};
}

using Numbers = std::tuple<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t, std::int8_t, std::int16_t,
                           std::int32_t, std::int64_t, float, double>;

/// Calls `use.operator()<T>()` for the number type with this place in `Numbers`.
template <class Use>
void with_number_type(std::size_t index, Use use) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
        ((I == index ? use.template operator()<std::tuple_element_t<I, Numbers>>() : void()), ...);
    }
    (std::make_index_sequence<std::tuple_size_v<Numbers>>());
}

/// A held value as a `T`, if there is exactly such a `T`.
template <class T>
std::optional<T> converted(const Held& value) {
    if (!value.is_number()) return std::nullopt;
    const long double number = value.number();
    if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(number)) return std::numeric_limits<T>::quiet_NaN();
        if (!std::isinf(number) && std::fabs(number) > static_cast<long double>(std::numeric_limits<T>::max()))
            return std::nullopt;
        const T as = static_cast<T>(number);
        return static_cast<long double>(as) == number ? std::optional(as) : std::nullopt;
    } else {
        if (!(number >= static_cast<long double>(std::numeric_limits<T>::min()) &&
              number <= static_cast<long double>(std::numeric_limits<T>::max()) && std::floor(number) == number))
            return std::nullopt;
        return static_cast<T>(number);
    }
}

template <class T>
bool same(const std::optional<T>& a, const std::optional<T>& b) {
    if (!a || !b) return a.has_value() == b.has_value();
    if constexpr (std::is_floating_point_v<T>)
        if (std::isnan(*a) && std::isnan(*b)) return true;
    return bits_of(*a) == bits_of(*b);
}

/// What a store returned, taken over by the public functions of a value.
inline Held held_from(const kvs::Value& value) {
    Held result{value.type(), 0, {}};
    if (value.type() == kvs::Type::boolean) {
        result.bits = bits_of(value.get<bool>());
    } else if (result.is_number()) {
        for (std::size_t i = 0; i < std::tuple_size_v<Numbers>; ++i)
            with_number_type(i, [&]<class T>() {
                if (type_of<T>() == value.type()) result.bits = bits_of(value.get<T>());
            });
    } else {
        const auto bytes = value.bytes();
        result.payload.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    return result;
}

inline std::vector<std::byte> bytes_of(const std::string& payload) {
    const auto* begin = reinterpret_cast<const std::byte*>(payload.data());
    return {begin, begin + payload.size()};
}

/// Around every value length that a file can have, for text and for bytes with their count.
inline std::size_t random_size(Campaign& campaign) {
    const std::uint64_t kind = campaign.pick(100);
    if (kind < 40) return static_cast<std::size_t>(campaign.pick(40));
    const std::uint64_t log2 = kind < 85   ? 4 + campaign.pick(5)
                               : kind < 97 ? 9 + campaign.pick(4)
                                           : 13 + campaign.pick(4);
    const std::uint64_t size = (std::uint64_t{1} << log2) - 3 + campaign.pick(5);
    return static_cast<std::size_t>(size > 65536 ? 65536 : size);
}

inline std::string random_text(Campaign& campaign, std::size_t size, bool ascii) {
    static constexpr std::string_view characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xc2\x80"};
    std::string text;
    const auto first = static_cast<char>(1 + campaign.pick(127));
    while (text.size() < size) {
        const std::string_view next =
            ascii || campaign.one_in(3) ? std::string_view(&first, 1) : characters[campaign.pick(4)];
        text += next.size() <= size - text.size() ? next : std::string_view("x");
    }
    if (!text.empty() && ascii) text.back() = static_cast<char>(1 + campaign.pick(127));
    return text;
}

template <class T>
T random_number(Campaign& campaign) {
    if constexpr (std::is_same_v<T, bool>) {
        return campaign.one_in(2);
    } else if constexpr (std::is_floating_point_v<T>) {
        using Limits = std::numeric_limits<T>;
        const T special[] = {T{0},
                             -T{0},
                             Limits::infinity(),
                             -Limits::infinity(),
                             Limits::quiet_NaN(),
                             Limits::max(),
                             Limits::min(),
                             Limits::denorm_min(),
                             T{1},
                             T{-1.5},
                             T{16777216},
                             T{255},
                             T{-128}};
        if (campaign.one_in(2)) return special[campaign.pick(std::size(special))];
        if (campaign.one_in(2))
            return static_cast<T>(static_cast<std::int64_t>(campaign.random()()) >> campaign.pick(64));
        if constexpr (sizeof(T) == 4)
            return std::bit_cast<T>(static_cast<std::uint32_t>(campaign.random()()));
        else
            return std::bit_cast<T>(campaign.random()());
    } else {
        using Limits = std::numeric_limits<T>;
        const T special[] = {Limits::min(), Limits::max(),      T{0},
                             T{1},          static_cast<T>(-1), static_cast<T>(Limits::max() - 1)};
        if (campaign.one_in(2)) return special[campaign.pick(std::size(special))];
        return static_cast<T>(campaign.random()() >> campaign.pick(64));
    }
}

/// The hash of a key in a file of this key length, by FORMAT.md.
class Hash {
public:
    explicit Hash(std::size_t key_length) : key_length_(key_length) {
        for (std::size_t i = 0; i <= key_length; ++i) powers_.push_back(i == 0 ? 1 : powers_.back() * prime);
    }
    std::uint32_t operator()(const std::string& key) const {
        std::uint32_t hash = 2166136261u;
        for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * prime;
        return hash * powers_[key_length_ - key.size()];
    }

private:
    static constexpr std::uint32_t prime = 16777619;
    std::size_t key_length_;
    std::vector<std::uint32_t> powers_;
};

/// The keys of a test: few, so that they meet often.
inline std::vector<std::string> make_keys(Campaign& campaign, std::size_t key_length) {
    std::vector<std::string> keys;
    const auto add = [&](const std::string& key) {
        const bool good = key.size() == key_length ? key.back() != '\0'
                                                   : key.size() < key_length && key.find('\0') == std::string::npos;
        if (good && !key.empty()) keys.push_back(key);
    };
    const auto random_key = [&](std::size_t length) {
        std::string key(length, ' ');
        for (char& c : key) c = static_cast<char>(1 + campaign.pick(255));
        return key;
    };
    for (int i = 0; i < 30; ++i) add("k" + std::to_string(i));
    for (int i = 0; i < 12; ++i) add(random_key(1));
    for (std::size_t length = 2; length < key_length; length *= 2) add(random_key(length));
    for (int i = 0; i < 8; ++i) add(random_key(key_length));
    // Keys that fill the key length may hold NULs, but for the last byte.
    for (int i = 0; i < 6; ++i) {
        std::string key = random_key(key_length);
        key[campaign.pick(key_length)] = '\0';
        add(key);
        for (char& c : key) c = campaign.one_in(2) || &c == &key.back() ? c : '\0';
        add(key);
        add(std::string(key_length - 1, '\0') + random_key(1));
    }
    // Keys that share a bucket with the first: in every value length that has one group, and in many of the others.
    const Hash hash(key_length);
    std::size_t sharing = 0;
    for (std::uint64_t i = 0; sharing < 14 && key_length > 6; ++i) {
        const std::string key = "c" + std::to_string(i);
        if ((hash(key) & 0xfff) != (hash(keys.front()) & 0xfff)) continue;
        add(key);
        ++sharing;
    }
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    return keys;
}

/// What a model is whatever its store.
class ModelBase {
public:
    std::uint64_t operations() const { return operations_; }

protected:
    using Map = std::map<std::string, Held>;

    ModelBase(Campaign& campaign, std::size_t key_length, kvs::Weights weights)
        : campaign_(campaign), key_length_(key_length), weights_(weights), keys_(make_keys(campaign, key_length)) {}

    std::string path() const { return dir_.file(); }
    const std::string& any_key() { return keys_[campaign_.pick(keys_.size())]; }

    /// Stops the test; what the model did last is in the message.
    void expect(bool good, const char* what) const {
        if (!good) fail(what);
    }

    [[gnu::noinline]] void fail(const char* what) const {
        std::string shown;
        for (const char c : key_.substr(0, 100))
            shown += c >= ' ' && c <= '~' ? std::string(1, c) : "\\" + std::to_string(static_cast<unsigned char>(c));
        INFO(campaign_.replay());
        INFO("operation " << operations_ << ": " << doing_ << ", key \"" << shown << "\" of " << key_.size()
                          << " bytes, " << map_.size() << " keys, weights " << std::hex << weights_.header());
        FAIL("not as in the map: " << what);
    }

    const Held* held_at(const Map& map, const std::string& key) const {
        const auto at = map.find(key);
        return at != map.end() ? &at->second : nullptr;
    }

    void expect_entry(const Map& map, const kvs::Entry& entry) const {
        const auto at = map.find(std::string(entry.key()));
        expect(at != map.end(), "iteration finds a key that is there");
        expect(entry.type() == at->second.type, "type of an entry");
        expect(held_from(entry.value()) == at->second, "value of an entry");
    }

    /// The second reader on a file that nobody has open.
    kvs_test::Walk walk(const std::string& file) const {
        const kvs_test::Walk walk = kvs_test::walk_file(file);
        if (!walk.ok()) {
            INFO(walk.text());
            fail("the walker finds the file in order");
        }
        expect(walk.key_length == key_length_ && walk.weights == weights_.header(), "header");
        expect(walk.live_end == walk.file_bytes, "a closed file ends behind its last record");
        expect(walk.unreached_bytes == 0, "every byte behind the index is in a record");
        expect(walk.records == walk.deleted + map_.size(), "every record is a key's or deleted");
        expect(walk.entries.size() == map_.size(), "the walker finds as many keys");
        const std::vector<std::uint64_t> lengths = walk.lengths();
        for (const auto& [key, value] : map_) {
            const auto at = walk.entries.find(key);
            expect(at != walk.entries.end(), "the walker finds every key");
            const kvs_test::Walked& entry = at->second;
            const auto type = static_cast<unsigned>(value.type);
            std::uint64_t wanted = std::uint64_t{1} << (type & 15);
            if (value.type < kvs::Type::ascii) {
                expect(entry.type == type && entry.bits() == value.bits, "the walker finds the number");
            } else {
                expect(entry.kind() == type >> 4 && entry.value == value.payload, "the walker finds the text or bytes");
                const std::uint64_t least =
                    std::max<std::uint64_t>(16, value.payload.size() + (value.type == kvs::Type::bytes ? 2 : 0));
                wanted = *std::lower_bound(lengths.begin(), lengths.end(), least);
            }
            expect(entry.room == wanted, "a value is in the smallest length that holds it");
        }
        return walk;
    }

    Campaign& campaign_;
    const std::size_t key_length_;
    const kvs::Weights weights_;
    const std::vector<std::string> keys_;
    TempDir dir_;
    Map map_;
    std::uint64_t operations_ = 0;
    mutable const char* doing_ = "open";
    std::string key_;
};

/// One store and its map.
template <std::size_t N, class Sharing, class Backup>
class Model : public ModelBase {
public:
    using Store = kvs::Store<N, Backup, Sharing>;
    static constexpr bool paired = !std::is_same_v<Backup, kvs::NoBackup>;
    /// A pair keeps the count of bytes beside the value, the seed format in it.
    static constexpr std::size_t longest_bytes = paired ? 65536 : 65534;

    Model(Campaign& campaign, kvs::Weights weights) : ModelBase(campaign, N, weights) {
        open(kvs::Mode::create_new);
        expect(store_->recovery().outcome == kvs::Recovery::Outcome::created, "created");
    }

    void run(std::uint64_t operations) {
        for (std::uint64_t i = 0; i < operations; ++i) step();
        reopen();
    }

private:
    [[gnu::noinline]] void step() {
        ++operations_;
        const std::uint64_t kind = campaign_.pick(10000);
        if constexpr (paired)
            if (campaign_.one_in(30)) return batch();
        if (kind < 4800) return set();
        if (kind < 6300) return erase();
        if (kind < 9200) return look();
        if (kind < 9500) return refuse_value();
        if (kind < 9700) return refuse_key();
        if (kind < 9800) return sync();
        if (kind < 9840) return compare(*store_, map_);
        if (kind < 9870) return verify();
        if (kind < 9890) return copy();
        if (kind < 9910) return compact();
        if (kind < 9955) return reopen();
        if (kind < 9975) return read_only();
        if (kind < 9985) return move();
        if (kind < 9990) return open_second();
        if (kind < 9994) return clear();
        return grow();
    }

    // ---- changes ---------------------------------------------------------------------------------------------------

    template <class T>
    [[gnu::noinline]] void set_as(const std::string& key, const T& value, const Held& wanted) {
        if (campaign_.one_in(3)) {
            std::error_code error = kvs::make_error_code(kvs::errc::corrupt);
            store_->set(key, value, error);
            expect(!error, "set, by code");
        } else {
            store_->set(key, value);
        }
        map_.insert_or_assign(key, wanted);
    }

    void set() {
        doing_ = "set";
        key_ = any_key();
        set_random(key_, campaign_.pick(20));
        expect(store_->size() == map_.size(), "size after set");
        if (campaign_.one_in(2)) look_at(key_);
    }

    [[gnu::noinline]] void set_random(const std::string& key, std::uint64_t type) {
        if (type < 10) {
            with_number_type(type, [&]<class T>() {
                const T number = random_number<T>(campaign_);
                if (campaign_.one_in(8))
                    set_as(key, kvs::Value(number), held(number));
                else
                    set_as(key, number, held(number));
            });
        } else if (type == 10) {
            const bool value = campaign_.one_in(2);
            set_as(key, value, held(value));
        } else if (type < 17) {
            const std::string text = random_text(campaign_, random_size(campaign_), type < 14);
            const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
            const Held wanted{ascii ? kvs::Type::ascii : kvs::Type::utf8, 0, text};
            switch (campaign_.pick(4)) {
                case 0: return set_as(key, std::string_view(text), wanted);
                case 1: return set_as(key, text.c_str(), wanted);
                case 2: return set_as(key, kvs::Value(text), wanted);
                default: return set_as(key, text, wanted);
            }
        } else {
            std::string payload(std::min<std::size_t>(random_size(campaign_), longest_bytes), '\0');
            if (!campaign_.one_in(4))
                for (char& c : payload) c = static_cast<char>(campaign_.random()());
            const std::vector<std::byte> bytes = bytes_of(payload);
            const Held wanted{kvs::Type::bytes, 0, payload};
            if (campaign_.one_in(2))
                set_as(key, bytes, wanted);
            else
                set_as(key, std::span<const std::byte>(bytes), wanted);
        }
    }

    void erase() {
        doing_ = "erase";
        key_ = any_key();
        const bool wanted = map_.erase(key_) == 1;
        if (campaign_.one_in(2)) {
            expect(store_->erase(key_) == wanted, "erase");
        } else {
            std::error_code error = kvs::make_error_code(kvs::errc::corrupt);
            expect(store_->erase(key_, error) == wanted && !error, "erase, by code");
        }
        expect(store_->size() == map_.size(), "size after erase");
        if (campaign_.one_in(2)) look_at(key_);
        if (campaign_.one_in(4)) expect(!store_->erase(key_), "erase of an absent key");
    }

    /// Several keys at once, some of them twice.
    void batch() {
        doing_ = "batch";
        Map wanted = map_;
        const bool thrown = campaign_.one_in(5);
        const auto note = [&](auto& batch) {
            for (std::uint64_t left = campaign_.pick(30); left != 0; --left) {
                key_ = any_key();
                if (campaign_.one_in(3)) {
                    batch.erase(key_);
                    wanted.erase(key_);
                } else if (campaign_.one_in(2)) {
                    const auto number = random_number<std::uint64_t>(campaign_);
                    batch.set(key_, number);
                    wanted.insert_or_assign(key_, held(number));
                } else {
                    const std::string text = random_text(campaign_, random_size(campaign_), true);
                    batch.set(key_, text);
                    wanted.insert_or_assign(key_, Held{kvs::Type::ascii, 0, text});
                }
            }
            if (thrown) throw std::runtime_error("thrown by the function of a batch");
        };
        bool caught = false;
        try {
            store_->batch(note);
        } catch (const std::runtime_error&) {
            caught = true;
        }
        expect(caught == thrown, "what the function throws comes out of the batch");
        if (!thrown) map_ = wanted;
        expect(store_->size() == map_.size(), "size after a batch");
        if (campaign_.one_in(4)) compare(*store_, map_);
    }

    void clear() {
        doing_ = "clear";
        store_->clear();
        map_.clear();
        expect(store_->empty(), "empty after clear");
        expect(store_->begin() == store_->end(), "nothing to iterate over after clear");
    }

    /// A wave of keys of their own, most of which go again: the file grows, and its deleted records are used again.
    void grow() {
        doing_ = "grow";
        const std::size_t count = N < 4 ? 0 : 1 + static_cast<std::size_t>(campaign_.pick(300));
        const std::uint64_t type = campaign_.pick(11);
        for (std::size_t i = 0; i < count; ++i) set_random("g" + std::to_string(i), type);
        for (std::size_t i = 0; i < count; ++i) {
            if (campaign_.one_in(10)) continue;
            key_ = "g" + std::to_string(i);
            expect(store_->erase(key_), "erase of a key just set");
            map_.erase(key_);
        }
        expect(store_->size() == map_.size(), "size after growth");
        operations_ += 2 * count;
    }

    void sync() {
        doing_ = "sync";
        store_->sync();
    }

    // ---- what must change nothing ----------------------------------------------------------------------------------

    template <class T>
    [[gnu::noinline]] void refused(const std::string& key, const T& value, kvs::errc wanted) {
        std::error_code error;
        store_->set(key, value, error);
        expect(error == wanted, "set is refused");
        expect(store_->size() == map_.size(), "size after a refused set");
    }

    void refuse_value() {
        doing_ = "set of a value that cannot be stored";
        key_ = any_key();
        const std::size_t beyond = static_cast<std::size_t>(campaign_.one_in(2) ? 1 : campaign_.pick(100000));
        switch (campaign_.pick(6)) {
            case 0: refused(key_, std::string(65536 + beyond, 'x'), kvs::errc::value_too_long); break;
            case 1: refused(key_, std::vector<std::byte>(longest_bytes + beyond), kvs::errc::value_too_long); break;
            case 2: refused(key_, "\xff", kvs::errc::not_text); break;
            case 3: refused(key_, std::string("a\0b", 3), kvs::errc::not_text); break;
            case 4: refused(key_, std::string(random_size(campaign_), 'x') + "\xe2\x82", kvs::errc::not_text); break;
            default: {
                bool thrown = false;
                try {
                    store_->set(key_, std::string(65537, 'x'));
                } catch (const kvs::Error& error) {
                    thrown = error.code() == kvs::errc::value_too_long;
                }
                expect(thrown, "set throws");
            }
        }
        look_at(key_);
    }

    void refuse_key() {
        doing_ = "use of a key that is none";
        kvs::errc wanted = kvs::errc::key_too_long;
        switch (campaign_.pick(5)) {
            case 0: key_ = "", wanted = kvs::errc::key_empty; break;
            case 1: key_ = std::string(1 + campaign_.pick(N), '\0'), wanted = kvs::errc::key_empty; break;
            case 2: key_ = std::string(N + 1 + campaign_.pick(100), 'k'); break;
            case 3: key_ = any_key() + std::string(N, '\0'); break;
            default:
                // A NUL inside a key that is shorter than the key length, or at the end of one that is not.
                if (N < 3) return;
                key_ = std::string("a\0b", 3).substr(0, 2 + campaign_.pick(2));
                if (campaign_.one_in(2)) key_.resize(N, '\0');
                if (key_.size() == N && key_.back() != '\0') return;
                wanted = kvs::errc::not_text;
        }
        std::error_code error;
        refused(key_, 1, wanted);
        expect(!store_->erase(key_, error) && error == wanted, "erase is refused");
        expect(!store_->contains(key_, error) && error == wanted, "contains is refused");
        expect(!store_->template get<int>(key_, error) && error == wanted, "get is refused");
        expect(!store_->value(key_, error) && error == wanted, "value is refused");
        expect(!store_->type(key_, error) && error == wanted, "type is refused");
        expect(store_->get_or(key_, 7, error) == 7 && error == wanted, "get_or is refused");
        char buffer[1];
        expect(!store_->get_into(key_, buffer, error) && error == wanted, "get_into is refused");
    }

    static constexpr bool shares = std::is_same_v<Sharing, kvs::SharedProcesses>;
    static constexpr bool has_pairs = !std::is_same_v<Backup, kvs::NoBackup>;

    void open_second() {
        if constexpr (shares)
            share_with_second();
        else
            refuse_second();
    }

    /// What one handle changes, all of them see at once.
    void share_with_second() {
        doing_ = "sharing with a second handle";
        Store second(path(), {.sync = kvs::sync_manual});
        const Store reader(path(), {.mode = kvs::Mode::read_only});
        expect(second.recovery().attached && reader.recovery().attached, "they join");
        compare(second, map_);
        compare(reader, map_);
        for (int i = 0; i < 20; ++i) {
            key_ = any_key();
            if (i % 5 == 4) {
                Store& writer = i % 2 == 0 ? second : *store_;
                expect(writer.erase(key_) == (map_.erase(key_) != 0), "erase");
            } else {
                if (i % 2 == 0) std::swap(*store_, second);
                set_random(key_, campaign_.pick(20));
                if (i % 2 == 0) std::swap(*store_, second);
            }
            look_at(*store_, map_, key_);
            look_at(second, map_, key_);
            look_at(reader, map_, key_);
        }
        compare(second, map_);
        compare(reader, map_);
    }

    void refuse_second() {
        doing_ = "opening a second handle";
        std::error_code error;
        const Store second(path(), {}, error);
        expect(error == kvs::errc::in_use && !second.is_open(), "a second handle is refused");
        const Store reader(path(), {.mode = kvs::Mode::read_only}, error);
        expect(error == kvs::errc::in_use && !reader.is_open(), "a reading handle is refused");
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    void look() {
        doing_ = "get";
        key_ = campaign_.one_in(20) ? std::string(1, static_cast<char>(1 + campaign_.pick(255))) : any_key();
        look_at(key_);
    }

    void look_at(const std::string& key) const { look_at(*store_, map_, key); }

    [[gnu::noinline]] void look_at(const Store& store, const Map& map, const std::string& key) const {
        const Held* wanted = held_at(map, key);
        switch (campaign_.pick(9)) {
            case 0: return expect(store.contains(key) == (wanted != nullptr), "contains");
            case 1: {
                const auto type = store.type(key);
                return expect(type == (wanted != nullptr ? std::optional(wanted->type) : std::nullopt), "type");
            }
            case 2:
            case 3: return look_at_value(store, key, wanted);
            case 4: return look_at_text(store, key, wanted);
            case 5: return look_at_copy(store, key, wanted);
            default: with_number_type(campaign_.pick(10), [&]<class T>() { look_at_number<T>(store, key, wanted); });
        }
        if (wanted == nullptr || !wanted->is_number()) return;
        for (std::size_t i = 0; i < std::tuple_size_v<Numbers>; ++i)
            with_number_type(i, [&]<class T>() {
                if (type_of<T>() == wanted->type) look_at_number<T>(store, key, wanted);
            });
    }

    [[gnu::noinline]] void look_at_value(const Store& store, const std::string& key, const Held* wanted) const {
        const std::optional<kvs::Value> value = store.value(key);
        expect(value.has_value() == (wanted != nullptr), "value, presence");
        if (value) expect(held_from(*value) == *wanted, "value");
        std::error_code error;
        expect(store.value(key, error) == value && !error, "value, by code");
        expect(store.template get<kvs::Value>(key) == value, "get of a value");
        const std::optional<bool> boolean = store.template get<bool>(key, error);
        const bool is_boolean = wanted != nullptr && wanted->type == kvs::Type::boolean;
        expect(boolean == (is_boolean ? std::optional(wanted->bits != 0) : std::nullopt), "get of a boolean");
        expect((error == kvs::errc::type_mismatch) == (wanted != nullptr && !is_boolean), "get of a boolean, error");
    }

    [[gnu::noinline]] void look_at_text(const Store& store, const std::string& key, const Held* wanted) const {
        std::error_code error;
        const bool is_text = wanted != nullptr && wanted->is_text();
        const bool is_bytes = wanted != nullptr && wanted->type == kvs::Type::bytes;
        const auto text = store.template get<std::string>(key, error);
        expect(text == (is_text ? std::optional(wanted->payload) : std::nullopt), "get of text");
        expect((error == kvs::errc::type_mismatch) == (wanted != nullptr && !is_text), "get of text, error");
        const auto bytes = store.template get<std::vector<std::byte>>(key, error);
        expect(bytes == (is_bytes ? std::optional(bytes_of(wanted->payload)) : std::nullopt), "get of bytes");
        expect((error == kvs::errc::type_mismatch) == (wanted != nullptr && !is_bytes), "get of bytes, error");
        expect(store.get_or(key, "fallback") == (is_text ? wanted->payload : "fallback"), "get_or of text");
    }

    [[gnu::noinline]] void look_at_copy(const Store& store, const std::string& key, const Held* wanted) const {
        std::error_code error;
        const bool is_text = wanted != nullptr && wanted->is_text();
        const bool is_long = is_text || (wanted != nullptr && wanted->type == kvs::Type::bytes);
        const std::size_t size = is_long ? wanted->payload.size() : 0;
        std::string chars(size + 1, '#');
        const auto of_text = store.get_into(key, std::span<char>(chars.data(), size), error);
        expect(of_text == (is_text ? std::optional(size) : std::nullopt), "get_into of text");
        expect((error == kvs::errc::type_mismatch) == (wanted != nullptr && !is_text), "get_into of text, error");
        expect(!is_text || (chars.substr(0, size) == wanted->payload && chars[size] == '#'), "get_into, text");
        std::vector<std::byte> bytes(size + 1, std::byte{'#'});
        const auto of_bytes = store.get_into(key, std::span<std::byte>(bytes.data(), size), error);
        expect(of_bytes == (is_long ? std::optional(size) : std::nullopt), "get_into of bytes");
        expect(
            !is_long || (std::memcmp(bytes.data(), wanted->payload.data(), size) == 0 && bytes[size] == std::byte{'#'}),
            "get_into, bytes");
        if (size == 0) return;
        const auto too_long = store.get_into(key, std::span<std::byte>(bytes.data(), size - 1), error);
        expect(!too_long && error == kvs::errc::value_too_long, "get_into of a buffer that is too small");
    }

    template <class T>
    [[gnu::noinline]] void look_at_number(const Store& store, const std::string& key, const Held* wanted) const {
        const std::optional<T> number = wanted != nullptr ? converted<T>(*wanted) : std::nullopt;
        const bool mismatch = wanted != nullptr && !number;
        std::error_code error = kvs::make_error_code(kvs::errc::corrupt);
        expect(same(store.template get<T>(key, error), number), "get of a number, by code");
        expect(mismatch ? error == kvs::errc::type_mismatch : !error, "get of a number, error");
        // The other ways to read, for a third of the types in each test: it takes long to compile.
        constexpr std::size_t test = N + (std::is_same_v<Sharing, kvs::Unshared> ? 1 : 0);
        if constexpr ((static_cast<std::size_t>(type_of<T>()) % 16 + test) % 3 == 0) {
            const T fallback{42};
            expect(same(std::optional(store.get_or(key, fallback)), std::optional(number.value_or(fallback))),
                   "get_or");
            std::optional<T> found;
            bool thrown = false;
            try {
                found = store.template get<T>(key);
            } catch (const kvs::Error& e) {
                thrown = e.code() == kvs::errc::type_mismatch;
            }
            expect(thrown == mismatch && same(found, number), "get of a number");
        }
    }

    /// Everything, by iteration and by key.
    [[gnu::noinline]] void compare(const Store& store, const Map& map) const {
        doing_ = "comparison of everything";
        expect(store.size() == map.size(), "size");
        expect(store.empty() == map.empty(), "empty");
        std::size_t count = 0;
        if (campaign_.one_in(2)) {
            for (const kvs::Entry& entry : store) ++count, expect_entry(map, entry);
        } else {
            std::error_code error;
            for (auto it = store.begin(error); it != store.end(); it.increment(error)) {
                expect(!error, "iteration, by code");
                ++count, expect_entry(map, *it);
            }
        }
        expect(count == map.size(), "iteration finds every key once");
        for (const auto& [key, value] : map) {
            const auto found = store.value(key);
            expect(found && held_from(*found) == value, "every key");
        }
        for (const std::string& key : keys_) expect(store.contains(key) == (map.count(key) == 1), "contains");
    }

    void verify() {
        doing_ = "verify";
        const kvs::Report report = store_->verify();
        expect(report.ok(), report.ok() ? "" : report.problems.front().text.c_str());
        expect(report.keys == map_.size(), "keys of the report");
        expect(report.records == report.keys + report.deleted_records, "records of the report");
        const kvs::Stats stats = store_->stats();
        expect(stats.keys == map_.size(), "keys of the statistics");
        expect(stats.deleted_records == report.deleted_records, "deleted records of the statistics");
    }

    // ---- the file --------------------------------------------------------------------------------------------------

    kvs::SyncPolicy any_policy() {
        switch (campaign_.pick(4)) {
            case 0: return kvs::sync_each;
            case 1: return kvs::sync_every(std::chrono::milliseconds(1));
            default: return kvs::sync_manual;
        }
    }

    [[gnu::noinline]] void open(kvs::Mode mode) {
        store_.emplace(path(), kvs::Options{.mode = mode, .sync = any_policy(), .weights = weights_});
    }

    void reopen() {
        doing_ = "reopen";
        store_.reset();
        if constexpr (paired)
            walk_pairs(path());
        else
            walk(path());
        open(campaign_.one_in(2) ? kvs::Mode::open_existing : kvs::Mode::open_or_create);
        expect(store_->recovery().outcome == kvs::Recovery::Outcome::clean, "a clean open");
        expect(store_->recovery().keys == map_.size(), "keys found by the open");
        expect(store_->recovery().damaged_chains == 0, "no damage found by the open");
        expect(store_->recovery().duplicate_keys == 0, "no key with two records found by the open");
        compare(*store_, map_);
    }

    /// What the second reader of files of pairs finds.
    void walk_pairs(const std::string& file) const {
        const std::string bytes = kvs_test::contents_of(file);
        const kvs_test::PairWalk found = kvs_test::PairWalker(bytes).walk();
        INFO((found.problems.empty() ? std::string() : found.problems.front()));
        expect(found.problems.empty(), "a file in order");
        expect(found.valid && found.clean && found.key_length == key_length_ && found.weights == weights_.header(),
               "the superblock of this store, closed");
        expect(found.durable_end == bytes.size(), "a file that ends with its last record");
        expect(found.entries.size() == map_.size(), "as many keys as there are");
        for (const auto& [key, value] : map_) {
            const auto at = found.entries.find(key);
            expect(at != found.entries.end(), "every key");
            const auto type = static_cast<unsigned>(value.type);
            const bool is_number = value.type < kvs::Type::ascii;
            std::string bits;
            for (std::size_t i = is_number ? at->second.value.size() : 0; i-- != 0;)
                bits += static_cast<char>(value.bits >> 8 * i & 0xff);
            expect(is_number ? at->second.type == type : at->second.type >> 4 == type >> 4, "every value's type");
            expect(at->second.value == (is_number ? bits : value.payload), "every value");
        }
    }

    void read_only() {
        doing_ = "read-only use";
        store_.reset();
        const std::string before = kvs_test::contents_of(path());
        {
            Store reader(path(), {.mode = kvs::Mode::read_only});
            const Store other(path(), {.mode = kvs::Mode::read_only});  // readers do not exclude each other
            compare(reader, map_);
            compare(other, map_);
            for (int i = 0; i < 20; ++i) look_at(reader, map_, key_ = any_key());
            std::error_code error;
            reader.set(any_key(), 1, error);
            expect(error == kvs::errc::read_only, "set is refused");
            expect(!reader.erase(any_key(), error) && error == kvs::errc::read_only, "erase is refused");
            reader.clear(error);
            expect(error == kvs::errc::read_only, "clear is refused");
            reader.sync(error);
            expect(!error, "sync of a reader");
            expect(reader.verify().ok(), "verify of a reader");
            expect(kvs_test::contents_of(path()) == before, "reading leaves the file as it was");
            const Store writer(path(), {}, error);
            if constexpr (has_pairs && !shares) {
                expect(!error && !reader.contains(any_key(), error) && error == kvs::errc::in_use,
                       "a reader gives way");
            } else {
                expect(error == (has_pairs ? std::error_code() : make_error_code(kvs::errc::in_use)),
                       "opening for writing");
                compare(reader, map_);
            }
        }
        open(kvs::Mode::open_existing);
    }

    void copy() {
        doing_ = "copy_to";
        const std::string target = dir_.file("copy.akvs");
        store_->copy_to(target);
        compare_copy(target);
        if constexpr (!paired) {
            const kvs_test::Walk copy = walk(target);
            store_.reset();
            expect(kvs_test::contents_of(target) == kvs_test::contents_of(path()), "a copy has the same bytes");
            expect(copy.records >= map_.size(), "records of a copy");
            open(kvs::Mode::open_existing);
        }
    }

    void compact() {
        doing_ = "compact_to";
        const std::string target = dir_.file("compact.akvs");
        store_->compact_to(target);
        compare_copy(target);
        if constexpr (!paired) expect(walk(target).deleted == 0, "a compacted copy has no deleted records");
        if constexpr (paired) {
            const Store compact(target, {.mode = kvs::Mode::read_only});
            expect(compact.stats().deleted_records == 0, "a compacted copy has no deleted records");
        }
        if (!campaign_.one_in(2)) return;
        // Go on with it.
        store_.reset();
        std::filesystem::rename(target, path());
        open(kvs::Mode::open_existing);
    }

    void compare_copy(const std::string& target) const {
        const Store copy(target, {.mode = kvs::Mode::read_only});
        expect(copy.recovery().outcome == kvs::Recovery::Outcome::clean, "a copy is a clean store");
        compare(copy, map_);
        expect(copy.verify().ok(), "verify of a copy");
    }

    void move() {
        doing_ = "move";
        Store other(std::move(*store_));
        expect(!store_->is_open() && other.is_open(), "moved");
        *store_ = std::move(other);
        expect(store_->is_open() && store_->size() == map_.size(), "moved back");
    }

    std::optional<Store> store_;
};

/// Runs a model with several weights.
template <std::size_t N, class Sharing, class Backup>
void run_models(std::uint64_t seed) {
    Campaign campaign(seed);
    INFO(campaign.replay());
    const std::uint64_t operations = kvs_test::rounds(4000, 200000);
    const kvs::Weights of_original = kvs::Weights::from_header(0x01010101);
    const kvs::Weights all_one{1, 1, 1, 1, 1, 1, 1, 1};
    const kvs::Weights any = kvs::Weights::from_header(static_cast<std::uint32_t>(campaign.random()()));
    for (const kvs::Weights weights : {kvs::Weights{}, of_original, all_one, any}) {
        INFO("weights " << std::hex << weights.header());
        Model<N, Sharing, Backup> model(campaign, weights);
        model.run(operations);
        CHECK(model.operations() >= operations);
    }
}

}  // namespace kvs_test::model
