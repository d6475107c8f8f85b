// Numbers read as other number types: exactly, or not at all. Checked against an oracle that takes every number apart
// into sign, whole mantissa and power of two, and never rounds.
#include <kvs/detail/number.hpp>
#include <kvs/kvs.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <type_traits>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/expect_error.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs::detail::convert_number;
using kvs::detail::number_bits;
using kvs::detail::number_from_bits;
using kvs::detail::number_type;
using kvs_test::Campaign;
using kvs_test::expect_error;
using kvs_test::TempDir;

__extension__ using Wide = __int128;

// Each is read as each other one, which takes a minute to compile with sanitizers.
#ifdef KVS_TEST_FEWER_TYPES
using AllNumbers = std::tuple<std::uint8_t, std::uint64_t, std::int8_t, std::int64_t, float, double>;
#else
using AllNumbers = std::tuple<std::uint8_t, std::uint16_t, std::uint32_t, std::uint64_t, std::int8_t, std::int16_t,
                              std::int32_t, std::int64_t, float, double>;
#endif

/// Runs `use.operator()<T>()` for every number type.
template <class Use>
void for_each_number_type(Use use) {
    [&]<class... T>(std::tuple<T...>*) { (use.template operator()<T>(), ...); }(static_cast<AllNumbers*>(nullptr));
}

// C++ types are stored by size and signedness.
static_assert(number_type<signed char>() == kvs::Type::i8 && number_type<unsigned char>() == kvs::Type::u8);
static_assert(number_type<char>() == (std::is_signed_v<char> ? kvs::Type::i8 : kvs::Type::u8));
static_assert(number_type<char16_t>() == kvs::Type::u16 && number_type<char32_t>() == kvs::Type::u32);
static_assert(number_type<long long>() == kvs::Type::i64 && number_type<unsigned long long>() == kvs::Type::u64);
static_assert(number_type<long>() == (sizeof(long) == 8 ? kvs::Type::i64 : kvs::Type::i32));
static_assert(number_type<float>() == kvs::Type::f32 && number_type<double>() == kvs::Type::f64);
static_assert(number_type<bool>() == kvs::Type::boolean);
static_assert(!kvs::detail::Number<bool> && !kvs::detail::Number<long double> && !kvs::detail::Number<Wide>);

// ---- the oracle ----------------------------------------------------------------------------------------------------

/// (-1)^negative * mantissa * 2^exponent, the mantissa odd or 0; or an infinity; or a NaN.
struct Exact {
    enum class Kind { finite, infinite, nan };
    Kind kind = Kind::finite;
    bool negative = false;
    std::uint64_t mantissa = 0;
    int exponent = 0;

    void normalise() {
        if (mantissa == 0) exponent = 0;
        while (mantissa != 0 && mantissa % 2 == 0) mantissa /= 2, ++exponent;
    }
    int width() const { return static_cast<int>(std::bit_width(mantissa)); }
};

/// Of a floating-point number by its bits: `digits` of the mantissa as stored, `bias` of the exponent.
Exact take_apart(std::uint64_t bits, int digits, int exponent_bits) {
    const std::uint64_t fraction = bits & ((std::uint64_t{1} << digits) - 1);
    const auto biased = static_cast<int>(bits >> digits & ((1u << exponent_bits) - 1));
    const int bias = (1 << (exponent_bits - 1)) - 1;
    Exact exact;
    exact.negative = (bits >> (digits + exponent_bits) & 1) != 0;
    if (biased == (1 << exponent_bits) - 1) {
        exact.kind = fraction == 0 ? Exact::Kind::infinite : Exact::Kind::nan;
        return exact;
    }
    exact.mantissa = biased == 0 ? fraction : fraction | std::uint64_t{1} << digits;
    exact.exponent = (biased == 0 ? 1 : biased) - bias - digits;
    exact.normalise();
    return exact;
}

