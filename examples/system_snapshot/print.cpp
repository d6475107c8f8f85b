#include "print.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <kvs/format.hpp>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::size_t line_width = 100;
constexpr std::size_t longest_list = 20;

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// A piece of UTF-8 text that starts near `begin` and has at most `width` bytes; the dots stand for the rest.
std::string excerpt(std::string_view text, std::size_t begin, std::size_t width) {
    constexpr std::string_view dots = "...";
    while (begin < text.size() && continues_character(text[begin])) ++begin;
    text.remove_prefix(begin);
    std::string shown(begin != 0 ? dots : "");
    if (shown.size() + text.size() <= width) return shown.append(text);
    std::size_t room = width - shown.size() - dots.size();
    while (room > 0 && continues_character(text[room])) --room;
    return shown.append(text.substr(0, room)).append(dots);
}

/// On one line, and without what a terminal would obey.
std::string printable(std::string text) {
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    std::ranges::replace_if(text, is_control, ' ');
    return text;
}

std::string text_of(const std::optional<kvs::Value>& value) {
    if (!value) return {};
    std::string text = printable(fmt::to_string(*value));
    return text.empty() ? "(empty)" : text;
}

/// Where to begin so that what differs between two values is among the characters shown.
std::size_t first_shown(std::string_view a, std::string_view b, std::size_t width) {
    if (a.size() <= width && b.size() <= width) return 0;
    const auto same = static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
    return same < width / 2 ? 0 : same - width / 4;
}

struct Line {
    std::string name, before, after;
};

std::size_t longest(std::span<const Line> lines, std::string Line::*column) {
    std::size_t bytes = 0;
    for (const Line& line : lines) bytes = std::max(bytes, (line.*column).size());
    return bytes;
}

std::vector<Line> first_lines(const std::vector<Difference>& differences) {
    std::vector<Line> lines;
    for (const Difference& d : std::span(differences).first(std::min(longest_list, differences.size())))
        lines.push_back({excerpt(printable(d.name), 0, 60), text_of(d.before), text_of(d.after)});
    return lines;
}

void print_list(std::string_view title, const std::vector<Difference>& differences) {
    if (differences.empty()) return;
    std::vector<Line> lines = first_lines(differences);
    const std::size_t name_width = longest(lines, &Line::name);
    const bool one_value = !differences[0].before || !differences[0].after;
    const std::size_t room = line_width - name_width - (one_value ? 4 : 8);
    for (auto& [name, before, after] : lines) {
        const std::size_t width = one_value ? room : room / 2;
        const std::size_t begin = one_value ? 0 : first_shown(before, after, width);
        before = excerpt(before, std::min(begin, before.size()), width);
        after = excerpt(after, std::min(begin, after.size()), width);
    }
    const std::size_t before_width = longest(lines, &Line::before);

    fmt::print("\n{}:\n", title);
    for (const auto& [name, before, after] : lines) {
        if (one_value)
            fmt::print("  {:<{}}  {}{}\n", name, name_width, before, after);
        else
            fmt::print("  {:<{}}  {:<{}} -> {}\n", name, name_width, before, before_width, after);
    }
    if (differences.size() > lines.size()) fmt::print("  ... and {} more\n", differences.size() - lines.size());
}

struct Tally {
    std::size_t count = 0;
    std::size_t bytes = 0;

    void add(const kvs::Value& value) {
        ++count;
        // This program stores no numbers but those of 8 bytes.
        bytes += kvs::is_number(value.type()) ? sizeof(std::uint64_t) : value.bytes().size();
    }
};

struct Row {
    std::map<kvs::Type, Tally> types;
    Tally all;

    void add(const kvs::Value& value) {
        types[value.type()].add(value);
        all.add(value);
    }
};

std::string group_of(std::string_view name) {
    const std::size_t slash = name.find('/');
    return slash == std::string_view::npos ? "(none)" : excerpt(printable(std::string(name.substr(0, slash))), 0, 16);
}

void print_row(std::string_view group, Row row, const Row& total) {
    fmt::print("{:<16}", group);
    for (const auto& [type, tally] : total.types) fmt::print("{:>9}", row.types[type].count);
    fmt::print("{:>9}{:>14}\n", row.all.count, row.all.bytes);
}

}  // namespace

void print_reading(std::string_view source, const Reading& reading) {
    fmt::print("Read {}: {} parameters", source, reading.parameters.size());
    std::string_view separator = "; skipped: ";
    for (const auto& [reason, count] : reading.skipped) {
        fmt::print("{}{} for \"{}\"", separator, count, reason);
        separator = ", ";
    }
    fmt::print("\n");
}

void print_opening(const Snapshot& snapshot) {
    using Outcome = kvs::Recovery::Outcome;
    fmt::print("Opened {}: ", snapshot.path());
    switch (snapshot.recovery().outcome) {
        case Outcome::created: fmt::print("a new file\n"); return;
        case Outcome::clean: fmt::print("closed properly by the last run"); break;
        case Outcome::killed: fmt::print("the last run was killed before it could close the file"); break;
        case Outcome::power_loss: fmt::print("the machine went down before the last run could close the file"); break;
    }
    fmt::print(", {} parameters\n", snapshot.recovery().keys);  // as it was then; by now there may be others
}

void print_differences(const Differences& differences, bool is_first) {
    for (const std::string& reason : differences.refused) fmt::print("Not stored: {}\n", printable(reason));
    const auto& [unchanged, changed, appeared, vanished, refused] = differences;
    if (is_first) {
        fmt::print("\nThis is the first snapshot: {} parameters stored. Run it again to see what changes.\n",
                   appeared.size());
        return;
    }
    fmt::print("\nSince the last snapshot: {} unchanged, {} changed, {} appeared, {} vanished\n", unchanged,
               changed.size(), appeared.size(), vanished.size());
    print_list("Changed", changed);
    print_list("Appeared", appeared);
    print_list("Vanished", vanished);
}

void print_table(const Snapshot& snapshot) {
    std::map<std::string, Row> groups;
    Row total;
    for (const kvs::Entry& entry : snapshot) {
        const kvs::Value value = entry.value();
        groups[group_of(entry.key())].add(value);
        total.add(value);
    }
    fmt::print("\n{:<16}", "group");
    for (const auto& [type, tally] : total.types) fmt::print("{:>9}", type);
    fmt::print("{:>9}{:>14}\n", "all", "value bytes");
    for (const auto& [group, row] : groups) print_row(group, row, total);
    fmt::print("{:-<{}}\n", "", 39 + 9 * total.types.size());
    print_row("all", total, total);
    fmt::print("{:<16}", "value bytes");
    for (const auto& [type, tally] : total.types) fmt::print("{:>9}", tally.bytes);
    fmt::print("{:>9}\n", total.all.bytes);
}
