// What the checks of all formats have in common.
#ifndef KVS_DETAIL_CHECK_HPP
#define KVS_DETAIL_CHECK_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <kvs/detail/codec.hpp>
#include <kvs/error.hpp>
#include <kvs/report.hpp>

namespace kvs::detail {

/// In a `Problem` that is about records and not about a chain.
inline constexpr std::uint32_t no_bucket = layout::bucket_count;

/// Collects problems up to a number that a person can read, and counts the rest.
class ProblemList {
public:
    explicit ProblemList(Report& report) noexcept : report_(report) {}

    void add(std::uint64_t offset, std::uint32_t bucket, const Failure& failure) {
        constexpr std::size_t most = 100;
        ++report_.problem_count;
        if (report_.problems.size() >= most) return;
        std::string text = describe(failure, {}, {});
        text.erase(0, sizeof "kvs: " - 1);
        report_.problems.push_back({offset, bucket, std::move(text)});
    }

private:
    Report& report_;
};

/// What is wrong with a value where it lies; false if nothing is.
template <class Source>
Failure check_value(const Stored<Source>& stored) {
    if (stored.code.type < Type::ascii) {
        std::uint64_t bits = 0;
        return load_number(stored, bits);
    }
    std::string payload;
    if (Failure failure = load_payload(stored, payload)) return failure;
    if (stored.code.type == Type::bytes) return {};
    const TextKind kind = text_kind(payload);
    if (kind == TextKind::ascii || (kind == TextKind::utf8 && stored.code.type == Type::utf8)) {
        const auto room = static_cast<std::size_t>(layout::value_bytes(stored.code.length));
        std::string field(room, '\0');
        stored.source.copy_out(stored.offset, reinterpret_cast<std::byte*>(field.data()), room);
        if (field.find_first_not_of('\0', payload.size()) == std::string::npos) return {};
        return {errc::corrupt, "bytes follow the NUL that ends the text", Fact::of_text("NULs"), {}};
    }
    return {errc::corrupt, "the text is not what its type says", Fact::of_type(stored.code.type), {}};
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_CHECK_HPP