template <class T>
Exact exact_of(T value) {
    if constexpr (std::is_same_v<T, float>) {
        return take_apart(std::bit_cast<std::uint32_t>(value), 23, 8);
    } else if constexpr (std::is_same_v<T, double>) {
        return take_apart(std::bit_cast<std::uint64_t>(value), 52, 11);
    } else {
        const Wide wide = value;
        Exact exact;
        exact.negative = wide < 0;
        exact.mantissa = static_cast<std::uint64_t>(wide < 0 ? -wide : wide);
        exact.normalise();
        return exact;
    }
}

/// The number as a `To`, if there is such a `To`.
template <class To>
std::optional<To> as(const Exact& exact) {
    if constexpr (std::is_floating_point_v<To>) {
        using Limits = std::numeric_limits<To>;
        constexpr int lowest_bit = Limits::min_exponent - Limits::digits;  // of the smallest number above 0
        if (exact.kind == Exact::Kind::nan) return Limits::quiet_NaN();
        if (exact.kind == Exact::Kind::infinite) return exact.negative ? -Limits::infinity() : Limits::infinity();
        if (exact.mantissa != 0 && (exact.width() > Limits::digits || exact.exponent < lowest_bit ||
                                    exact.exponent + exact.width() > Limits::max_exponent))
            return std::nullopt;
        const To magnitude = std::ldexp(static_cast<To>(exact.mantissa), exact.exponent);
        return exact.negative ? -magnitude : magnitude;
    } else {
        if (exact.kind != Exact::Kind::finite || exact.exponent < 0 || exact.exponent + exact.width() > 64)
            return std::nullopt;
        Wide wide = static_cast<Wide>(exact.mantissa) << exact.exponent;
        if (exact.negative) wide = -wide;
        if (wide < std::numeric_limits<To>::min() || wide > std::numeric_limits<To>::max()) return std::nullopt;
        return static_cast<To>(wide);
    }
}

/// The same bits, or both NaN.
template <class T>
bool same(T a, T b) {
    if constexpr (std::is_floating_point_v<T>) {
        if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    }
    return number_bits(a) == number_bits(b);
}

template <class T>
bool same(const std::optional<T>& a, const std::optional<T>& b) {
    return a.has_value() == b.has_value() && (!a || same(*a, *b));
}

// ---- numbers to try ------------------------------------------------------------------------------------------------

/// Every number of this type that lies at an edge of some type, or beside one.
template <class T>
std::vector<T> edges() {
    std::vector<T> all;
    if constexpr (std::is_floating_point_v<T>) {
        using Limits = std::numeric_limits<T>;
        const auto add = [&](T value) {
            const T down = std::nextafter(value, -Limits::infinity());
            const T up = std::nextafter(value, Limits::infinity());
            for (const T number : {value, down, up, value + T{0.5}, value - T{0.5}, value + 1, value - 1}) {
                all.push_back(number);
                all.push_back(-number);
            }
        };
        for (int power = Limits::min_exponent - Limits::digits; power < Limits::max_exponent; ++power)
            add(std::ldexp(T{1}, power));
        for (const T value : {T{0}, Limits::max(), Limits::min(), Limits::denorm_min(), Limits::infinity(),
                              static_cast<T>(0.1), T{1.5}, T{3.25}, static_cast<T>(std::numeric_limits<float>::max()),
                              static_cast<T>(std::numeric_limits<float>::min()),
                              static_cast<T>(std::numeric_limits<float>::denorm_min())})
            add(value);
        // Half a step above the largest float, where rounding would go to infinity.
        if constexpr (std::is_same_v<T, double>) add(std::ldexp(1.0, 128) - std::ldexp(1.0, 103));
        all.push_back(Limits::quiet_NaN());
        all.push_back(-Limits::quiet_NaN());
        all.push_back(Limits::signaling_NaN());
    } else {
        const auto add = [&](Wide value) {
            for (Wide number = value - 2; number <= value + 2; ++number)
                if (number >= std::numeric_limits<T>::min() && number <= std::numeric_limits<T>::max())
                    all.push_back(static_cast<T>(number));
        };
        for (unsigned power = 0; power <= 64; ++power) {
            add(Wide{1} << power);
            add(-(Wide{1} << power));
        }
        // The ends of the exact range of a float and a double, and what rounds at them.
        for (const Wide value : {Wide{16777216}, Wide{33554432}, Wide{9007199254740992}, Wide{18014398509481984}})
            for (const Wide sign : {Wide{1}, Wide{-1}}) add(sign * value), add(sign * (value + 4));
        add((Wide{1} << 64) - 1024);  // the largest u64 that is a double
        add((Wide{1} << 63) - 512);
        add((Wide{1} << 64) - (Wide{1} << 39));
    }
    return all;
}

