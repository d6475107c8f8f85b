#include "parameters.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>
#include <utility>

extern char** environ;

namespace {

namespace fs = std::filesystem;

/// The integer that this text is. Not "007" and not "-0": from the integer the text must come back.
template <class Integer>
std::optional<Integer> exact_integer(std::string_view text) {
    Integer integer = 0;
    std::from_chars(text.data(), text.data() + text.size(), integer);
    return std::to_string(integer) == text ? std::optional(integer) : std::nullopt;
}

kvs::Value value_of(std::string_view text) {
    if (const auto integer = exact_integer<std::uint64_t>(text)) return *integer;
    if (const auto integer = exact_integer<std::int64_t>(text)) return *integer;
    try {
        return text;
    } catch (const kvs::Error&) {  // not_text: a NUL inside, or not UTF-8
        return std::as_bytes(std::span(text));
    }
}

class Descriptor {
public:
    /// Not blocking, because a file may turn out to be a pipe; not following a link, which may lead anywhere.
    explicit Descriptor(const fs::path& file)
        : number_(::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC)) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }

    bool is_open() const { return number_ >= 0; }
    ssize_t read(std::span<char> to) const { return ::read(number_, to.data(), to.size()); }

private:
    int number_;
};

std::error_code last_error() { return {errno, std::generic_category()}; }

/// The content of a file. Those of /proc have no size to go by, so it is read up to its end.
std::string content_of(const fs::path& file, std::error_code& error) {
    constexpr std::size_t longest = 65536;
    std::string content;
    const Descriptor descriptor(file);
    if (!descriptor.is_open()) {
        error = last_error();
        return content;
    }
    char chunk[4096];
    ssize_t bytes = 0;
    while (content.size() <= longest && (bytes = descriptor.read(chunk)) > 0)
        content.append(chunk, static_cast<std::size_t>(bytes));
    if (bytes < 0) error = last_error();
    if (content.size() > longest) error = std::make_error_code(std::errc::file_too_large);
    return content;
}

void read_file(const fs::path& file, std::string name, Reading& reading) {
    std::error_code error;
    std::string text = content_of(file, error);
    if (error) {
        ++reading.skipped[error.message()];
        return;
    }
    if (text.ends_with('\n')) text.pop_back();
    reading.add(std::move(name), text);
}

/// Not a recursive_directory_iterator: that one ends at the first error, and here folders come and go with the network
/// interfaces. All that was still to be visited would be taken for vanished.
void read_folder(const fs::path& folder, const std::string& prefix, Reading& reading) {
    std::error_code error;
    fs::directory_iterator entry(folder, error);
    for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
        const std::string name = prefix + entry->path().filename().string();
        std::error_code vanished;
        const fs::file_type type = entry->symlink_status(vanished).type();
        if (type == fs::file_type::directory) read_folder(entry->path(), name + '/', reading);
        if (type == fs::file_type::regular) read_file(entry->path(), name, reading);
    }
    if (error) ++reading.skipped[error.message()];
}

}  // namespace

void Reading::add(std::string name, std::string_view text) {
    parameters.insert_or_assign(std::move(name), value_of(text));
}

Reading read_tree(const fs::path& root) {
    Reading reading;
    read_folder(root, "", reading);
    return reading;
}

Reading read_environment() {
    Reading reading;
    for (char** variable = environ; *variable != nullptr; ++variable) {
        const std::string_view text = *variable;
        const std::size_t equals = text.find('=');
        if (equals != std::string_view::npos)
            reading.add("env/" + std::string(text.substr(0, equals)), text.substr(equals + 1));
    }
    return reading;
}
