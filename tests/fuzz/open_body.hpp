// One run of the fuzz target: makes the file that a recipe describes, opens it, does what the recipe says, and compares
// every answer with a `std::map` and with the plain reader of format.hpp. Used by the fuzzer and by the replay of its
// corpus; throws `std::logic_error` when the library breaks a promise.
//
// How much can be promised depends on the file:
//
//   sound        `verify()` finds nothing: every answer is known, and the model says it
//   damaged      but no two records share bytes: what a key answers changes only when that key is changed
//   overlapping  records share bytes, or another program wrote to the file while it was open: no crash, no hang, and
//                nothing but errors of the library
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>
#include <vector>

#include <kvs/kvs.hpp>

#include "format.hpp"
#include "recipe.hpp"

// A namespace of its own, so that not_covered.txt can tell the library, instantiated with this, from the test.
namespace kvs_fuzz_platform {

/// The system without a device: flushes cost nothing, and space ends where the test says. Space is granted without
/// being taken, so that a file of 4 GiB costs no memory.
struct FuzzPlatform : kvs::detail::PosixPlatform {
    static inline std::uint64_t space = 0;          // files grow up to this size
    static inline bool can_allocate = true;         // false: the system has no call for it
    static constexpr std::uint64_t most = 4 << 20;  // that is ever written to a file

    static int flush(File) noexcept { return 0; }
    static int flush_directory(const char*) noexcept { return 0; }
    static int allocate(File file, std::uint64_t, std::uint64_t to) noexcept {
        if (!can_allocate) return EOPNOTSUPP;
        FileStatus now;
        if (const int e = status(file, now); e != 0) return e;
        if (to <= now.bytes) return 0;
        return to > space ? ENOSPC : resize(file, to);
    }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        done = 0;
        if (offset + bytes > space || offset + bytes > most) return ENOSPC;
        return PosixPlatform::write(file, from, bytes, offset, done);
    }
};

}  // namespace kvs_fuzz_platform

namespace kvs_fuzz {

using kvs_fuzz_platform::FuzzPlatform;

#define KVS_FUZZ_CHECK(condition) ((condition) ? void() : ::kvs_fuzz::broken(__FILE__, __LINE__, #condition))

[[noreturn]] inline void broken(const char* file, int line, const char* condition) {
    throw std::logic_error(std::string(file) + ":" + std::to_string(line) + ": " + condition);
}

inline Datum datum_of(const kvs::Value& value) {
    const std::span<const std::byte> bytes = value.bytes();
    return {value.type(), value.encoded().bits, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}};
}