template <class T>
T random_number(Campaign& campaign) {
    std::uint64_t bits = campaign.random()();
    if (campaign.one_in(2)) bits >>= campaign.pick(64);                             // small
    if (campaign.one_in(4)) bits = bits >> campaign.pick(64) << campaign.pick(64);  // round
    if constexpr (std::is_floating_point_v<T>) {
        if (campaign.one_in(2)) {
            const T whole = static_cast<T>(bits);
            return campaign.one_in(2) ? whole : -whole;
        }
        if (campaign.one_in(2)) {
            const auto fine = static_cast<float>(static_cast<std::int64_t>(bits));
            return static_cast<T>(std::ldexp(fine, -static_cast<int>(campaign.pick(140))));
        }
        return number_from_bits<T>(bits);
    } else {
        return static_cast<T>(bits);
    }
}

std::uint64_t compared = 0;

/// One number, read as every type, without a store.
template <class From>
void check_conversions(From from) {
    const Exact exact = exact_of(from);
    for_each_number_type([&]<class To>() {
        To to{};
        const bool converted = convert_number(number_type<From>(), number_bits(from), to);
        const std::optional<To> found = converted ? std::optional(to) : std::nullopt;
        const std::optional<To> wanted = as<To>(exact);
        ++compared;
        if (!same(found, wanted)) {
            INFO(kvs::to_string(number_type<From>())
                 << " with the bits " << number_bits(from) << " as " << kvs::to_string(number_type<To>()));
            CHECK(converted == wanted.has_value());
            if (converted && wanted) CHECK(number_bits(to) == number_bits(*wanted));
        }
        const std::optional<To> of_value = kvs::Value(from).get_if<To>();
        if (!same(of_value, wanted)) {
            INFO(kvs::to_string(number_type<From>())
                 << " with the bits " << number_bits(from) << " as " << kvs::to_string(number_type<To>()));
            CHECK(same(of_value, wanted));
        }
    });
}

}  // namespace

TEST_CASE("the oracle of these tests knows well-known numbers", "[number]") {
    CHECK(as<std::uint64_t>(exact_of(18446744073709549568.0)) == 18446744073709549568u);
    CHECK(!as<std::uint64_t>(exact_of(18446744073709551616.0)));
    CHECK(as<std::int64_t>(exact_of(-9223372036854775808.0)) == std::numeric_limits<std::int64_t>::min());
    CHECK(!as<std::int64_t>(exact_of(9223372036854775808.0)));
    CHECK(as<double>(exact_of(std::int64_t{9007199254740992})) == 9007199254740992.0);
    CHECK(!as<double>(exact_of(std::int64_t{9007199254740993})));
    CHECK(as<float>(exact_of(16777216)) == 16777216.0f);
    CHECK(!as<float>(exact_of(16777217)));
    CHECK(!as<float>(exact_of(0.1)));
    CHECK(as<double>(exact_of(0.1f)) == double{0.1f});
    CHECK(as<float>(exact_of(std::ldexp(1.0, -149))) == std::numeric_limits<float>::denorm_min());
    CHECK(!as<float>(exact_of(std::ldexp(1.0, -150))));
    CHECK(as<std::int8_t>(exact_of(-128.0f)) == std::int8_t{-128});
    CHECK(!as<std::int8_t>(exact_of(128.0f)));
    CHECK(as<std::uint8_t>(exact_of(-0.0)) == std::uint8_t{0});
    CHECK(!as<std::uint8_t>(exact_of(0.5)));
    CHECK(std::signbit(*as<float>(exact_of(-0.0))));
    CHECK(!as<std::uint32_t>(exact_of(std::int8_t{-1})));
}

