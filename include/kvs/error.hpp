// What can go wrong, said in two ways: a code a program can test and a sentence a person can act on.
//
// Inside the library a failure is a `detail::Failure`: a code, a sentence and at most two facts, all plain data, so
// that reporting one never allocates. Text is made only where an exception is thrown.
#ifndef KVS_ERROR_HPP
#define KVS_ERROR_HPP

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <kvs/type.hpp>

#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define KVS_EXCEPTIONS 1
#else
#define KVS_EXCEPTIONS 0
#endif

namespace kvs {

/// The reasons for which an operation of a store fails. Compare with `Error::code()` or with the `std::error_code`
/// that a twin function fills in. The numbers are stable.
enum class errc {
    key_too_long = 1,     ///< The key has more bytes than the store's key length.
    key_empty,            ///< The key has no bytes, or only NUL bytes: in the file that means "deleted".
    value_too_long,       ///< The value does not fit the longest value of the store, or not the caller's buffer.
    not_text,             ///< A string value holds a NUL byte or is not valid UTF-8, or a key shorter than the store's
                          ///< key length holds a NUL byte: NUL is the padding of both.
    type_mismatch,        ///< The key holds a value of another type that cannot be converted exactly.
    not_a_store,          ///< The file is not of this format; it was left untouched.
    version_mismatch,     ///< The file is of another format version than this library reads.
    policy_mismatch,      ///< The file was made by a store with other policies.
    key_length_mismatch,  ///< The file was made by a store with another key length.
    corrupt,              ///< The file is damaged where this operation had to read it.
    store_full,           ///< The format's limit (4 GiB) is reached.
    disk_full,            ///< No space, or no quota, is left on the file system.
    io_error,             ///< The system reported another error; the message names the call and the cause.
    not_durable,          ///< An earlier flush failed: the store takes no more writes until it has been reopened.
    read_only,            ///< The store or the file cannot be written.
    in_use,               ///< Another handle has the file open in a way that excludes this one.
    forked,               ///< The handle belongs to the parent process.
    not_found,            ///< No such file, or no store is open in this object.
    already_exists,       ///< `Mode::create_new`, but there is such a file.
};

namespace detail {

struct ErrorText {
    const char* name;
    const char* sentence;
};

constexpr ErrorText text_of(errc code) noexcept {
    switch (code) {
        case errc::key_too_long: return {"key_too_long", "the key is longer than the store's key length"};
        case errc::key_empty: return {"key_empty", "the key is empty"};
        case errc::value_too_long: return {"value_too_long", "the value is too long"};
        case errc::not_text: return {"not_text", "the string is not text"};
        case errc::type_mismatch: return {"type_mismatch", "the value is of another type"};
        case errc::not_a_store: return {"not_a_store", "the file is not a store"};
        case errc::version_mismatch: return {"version_mismatch", "the file is of another format version"};
        case errc::policy_mismatch: return {"policy_mismatch", "the file was made with other policies"};
        case errc::key_length_mismatch: return {"key_length_mismatch", "the file was made with another key length"};
        case errc::corrupt: return {"corrupt", "the file is damaged"};
        case errc::store_full: return {"store_full", "the store is full"};
        case errc::disk_full: return {"disk_full", "no space is left on the file system"};
        case errc::io_error: return {"io_error", "the system reported an error"};
        case errc::not_durable: return {"not_durable", "an earlier flush failed"};
        case errc::read_only: return {"read_only", "the store or the file cannot be written"};
        case errc::in_use: return {"in_use", "another handle has the file open"};
        case errc::forked: return {"forked", "the store belongs to the parent process"};
        case errc::not_found: return {"not_found", "no such file or store"};
        case errc::already_exists: return {"already_exists", "there is such a file already"};
    }
    return {"unknown", "an unknown error"};
}

class ErrorCategory final : public std::error_category {
public:
    const char* name() const noexcept override { return "kvs"; }
    std::string message(int code) const override {
        const ErrorText text = text_of(static_cast<errc>(code));
        return std::string(text.sentence) + " (" + text.name + ")";
    }
};

}  // namespace detail

/// The category of `kvs::errc`. One object per program. Thread-safe.
inline const std::error_category& error_category() noexcept {
    static const detail::ErrorCategory category;
    return category;
}

/// Makes `kvs::errc` comparable with `std::error_code` (found by argument-dependent look-up).
inline std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), error_category()}; }

/// What every throwing function of the library throws. `code()` holds a `kvs::errc`; `what()` names the file, the
/// key, what was wanted and what was found.
class Error : public std::system_error {
public:
    Error(errc code, const std::string& message) : std::system_error(make_error_code(code)), message_(message) {}

    const char* what() const noexcept override { return message_.what(); }

private:
    std::runtime_error message_;  // a string that can be copied without throwing
};

namespace detail {

/// One side of "wanted …, found …".
struct Fact {
    enum class Kind : std::uint8_t { none, text, number, bytes, at_most, at_least, offset, byte, type };
    Kind kind = Kind::none;
    std::uint64_t number = 0;
    const char* text = nullptr;