/// The files of a run, and their bytes. In a directory named for the process, in memory where there is such a place;
/// one that a run left which died is used again by the next process of that number.
class Files {
public:
    Files() : directory_(make_directory()), store_(open(store())), spare_(open(spare())) {}
    Files(const Files&) = delete;
    Files& operator=(const Files&) = delete;
    ~Files() {
        ::close(store_);
        ::close(spare_);
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

    std::string store() const { return (directory_ / "store").string(); }
    std::string copy() const { return (directory_ / "copy").string(); }
    std::string spare() const { return (directory_ / "spare").string(); }

    /// The pages of the file of the run before are used again: getting them anew would take longer than all the rest.
    void write_store(const Image& image) const {
        write(store_, image.bytes.data(), image.bytes.size(), 0);
        KVS_FUZZ_CHECK(::ftruncate(store_, static_cast<off_t>(image.bytes.size())) == 0);
        KVS_FUZZ_CHECK(::ftruncate(store_, static_cast<off_t>(image.size)) == 0);
    }
    void write_store(std::uint64_t offset, std::uint32_t number) const {
        write(store_, &number, sizeof number, offset);
    }

    /// The store as it lies in the file at this moment; null if it is large. Valid until the next call.
    const Image* read_store() const {
        static Image image;
        struct stat status {};
        KVS_FUZZ_CHECK(::fstat(store_, &status) == 0);
        image.size = static_cast<std::uint64_t>(status.st_size);
        if (image.size > FuzzPlatform::most) return nullptr;
        image.bytes.resize(image.size);
        KVS_FUZZ_CHECK(::pread(store_, image.bytes.data(), image.size, 0) == status.st_size);
        return &image;
    }
    void write_spare(const Image& image) const {
        write(spare_, image.bytes.data(), image.bytes.size(), 0);
        KVS_FUZZ_CHECK(::ftruncate(spare_, static_cast<off_t>(image.size)) == 0);
    }

    /// Removes a copy and says whether nothing else was left behind.
    bool tidy_up() const {
        std::error_code ignored;
        std::filesystem::remove(copy(), ignored);
        std::size_t files = 0;
        for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(directory_)) ++files;
        return files == 2;
    }

private:
    static std::filesystem::path make_directory() {
        const std::filesystem::path memory = "/dev/shm";
        const std::filesystem::path parent =
            std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
        std::filesystem::path directory = parent / ("kvs-fuzz-" + std::to_string(::getpid()));
        std::filesystem::remove_all(directory);
        std::filesystem::create_directory(directory);
        return directory;
    }
    static int open(const std::string& path) {
        const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        KVS_FUZZ_CHECK(file >= 0);
        return file;
    }
    static void write(int file, const void* from, std::size_t bytes, std::uint64_t offset) {
        KVS_FUZZ_CHECK(::pwrite(file, from, bytes, static_cast<off_t>(offset)) == static_cast<ssize_t>(bytes));
    }

    std::filesystem::path directory_;
    int store_;
    int spare_;
};

/// What a store says about a key.
struct Answer {
    kvs::errc error{};
    std::optional<Datum> datum;
    bool operator==(const Answer&) const = default;
};

inline kvs::errc code_of(const std::error_code& error) {
    if (!error) return {};
    KVS_FUZZ_CHECK(error.category() == kvs::error_category() && error.message() != "an unknown error (unknown)");
    return static_cast<kvs::errc>(error.value());
}

/// One key read as a `T` in each way that there is. Not within `Run`: it is compiled once, and not for each store.
template <class T>
struct Reads {
    std::optional<T> by_code;
    std::optional<T> by_throwing;
    T fallback{};  ///< of `get_or`, asked with `T{}`
    kvs::errc code{};
    kvs::errc thrown_code{};
    kvs::errc fallback_code{};

    /// They agree with each other, and with what `value` says.
    void check(const std::optional<kvs::Value>& value, kvs::errc value_error) const {
        KVS_FUZZ_CHECK(code == thrown_code && same(by_code, by_throwing));
        std::optional<T> expected;
        if (value) expected = value->template get_if<T>();
        KVS_FUZZ_CHECK(same(by_code, expected));
        if (value_error != kvs::errc{})
            KVS_FUZZ_CHECK(code == value_error || code == kvs::errc::type_mismatch);
        else
            KVS_FUZZ_CHECK(code == (value && !expected ? kvs::errc::type_mismatch : kvs::errc{}));
        KVS_FUZZ_CHECK(same(std::optional<T>(fallback), std::optional<T>(by_code ? *by_code : T{})));
        KVS_FUZZ_CHECK(fallback_code == (code == kvs::errc::type_mismatch ? kvs::errc{} : code));
    }

    static bool same(const std::optional<T>& a, const std::optional<T>& b) {
        if (a.has_value() != b.has_value()) return false;
        if constexpr (std::is_floating_point_v<T>)
            return !a || kvs::detail::number_bits(*a) == kvs::detail::number_bits(*b);
        else
            return a == b;
    }
};

template <class Store>
class Run {
public:
    Run(const Files& files, const Recipe& recipe)
        : files_(files),
          recipe_(recipe),
          texts_(keys_for(Store::key_length)),
          forger_(Store::key_length, recipe.weights) {
        for (const std::string& text : texts_) keys_.emplace_back(text);
    }