TEST_CASE("a number at an edge is read as another type exactly or not at all", "[number]") {
    compared = 0;
    for_each_number_type([]<class From>() {
        for (const From from : edges<From>()) check_conversions(from);
    });
    CHECK(compared > 100000);
}

TEST_CASE("any number is read as another type exactly or not at all", "[number]") {
    Campaign campaign(20241);
    INFO(campaign.replay());
    const std::uint64_t count = kvs_test::rounds(20000, 1000000);
    for (std::uint64_t i = 0; i < count; ++i)
        for_each_number_type([&]<class From>() { check_conversions(random_number<From>(campaign)); });
}

TEST_CASE("numbers keep their bits", "[number]") {
    for_each_number_type([]<class T>() {
        for (const T value : edges<T>()) {
            if (number_bits(number_from_bits<T>(number_bits(value))) != number_bits(value)) CHECK(false);
            if (number_bits(value) >> (8 * sizeof(T) - 1) >> 1 != 0)
                CHECK(false);  // nothing above the type's own bytes
            std::optional<T> back = kvs::Value(value).get_if<T>();
            REQUIRE(back);
            if (!same(*back, value)) CHECK(false);
        }
    });
    SUCCEED();
}

TEST_CASE("numbers go through a store exactly, as every type", "[number]") {
    TempDir dir;
    kvs::SeedStore<8> store{dir.file(), {.sync = kvs::sync_manual}};
    Campaign campaign(20242);
    INFO(campaign.replay());
    std::uint64_t pairs = 0;
    const auto check = [&]<class From>(From from) {
        store.set("n", from);
        const Exact exact = exact_of(from);
        for_each_number_type([&]<class To>() {
            const std::optional<To> wanted = as<To>(exact);
            constexpr To fallback{42};
            std::error_code error;
            const std::optional<To> found = store.get<To>("n", error);
            bool good = same(found, wanted) && error == (wanted ? std::error_code() : kvs::errc::type_mismatch);
            good &= same(store.get_or("n", fallback), wanted.value_or(fallback));
            good &= same(store.get_or("n", fallback, error), wanted.value_or(fallback)) && !error;
            good &= same(store.value("n")->get_if<To>(), wanted);
            const kvs::Setting<To> setting{"n", fallback};
            const To of_setting = store.get(setting, error);
            good &= same(of_setting, wanted.value_or(fallback)) || !wanted;
            good &= error == (wanted ? std::error_code() : kvs::errc::type_mismatch);
            ++pairs;
            if (!good) {
                INFO(kvs::to_string(number_type<From>())
                     << " with the bits " << number_bits(from) << " as " << kvs::to_string(number_type<To>()));
                CHECK(same(found, wanted));
                CHECK(good);
            }
        });
        const std::optional<From> exactly = store.get<From>("n");
        if (!exactly || number_bits(*exactly) != number_bits(from)) CHECK(false);  // NaNs with their payload
        if (store.type("n") != number_type<From>()) CHECK(false);
        const auto entry = store.begin();
        if (!same(entry->get<From>(), from) || entry->value() != kvs::Value(from)) CHECK(false);
    };
    for_each_number_type([&]<class From>() {
        const std::vector<From> all = edges<From>();
        const std::size_t step = 1 + all.size() / kvs_test::rounds(400, 100000);
        for (std::size_t i = campaign.pick(step); i < all.size(); i += step) check(all[i]);
        for (std::uint64_t i = 0; i < kvs_test::rounds(200, 10000); ++i) check(random_number<From>(campaign));
    });
    constexpr std::uint64_t types = std::tuple_size_v<AllNumbers>;
    CHECK(pairs > kvs_test::rounds(400, 400) * types * types);
    CHECK(store.size() == 1);
    CHECK(store.verify().ok());
}