    static constexpr Fact of_text(const char* text) noexcept { return {Kind::text, 0, text}; }
    static constexpr Fact of_number(std::uint64_t n) noexcept { return {Kind::number, n, nullptr}; }
    static constexpr Fact of_bytes(std::uint64_t n) noexcept { return {Kind::bytes, n, nullptr}; }
    static constexpr Fact at_most(std::uint64_t bytes) noexcept { return {Kind::at_most, bytes, nullptr}; }
    static constexpr Fact at_least(std::uint64_t bytes) noexcept { return {Kind::at_least, bytes, nullptr}; }
    static constexpr Fact of_offset(std::uint64_t n) noexcept { return {Kind::offset, n, nullptr}; }
    static constexpr Fact of_byte(std::uint8_t n) noexcept { return {Kind::byte, n, nullptr}; }
    static constexpr Fact of_type(Type type) noexcept { return {Kind::type, 0, to_string(type)}; }
};

/// Why an operation failed; false in a condition means that it did not. Plain data: made, copied and dropped without
/// allocation.
struct [[nodiscard]] Failure {
    errc code{};
    const char* problem = nullptr;  ///< a sentence without a full stop, of static storage
    Fact wanted{};
    Fact found{};
    int system = 0;  ///< errno of the call that failed

    explicit constexpr operator bool() const noexcept { return code != errc{}; }
};

/// Says that a failure is known and left.
inline void ignore(const Failure&) noexcept {}

inline std::string bytes_text(std::uint64_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

inline std::string to_string(const Fact& fact) {
    switch (fact.kind) {
        case Fact::Kind::text:
        case Fact::Kind::type: return fact.text;
        case Fact::Kind::number: return std::to_string(fact.number);
        case Fact::Kind::bytes: return bytes_text(fact.number);
        case Fact::Kind::at_most: return "at most " + bytes_text(fact.number);
        case Fact::Kind::at_least: return "at least " + bytes_text(fact.number);
        case Fact::Kind::offset: return "offset " + std::to_string(fact.number);
        case Fact::Kind::byte: {
            constexpr char digits[] = "0123456789abcdef";
            return {'0', 'x', digits[fact.number >> 4 & 15], digits[fact.number & 15]};
        }
        case Fact::Kind::none: break;
    }
    return {};
}

/// Makes bytes that may come from a hostile file fit for a message: control characters become '?', and a key of a
/// thousand bytes is shortened.
inline std::string printable(std::string_view bytes, std::size_t longest = 128) {
    std::string text{bytes.substr(0, longest)};
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    if (bytes.size() > longest) text += "...";
    return text;
}

/// The text of `Error::what()`.
inline std::string describe(const Failure& failure, std::string_view path, std::string_view key) {
    std::string text = "kvs: ";
    if (!path.empty()) text.append(printable(path, path.size())).append(": ");
    // Of a key that is too long, the beginning is known.
    if (!key.empty())
        text.append("key \"").append(printable(key)).append(failure.code == errc::key_too_long ? "...\": " : "\": ");
    text += failure.problem;
    if (failure.wanted.kind != Fact::Kind::none) text.append(", wanted ").append(to_string(failure.wanted));
    if (failure.found.kind != Fact::Kind::none) text.append(", found ").append(to_string(failure.found));
    if (failure.system != 0) text.append(": ").append(std::generic_category().message(failure.system));
    return text;
}

/// Throws the failure as `kvs::Error`; without exceptions prints it and aborts. Cold on purpose, so that the callers
/// stay small.
[[noreturn, gnu::cold, gnu::noinline]] inline void raise(const Failure& failure, std::string_view path,
                                                         std::string_view key = {}) {
#if KVS_EXCEPTIONS
    throw Error(failure.code, describe(failure, path, key) + " (" + text_of(failure.code).name + ")");
#else
    std::fprintf(stderr, "%s (%s)\n", describe(failure, path, key).c_str(), text_of(failure.code).name);
    std::abort();
#endif
}

#if KVS_EXCEPTIONS
/// In a handler, what is said of the exception by a twin that must not throw: the code of a `std::system_error`,
/// `not_enough_memory`, or of all else `operation_canceled`.
inline std::error_code code_of_exception() noexcept {
    try {
        throw;
    } catch (const std::system_error& e) {
        return e.code() ? e.code() : std::make_error_code(std::errc::operation_canceled);
    } catch (const std::bad_alloc&) {
        return std::make_error_code(std::errc::not_enough_memory);
    } catch (...) {
        return std::make_error_code(std::errc::operation_canceled);
    }
}
#endif

/// Runs `operation`, which returns a `Failure`, for a twin that must not throw: its result becomes a code, and so does
/// what a function of the caller throws in it. True if all went well.
template <class Operation>
bool guarded(std::error_code& error, Operation operation) noexcept {
#if KVS_EXCEPTIONS
    try {
#endif
        const Failure failure = operation();
        if (!failure) {
            error.clear();
            return true;
        }
        error = make_error_code(failure.code);
#if KVS_EXCEPTIONS
    } catch (...) {
        error = code_of_exception();
    }
#endif
    return false;
}

/// The code for an error of the system. `writing` tells a file that cannot be written from one that cannot be read.
inline errc classify(int system, bool writing) noexcept {
    switch (static_cast<std::errc>(system)) {
        case std::errc::no_space_on_device:
        case std::errc::file_too_large: return errc::disk_full;
        case std::errc::no_such_file_or_directory:
        case std::errc::not_a_directory: return errc::not_found;
        case std::errc::file_exists: return errc::already_exists;
        case std::errc::is_a_directory: return errc::not_a_store;
        case std::errc::read_only_file_system:
        case std::errc::permission_denied:
        case std::errc::operation_not_permitted: return writing ? errc::read_only : errc::io_error;
        default: break;
    }
#ifdef EDQUOT
    if (system == EDQUOT) return errc::disk_full;
#endif
    return errc::io_error;
}

inline Failure system_failure(const char* problem, int system, bool writing) noexcept {
    return {classify(system, writing), problem, {}, {}, system};
}

}  // namespace detail
}  // namespace kvs

template <>
struct std::is_error_code_enum<kvs::errc> : std::true_type {};

#endif  // KVS_ERROR_HPP