    void run() {
        FuzzPlatform::can_allocate = (recipe_.options & 1) == 0;
        FuzzPlatform::space = file_limit;
        for (const Step& step : recipe_.forging) forger_.apply(step);
        files_.write_store(forger_.image());
        options_.sync = (recipe_.options & 2) != 0 ? kvs::sync_each : kvs::sync_manual;
        if ((recipe_.options & 4) != 0) options_.mode = kvs::Mode::open_existing;
        if ((recipe_.options & 24) == 24) options_.mode = kvs::Mode::read_only;
        if (!open_first()) return;
        for (const Step& step : recipe_.operations) operate(step);
        close();
    }

private:
    using Key = typename Store::key_type;
    using Model = std::map<std::string, Datum>;

    // ---- opening and closing ---------------------------------------------------------------------------------------

    bool open_first() {
        const Image& image = forger_.image();
        std::error_code error;
        store_.emplace(files_.store(), options_, error);
        const kvs::errc code = code_of(error);
        const bool good_header = image.size >= 10 && image.text(0, 4) == "AKVS" &&
                                 image.number(4, 2) == Store::key_length && image.size <= file_limit;
        if (code != kvs::errc{}) {
            KVS_FUZZ_CHECK(!store_->is_open());
            // A sound file opens, and what does not open is left as it was.
            const bool limited = !FuzzPlatform::can_allocate && code == kvs::errc::disk_full;
            KVS_FUZZ_CHECK(!good_header || image.size < records_offset || limited);
            const Image* const now = files_.read_store();
            if (now != nullptr && !limited) {
                Image before = image;
                before.bytes.resize(static_cast<std::size_t>(before.size));
                KVS_FUZZ_CHECK(now->bytes == before.bytes);
            }
            return false;
        }
        KVS_FUZZ_CHECK(store_->is_open() && store_->path() == files_.store());
        const kvs::Recovery& found = store_->recovery();
        if (!good_header || image.size < records_offset) {
            // It was never a store, so it became one.
            format_ = Format(Store::key_length, options_.weights.header());
            KVS_FUZZ_CHECK(found.outcome == kvs::Recovery::Outcome::created && store_->empty());
            model_.emplace();
            return true;
        }
        format_ = Format(Store::key_length, static_cast<std::uint32_t>(image.number(6, 4)));
        const Contents contents = read_contents(image, format_);
        overlapping_ = contents.overlap;
        dangling_ = contents.dangling;
        if (!overlapping_) {
            KVS_FUZZ_CHECK(found.records == contents.records.size() && found.keys == contents.keys);
            KVS_FUZZ_CHECK(found.damaged_chains == contents.damaged_chains);
            const bool clean = contents.damaged_chains != 0 || contents.last_end == image.size;
            KVS_FUZZ_CHECK(found.outcome == (clean ? kvs::Recovery::Outcome::clean : kvs::Recovery::Outcome::killed));
            for (const auto& [key, records] : contents.by_key)
                for (const std::size_t record : records)
                    if (contents.records[record].length != contents.records[records[0]].length) ambiguous_.insert(key);
        }
        const kvs::Report report = verify();
        KVS_FUZZ_CHECK(report.ok() || forger_.damaged());
        if (!report.ok()) return true;
        // What `verify` calls sound is sound.
        KVS_FUZZ_CHECK(!contents.overlap && contents.damaged_chains == 0);
        KVS_FUZZ_CHECK(report.records == contents.records.size() && report.keys == contents.keys);
        model_.emplace();
        for (const auto& [key, records] : contents.by_key) {
            KVS_FUZZ_CHECK(records.size() == 1);
            const std::optional<Datum> datum = read_value(image, format_, contents.records[records[0]]);
            model_->emplace(key, datum ? *datum : ask(Key(key)).datum.value());  // decimal text
        }
        // The first word of a key is written last and erased first.
        for (const Record& record : contents.records)
            KVS_FUZZ_CHECK(record.deleted || !record.key.empty() || image.at(record.offset) == 0);
        return true;
    }