TEST_CASE("a boolean is no number and no number is a boolean", "[number]") {
    TempDir dir;
    kvs::SeedStore<8> store{dir.file()};
    store.set("b", true);
    store.set("t", "1");
    store.set("y", std::vector<std::byte>(1, std::byte{1}));
    for_each_number_type([&]<class T>() {
        INFO(kvs::to_string(number_type<T>()));
        T to{7};
        CHECK(!convert_number(kvs::Type::boolean, 0xff, to));
        CHECK(!convert_number(kvs::Type::ascii, 1, to));
        CHECK(!convert_number(kvs::Type::bytes, 1, to));
        for (const char* key : {"b", "t", "y"}) {
            expect_error(kvs::errc::type_mismatch, {dir.file(), key, kvs::to_string(number_type<T>())},
                         [&] { (void)store.get<T>(key); });
            CHECK(store.get_or(key, T{7}) == T{7});
            CHECK(!store.value(key)->get_if<T>());
        }
        store.set("n", T{1});
        expect_error(kvs::errc::type_mismatch, {"boolean", kvs::to_string(number_type<T>())},
                     [&] { (void)store.get<bool>("n"); });
        CHECK(store.get_or("n", true));
        CHECK(!store.get_or("n", false));
        CHECK(!kvs::Value(T{1}).get_if<bool>());
    });
    CHECK(store.get<bool>("b") == true);
    CHECK(kvs::Value(true) != kvs::Value(std::uint8_t{0xff}));
}

TEST_CASE("numbers kept as decimal text are read as the original program wrote them", "[number]") {
    using kvs::detail::parse_decimal;
    const auto parse = []<class Float>(std::string_view text, Float) -> std::optional<Float> {
        const std::string copy(text);
        Float value = 77;
        if (!parse_decimal(copy.c_str(), copy.c_str() + copy.size(), value)) return std::nullopt;
        return value;
    };
    const auto as_float = [&](std::string_view text) { return parse(text, 0.0f); };
    const auto as_double = [&](std::string_view text) { return parse(text, 0.0); };
    CHECK(as_float("0.250000") == 0.25f);
    CHECK(as_float("-0.50000") == -0.5f);
    CHECK(as_float("0.100000") == 0.1f);
    CHECK(as_float("12345678") == 12345678.0f);
    CHECK(as_float("1234567.") == 1234567.0f);
    CHECK(as_float("-1") == -1.0f);
    CHECK(as_float("5") == 5.0f);
    CHECK(as_double("1.500000000000000") == 1.5);
    CHECK(as_double("0.1000000000000000") == 0.1);
    CHECK(as_double("-123456789012345678901234567890.1") == -123456789012345678901234567890.1);
    CHECK(as_double("99999999999999999999999999999999") == 99999999999999999999999999999999.0);
    CHECK(as_double("0.000000000000001") == 1e-15);
    CHECK(as_float("inf") == std::numeric_limits<float>::infinity());
    CHECK(as_double("-inf") == -std::numeric_limits<double>::infinity());
    CHECK((as_float("nan") && std::isnan(*as_float("nan"))));
    CHECK((as_double("-nan") && std::isnan(*as_double("-nan"))));
    CHECK((as_float("-0.00000") == 0.0f && std::signbit(*as_float("-0.00000"))));
    for (const char* text : {"", "-", ".", "-.", "x", "1x", " 1", "1 ", "+1", "1,5", "1.2.3", "--1", "0x1", "one"}) {
        INFO("\"" << text << "\"");
        CHECK(!as_float(text));
        CHECK(!as_double(text));
    }
    // Every float of the size that the program could write is read as the number that its digits name.
    Campaign campaign(20243);
    INFO(campaign.replay());
    for (std::uint64_t i = 0; i < kvs_test::rounds(2000, 200000); ++i) {
        const std::uint64_t whole = campaign.pick(10000000);
        const std::string text = std::to_string(whole) + "." + std::to_string(campaign.pick(1000000));
        if (as_double(text) != std::strtod(text.c_str(), nullptr)) {
            INFO(text);
            CHECK(as_double(text) == std::strtod(text.c_str(), nullptr));
        }
    }
}
