// Formatters for the fmt library: `fmt::print("{} = {}\n", entry.key(), entry.value())`. Needs fmt 9 or later; the rest
// of kvs does not.
#ifndef KVS_FORMAT_HPP
#define KVS_FORMAT_HPP

#if !__has_include(<fmt/format.h>)
#error "kvs: <kvs/format.hpp> needs the fmt library (Debian: libfmt-dev, vcpkg: fmt)."
#endif

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <string_view>

#include <kvs/entry.hpp>
#include <kvs/error.hpp>
#include <kvs/report.hpp>
#include <kvs/setting.hpp>
#include <kvs/type.hpp>
#include <kvs/value.hpp>

namespace kvs::detail {

/// Base of the formatters that make one text and then pad it as a string is padded.
struct TextFormatter : fmt::formatter<std::string_view> {
    template <class Context>
    auto write(std::string_view text, Context& context) const {
        return fmt::formatter<std::string_view>::format(text, context);
    }
};

/// A value as a person reads it: numbers in decimal, text as it is, bytes in hexadecimal.
inline std::string to_text(const Value& value) {
    switch (value.type()) {
        case Type::u8:
        case Type::u16:
        case Type::u32:
        case Type::u64: return fmt::format("{}", value.get<std::uint64_t>());
        case Type::i8:
        case Type::i16:
        case Type::i32:
        case Type::i64: return fmt::format("{}", value.get<std::int64_t>());
        case Type::f32: return fmt::format("{}", value.get<float>());
        case Type::f64: return fmt::format("{}", value.get<double>());
        case Type::boolean: return value.get<bool>() ? "true" : "false";
        case Type::ascii:
        case Type::utf8: return std::string(value.text());
        case Type::bytes: break;
    }
    std::string text = "0x";
    for (const std::byte byte : value.bytes())
        fmt::format_to(std::back_inserter(text), "{:02x}", std::to_integer<unsigned>(byte));
    return text;
}

}  // namespace kvs::detail

/// The name of the type.
template <>
struct fmt::formatter<kvs::Type> : kvs::detail::TextFormatter {
    template <class Context>
    auto format(kvs::Type type, Context& context) const {
        return write(kvs::to_string(type), context);
    }
};

/// Numbers in decimal, `true` or `false`, text as it is, bytes as `0x` and hexadecimal digits.
template <>
struct fmt::formatter<kvs::Value> : kvs::detail::TextFormatter {
    template <class Context>
    auto format(const kvs::Value& value, Context& context) const {
        return write(kvs::detail::to_text(value), context);
    }
};

/// As its value is formatted.
template <class Store, class T>
struct fmt::formatter<kvs::SettingReference<Store, T>> : fmt::formatter<T> {
    template <class Context>
    auto format(const kvs::SettingReference<Store, T>& setting, Context& context) const {
        return fmt::formatter<T>::format(static_cast<T>(setting), context);
    }
};

/// `key = value`.
template <>
struct fmt::formatter<kvs::Entry> : kvs::detail::TextFormatter {
    template <class Context>
    auto format(const kvs::Entry& entry, Context& context) const {
        return write(fmt::format("{} = {}", entry.key(), kvs::detail::to_text(entry.value())), context);
    }
};

/// The message of the error.
template <>
struct fmt::formatter<kvs::Error> : kvs::detail::TextFormatter {
    template <class Context>
    auto format(const kvs::Error& error, Context& context) const {
        return write(error.what(), context);
    }
};

/// One line of counts and one line for each problem.
template <>
struct fmt::formatter<kvs::Report> : kvs::detail::TextFormatter {
    template <class Context>
    auto format(const kvs::Report& report, Context& context) const {
        std::string text =
            fmt::format("{} records, {} keys, {} deleted, {} abandoned, {} problems", report.records, report.keys,
                        report.deleted_records, report.abandoned_records, report.problem_count);
        for (const kvs::Problem& problem : report.problems)
            fmt::format_to(std::back_inserter(text), "\n  offset {}, bucket {}: {}", problem.offset, problem.bucket,
                           problem.text);
        if (report.problem_count > report.problems.size())
            fmt::format_to(std::back_inserter(text), "\n  and {} more", report.problem_count - report.problems.size());
        return write(text, context);
    }
};

/// One line of totals and one line for each value length in use.
template <>
struct fmt::formatter<kvs::Stats> : kvs::detail::TextFormatter {
    template <class Context>
    auto format(const kvs::Stats& stats, Context& context) const {
        std::string text = fmt::format(
            "{} keys, {} deleted records, {} of {} bytes live, {} buckets used, longest chain {}", stats.keys,
            stats.deleted_records, stats.live_bytes, stats.file_bytes, stats.buckets_used, stats.longest_chain);
        for (const kvs::Stats::Length& line : stats.lengths)
            if (line.keys != 0 || line.deleted_records != 0)
                fmt::format_to(std::back_inserter(text),
                               "\n  values of up to {} bytes: {} keys, {} deleted, {} bytes a record", line.value_bytes,
                               line.keys, line.deleted_records, line.record_bytes);
        return write(text, context);
    }
};

/// What opening found, on one line.
template <>
struct fmt::formatter<kvs::Recovery> : kvs::detail::TextFormatter {
    template <class Context>
    auto format(const kvs::Recovery& recovery, Context& context) const {
        std::string text = fmt::format("{}: {} records, {} keys, {} damaged chains, {} duplicate keys",
                                       kvs::to_string(recovery.outcome), recovery.records, recovery.keys,
                                       recovery.damaged_chains, recovery.duplicate_keys);
        const auto add = [&](std::uint64_t count, const char* what) {
            if (count != 0) fmt::format_to(std::back_inserter(text), ", {} {}", count, what);
        };
        add(recovery.rolled_back, "values rolled back");
        add(recovery.mended_records, "records mended");
        add(recovery.damaged_records, "damaged records");
        add(recovery.lost_records, "lost records");
        add(recovery.lost_bytes, "lost bytes");
        add(recovery.damaged_superblocks, "damaged superblock pages");
        add(recovery.mended_superblocks, "superblock pages mended");
        if (recovery.attached) text += ", attached";
        if (recovery.header_damaged) text += ", header damaged";
        if (recovery.salvaged) text += ", salvaged";
        return write(text, context);
    }
};

#endif  // KVS_FORMAT_HPP