    /// Closes and opens again: every key answers as before.
    void reopen() {
        const std::vector<Answer> before = ask_all();
        const std::size_t keys = store_->size();
        store_.reset();
        check_file();
        if (dangling_ && wrote_) overlapping_ = true;  // see check_file
        std::error_code error;
        store_.emplace(files_.store(), options_, error);
        KVS_FUZZ_CHECK(overlapping_ || !error || !FuzzPlatform::can_allocate);
        if (!store_->is_open()) {
            FuzzPlatform::space = file_limit;
            FuzzPlatform::can_allocate = true;
            store_.emplace(files_.store(), options_);
        }
        KVS_FUZZ_CHECK(overlapping_ || store_->size() == keys);
        compare(before, ask_all(), nullptr);
    }

    void close() {
        if (model_) check_model(*store_);
        store_.reset();
        check_file();
        KVS_FUZZ_CHECK(files_.tidy_up());
    }

    /// After a close, the file is as sound as it was, and holds what the model holds.
    void check_file() {
        if (overlapping_) return;
        // A link beyond the end is left as it is, and new records can come to lie where it leads: the next open finds
        // them to overlap and lets nothing be written there.
        if (dangling_ && wrote_) return;
        const Image* const image = files_.read_store();
        if (image == nullptr) return;
        KVS_FUZZ_CHECK(image->size >= records_offset);
        const Contents contents = read_contents(*image, format_);
        KVS_FUZZ_CHECK(!contents.overlap);
        if (!model_) return;
        KVS_FUZZ_CHECK(contents.damaged_chains == 0 && contents.keys == model_->size());
        if (wrote_) KVS_FUZZ_CHECK(contents.last_end == image->size);
        for (const auto& [key, datum] : *model_) {
            const auto at = contents.by_key.find(key);
            KVS_FUZZ_CHECK(at != contents.by_key.end() && at->second.size() == 1);
            const std::optional<Datum> found = read_value(*image, format_, contents.records[at->second[0]]);
            KVS_FUZZ_CHECK(!found || *found == datum);
        }
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    static Answer ask(const Store& store, const Key& key) {
        std::error_code error;
        const std::optional<kvs::Value> value = store.value(key, error);
        KVS_FUZZ_CHECK(!value || !error);
        return {code_of(error), value ? std::optional(datum_of(*value)) : std::nullopt};
    }
    Answer ask(const Key& key) const { return ask(*store_, key); }

    std::vector<Answer> ask_all() const {
        std::vector<Answer> answers;
        for (const Key& key : keys_) answers.push_back(ask(key));
        return answers;
    }

    /// Every key but one says what it said before.
    void compare(const std::vector<Answer>& before, const std::vector<Answer>& after, const std::string* but) const {
        if (overlapping_) return;
        for (std::size_t i = 0; i < keys_.size(); ++i)
            KVS_FUZZ_CHECK(before[i] == after[i] || ambiguous_.contains(texts_[i]) ||
                           (but != nullptr && *but == texts_[i]));
    }

    /// The model, asked for one key by key and in iteration.
    void check_model(const Store& store) const {
        KVS_FUZZ_CHECK(store.size() == model_->size() && store.empty() == model_->empty());
        for (const auto& [text, datum] : *model_) {
            const Answer answer = ask(store, Key(text));
            KVS_FUZZ_CHECK(answer.error == kvs::errc{} && answer.datum == datum);
        }
        Model found;
        for (const kvs::Entry& entry : store) {
            KVS_FUZZ_CHECK(found.emplace(entry.key(), datum_of(entry.value())).second);
            KVS_FUZZ_CHECK(entry.type() == found.find(std::string(entry.key()))->second.type);
        }
        KVS_FUZZ_CHECK(found == *model_);
        for (std::size_t i = 0; i < keys_.size(); ++i)
            if (!model_->contains(texts_[i])) KVS_FUZZ_CHECK(ask(store, keys_[i]) == Answer{});
    }

    template <class T>
    void read_as(const Key& key, const std::optional<kvs::Value>& value, kvs::errc value_error) const {
        Reads<T> reads;
        std::error_code error;
        reads.by_code = store_->template get<T>(key, error);
        reads.code = code_of(error);
        try {
            reads.by_throwing = store_->template get<T>(key);
        } catch (const kvs::Error& e) {
            reads.thrown_code = code_of(e.code());
        }
        reads.fallback = store_->get_or(key, T{}, error);
        reads.fallback_code = code_of(error);
        KVS_FUZZ_CHECK(!reads.by_code || reads.code == kvs::errc{});
        if (!overlapping_ && !is_ambiguous(key)) reads.check(value, value_error);
    }

    void read_all_types(const Key& key, std::size_t room) const {
        std::error_code error;
        const std::optional<kvs::Value> value = store_->value(key, error);
        const kvs::errc code = code_of(error);
        read_as<bool>(key, value, code);
        read_as<std::uint8_t>(key, value, code);
        read_as<std::uint16_t>(key, value, code);
        read_as<std::uint32_t>(key, value, code);
        read_as<std::uint64_t>(key, value, code);
        read_as<std::int8_t>(key, value, code);
        read_as<std::int16_t>(key, value, code);
        read_as<std::int32_t>(key, value, code);
        read_as<std::int64_t>(key, value, code);
        read_as<float>(key, value, code);
        read_as<double>(key, value, code);
        read_as<std::string>(key, value, code);
        read_as<std::vector<std::byte>>(key, value, code);

        std::vector<std::byte> buffer(room);
        const std::optional<std::size_t> taken = store_->get_into(key, buffer, error);
        const kvs::errc taken_code = code_of(error);
        std::vector<char> characters(room);
        const std::optional<std::size_t> text = store_->get_into(key, characters, error);
        const kvs::errc text_code = code_of(error);
        const std::optional<kvs::Type> type = store_->type(key, error);
        const kvs::errc type_code = code_of(error);
        const bool contains = store_->contains(key, error);
        const kvs::errc contains_code = code_of(error);
        KVS_FUZZ_CHECK((!taken || *taken <= room) && (!text || *text <= room));
        if (overlapping_ || is_ambiguous(key) || code != kvs::errc{}) return;
        KVS_FUZZ_CHECK(type_code == kvs::errc{} && type == (value ? std::optional(value->type()) : std::nullopt));
        KVS_FUZZ_CHECK(contains_code == kvs::errc{} && contains == value.has_value());
        const Datum datum = value ? datum_of(*value) : Datum{};
        const bool fits = datum.payload.size() <= room;
        const auto expected = [&](bool right_type) {
            return !value || (right_type && fits) ? kvs::errc{}
                   : right_type                   ? kvs::errc::value_too_long
                                                  : kvs::errc::type_mismatch;
        };
        KVS_FUZZ_CHECK(taken_code == expected(datum.type >= kvs::Type::ascii));
        KVS_FUZZ_CHECK(text_code == expected(kvs::is_text(datum.type)));
        if (taken) KVS_FUZZ_CHECK(datum.payload == std::string(reinterpret_cast<char*>(buffer.data()), *taken));
        if (text) KVS_FUZZ_CHECK(datum.payload == std::string(characters.data(), *text));
    }

    bool is_ambiguous(const Key& key) const { return ambiguous_.contains(std::string(key.view())); }

    kvs::Report verify() const {
        std::error_code error;
        const kvs::Report report = store_->verify(error);
        KVS_FUZZ_CHECK(!error && report.problems.size() <= 100 && report.problems.size() <= report.problem_count);
        return report;
    }

    /// Iterates with errors by code; it ends, and what it shows is what a look-up shows.
    void iterate() const {
        std::error_code error;
        std::size_t steps = 0;
        for (auto it = store_->begin(error); it != store_->end(); it.increment(error)) {
            KVS_FUZZ_CHECK(++steps < 2'000'000);
            if (code_of(error) != kvs::errc{} || overlapping_) continue;
            const std::string text(it->key());
            std::error_code value_error;
            const kvs::Value value = it->value(value_error);
            const Answer answer = ask(Key(text));
            if (value_error || ambiguous_.contains(text) || answer.error != kvs::errc{}) continue;
            // Of two records of a key in one chain the first is the key's; iteration shows both.
            KVS_FUZZ_CHECK(answer.datum == datum_of(value) || !model_);
        }
    }

    void check() const {
        const kvs::Report report = verify();
        KVS_FUZZ_CHECK(report.ok() || !model_);
        std::error_code error;
        const kvs::Stats stats = store_->stats(error);
        KVS_FUZZ_CHECK(!error && stats.live_bytes <= file_limit);
        if (!model_) return;
        KVS_FUZZ_CHECK(report.keys == model_->size() && stats.keys == model_->size());
        KVS_FUZZ_CHECK(report.deleted_records == stats.deleted_records && stats.live_bytes <= stats.file_bytes);
    }

    // ---- changing --------------------------------------------------------------------------------------------------

    bool writable() const { return options_.mode != kvs::Mode::read_only; }

    void set(const Key& key, const std::string& text, const Datum& datum, std::error_code& error) {
        const auto number = [&]<class T>(T) { store_->set(key, static_cast<T>(datum.bits), error); };
        switch (datum.type) {
            case kvs::Type::boolean: store_->set(key, datum.bits != 0, error); break;
            case kvs::Type::u8: number(std::uint8_t{}); break;
            case kvs::Type::u16: number(std::uint16_t{}); break;
            case kvs::Type::u32: number(std::uint32_t{}); break;
            case kvs::Type::u64: number(std::uint64_t{}); break;
            case kvs::Type::i8: number(std::int8_t{}); break;
            case kvs::Type::i16: number(std::int16_t{}); break;
            case kvs::Type::i32: number(std::int32_t{}); break;
            case kvs::Type::i64: number(std::int64_t{}); break;
            case kvs::Type::f32:
                store_->set(key, std::bit_cast<float>(static_cast<std::uint32_t>(datum.bits)), error);
                break;
            case kvs::Type::f64: store_->set(key, std::bit_cast<double>(datum.bits), error); break;
            case kvs::Type::ascii: store_->set(key, datum.payload, error); break;
            case kvs::Type::utf8: store_->set(std::string_view(text), std::string_view(datum.payload), error); break;
            case kvs::Type::bytes: store_->set(key, std::as_bytes(std::span(datum.payload)), error); break;
        }
    }

    /// False if a new record for the value would end behind the last byte that a file can have.
    bool has_room_for(const Datum& datum) const {
        std::error_code error;
        const std::uint64_t end = store_->stats(error).live_bytes;
        KVS_FUZZ_CHECK(!error);
        return end + format_.record_bytes(*format_.length_for(datum)) <= file_limit;
    }

    void change(const Key& key, const std::string& text, const Datum* datum) {
        const std::vector<Answer> before = ask_all();
        const Answer was = ask(key);
        std::error_code error;
        bool erased = false;
        if (datum != nullptr)
            set(key, text, *datum, error);
        else
            erased = store_->erase(key, error);
        const kvs::errc code = code_of(error);
        const std::vector<Answer> after = ask_all();
        const Answer is = ask(key);
        if (overlapping_) return;
        if (code != kvs::errc{}) {
            compare(before, after, nullptr);
            KVS_FUZZ_CHECK(was == is || ambiguous_.contains(text));
            const bool too_long = datum != nullptr && !format_.length_for(*datum);
            // Where space cannot be allocated, the first change writes to all holes, and fails if there is no space.
            const bool full = code == kvs::errc::disk_full && (datum != nullptr || !FuzzPlatform::can_allocate);
            const bool ends = code == kvs::errc::store_full && (!model_ || (datum != nullptr && !has_room_for(*datum)));
            const bool damaged = code == kvs::errc::corrupt && !model_;
            KVS_FUZZ_CHECK(too_long      ? code == kvs::errc::value_too_long
                           : !writable() ? code == kvs::errc::read_only
                                         : full || ends || damaged);
            return;
        }
        KVS_FUZZ_CHECK(writable());
        wrote_ |= datum != nullptr || erased;
        compare(before, after, &text);
        // Where a chain is damaged, nobody knows what was behind the record that was erased.
        const bool unknown = datum == nullptr && !model_ && is.error == kvs::errc::corrupt;
        KVS_FUZZ_CHECK(unknown || is == (datum != nullptr ? Answer{{}, *datum} : Answer{}));
        KVS_FUZZ_CHECK(datum != nullptr || erased == (was != Answer{}) || ambiguous_.contains(text));
        ambiguous_.erase(text);
        if (!model_) return;
        if (datum != nullptr)
            (*model_)[text] = *datum;
        else
            model_->erase(text);
        KVS_FUZZ_CHECK(store_->size() == model_->size());
    }

    void clear() {
        const std::vector<Answer> before = ask_all();
        std::error_code error;
        store_->clear(error);
        if (code_of(error) != kvs::errc{}) return compare(before, ask_all(), nullptr);
        KVS_FUZZ_CHECK(writable() && store_->empty());
        for (const Key& key : keys_) KVS_FUZZ_CHECK(ask(key) == Answer{});
        // All chains are empty, so nothing is left of the damage.
        wrote_ = true;
        overlapping_ = false;
        dangling_ = false;
        ambiguous_.clear();
        model_.emplace();
    }

    /// Keys and values that are none change nothing and say why.
    void refuse(const Step& step) {
        static const std::string long_text(65537, 'x');
        const std::string too_long(Store::key_length + 1, 'k');
        const std::string bad_keys[] = {"", std::string(Store::key_length, '\0'), too_long, std::string("a\0", 2)};
        const std::vector<Answer> before = ask_all();
        std::error_code error;
        if ((step.b & 1) != 0) {
            const std::string_view bad[] = {std::string_view("\0", 1), "\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                                            long_text};
            store_->set(keys_[step.a % keys_.size()], bad[step.c % 5], error);
            KVS_FUZZ_CHECK(code_of(error) == (step.c % 5 == 4 ? kvs::errc::value_too_long : kvs::errc::not_text));
        } else {
            const Key key(bad_keys[step.c % 4]);
            if (key.problem() == kvs::errc{}) return;  // where two bytes are the whole key length
            store_->set(key, 1, error);
            KVS_FUZZ_CHECK(code_of(error) == key.problem());
            store_->erase(key, error);
            KVS_FUZZ_CHECK(code_of(error) == key.problem());
            KVS_FUZZ_CHECK(!store_->template get<int>(key, error) && code_of(error) == key.problem());
        }
        compare(before, ask_all(), nullptr);
    }

    // ---- the file as a whole ---------------------------------------------------------------------------------------

    void copy(bool compact) {
        std::error_code error;
        if (compact)
            store_->compact_to(files_.copy(), error);
        else
            store_->copy_to(files_.copy(), error);
        const kvs::errc code = code_of(error);
        if (code != kvs::errc{}) {
            KVS_FUZZ_CHECK(!model_ || code == kvs::errc::disk_full || code == kvs::errc::store_full);
            KVS_FUZZ_CHECK(files_.tidy_up());
            return;
        }
        if (model_) {
            const Store other(files_.copy(), {.mode = kvs::Mode::read_only});
            KVS_FUZZ_CHECK(other.recovery().outcome == kvs::Recovery::Outcome::clean && other.verify().ok());
            KVS_FUZZ_CHECK(!compact || other.stats().deleted_records == 0);
            check_model(other);
        }
        KVS_FUZZ_CHECK(files_.tidy_up());
    }

    /// The file as a killed process would leave it now.
    void kill() {
        const Image* const image = files_.read_store();
        if (image == nullptr || !model_) return;
        files_.write_spare(*image);
        Store other(files_.spare(), {.mode = kvs::Mode::open_existing, .sync = kvs::sync_manual});
        KVS_FUZZ_CHECK(other.verify().ok());
        check_model(other);
    }

    /// Another program writes to the file, whatever the locks say.
    void tamper(const Step& step) {
        const Image* const image = files_.read_store();
        if (image == nullptr || (step.a & 3) != 0) return;
        files_.write_store(10 + step.b % (image->size - 14), step.c);
        overlapping_ = true;
        model_.reset();
    }

    void operate(const Step& step) {
        const std::size_t number = step.a % keys_.size();
        const Key& key = keys_[number];
        const std::string& text = texts_[number];
        // A file has room for fewer records than it has bytes.
        KVS_FUZZ_CHECK(store_->size() <= file_limit / (Store::key_length + 6));
        switch (step.what % 64) {
            default:
                if (const Datum datum = datum_for(step.b, step.c); true) change(key, text, &datum);
                break;
            case 1:
            case 2:
            case 3:
            case 4:
            case 5:
            case 6:
            case 7: change(key, text, nullptr); break;
            case 8:
            case 9:
            case 10:
            case 11:
            case 12:
            case 13: read_all_types(key, (step.b & 1) != 0 ? 65536 : step.c % 64); break;
            case 14:
            case 15: clear(); break;
            case 16:
            case 17: iterate(); break;
            case 18:
            case 19: check(); break;
            case 20: copy(false); break;
            case 21:
            case 22: copy(true); break;
            case 23:
            case 24: reopen(); break;
            case 25:
                options_.mode = writable() ? kvs::Mode::read_only : kvs::Mode::open_existing;
                reopen();
                break;
            case 26: kill(); break;
            case 27: tamper(step); break;
            case 28: FuzzPlatform::space = (step.b & 1) != 0 ? file_limit : records_offset + step.c % 300'000; break;
            case 29: refuse(step); break;
            case 30: {
                std::error_code error;
                store_->sync(error);
                KVS_FUZZ_CHECK(!error);
                const Store second(files_.store(), {.mode = kvs::Mode::open_existing}, error);
                KVS_FUZZ_CHECK(code_of(error) == kvs::errc::in_use);
                break;
            }
        }
    }

    const Files& files_;
    const Recipe& recipe_;
    const std::vector<std::string>& texts_;
    std::vector<Key> keys_;
    Forger forger_;
    Format format_ = forger_.format();
    kvs::Options options_;
    std::optional<Store> store_;
    std::optional<Model> model_;       // while the file is sound
    std::set<std::string> ambiguous_;  // keys with records in two lengths: either may answer
    bool overlapping_ = false;
    bool dangling_ = false;
    bool wrote_ = false;
};

/// One input.
inline void open_and_operate(std::span<const std::uint8_t> input) {
    static const Files files;
    const Recipe recipe = parse(input);
    const auto run = [&]<class Store>(std::type_identity<Store>) { Run<Store>(files, recipe).run(); };
    using kvs::NoBackup, kvs::Unshared;
    switch (recipe.store % 8) {
        case 0:
        case 1: return run(std::type_identity<kvs::Store<32, NoBackup, FuzzPlatform>>{});
        case 2: return run(std::type_identity<kvs::Store<1, NoBackup, FuzzPlatform>>{});
        case 3: return run(std::type_identity<kvs::Store<7, NoBackup, FuzzPlatform>>{});
        case 4: return run(std::type_identity<kvs::Store<8, NoBackup, FuzzPlatform>>{});
        case 5: return run(std::type_identity<kvs::Store<97, NoBackup, FuzzPlatform>>{});
        case 6: return run(std::type_identity<kvs::Store<8, NoBackup, Unshared, FuzzPlatform>>{});
        default: return run(std::type_identity<kvs::Store<97, NoBackup, Unshared, FuzzPlatform>>{});
    }
}

}  // namespace kvs_fuzz
