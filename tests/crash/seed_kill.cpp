// [seed-change] [seed-creation] A process killed between any two of its stores, in every situation that a chain can be
// in. Each operation is recorded (recording_platform.hpp), cut after every event, and the file of that moment is opened
// by a fresh store, which has to be as seed_change.hpp promises:
//
//   * it opens, no chain is damaged, `size()` is what iteration yields, and no key is there that nobody set;
//   * every other key is exactly as it was;
//   * the key in flight has its old value or its new one; where the promise is marked *, what a mixture gives;
//   * setting, erasing and setting again work as if nothing had happened, and `verify` tells of nothing but what the
//     promise allows: an abandoned record, whose key is half written or half erased, or a key that is there twice until
//     it is set again.
//
// A failure prints the name of the scenario and of the cut. KVS_CUT='name' runs that scenario alone, KVS_CUT='name@17'
// that cut alone.
#include <kvs/kvs.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/recording_platform.hpp"
#include "../support/seed_image.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs::errc;
using kvs::Mode;
using kvs::Type;
using kvs::Value;
using kvs_test::Event;
using kvs_test::EventLog;
using kvs_test::Recording;
using kvs_test::RecordingPlatform;
using kvs_test::SeedImage;
using kvs_test::TempDir;

const kvs::Options quiet{.sync = kvs::sync_manual};

/// What a store holds. The tests never look into the library for this.
using Model = std::map<std::string, Value>;
using Allowed = std::vector<std::optional<Value>>;

/// The bytes that a value needs, count included, and the smallest length of the usual weights with so many.
std::uint64_t value_bytes(const Value& value) {
    switch (value.type()) {
        case Type::u8:
        case Type::i8:
        case Type::boolean: return 1;
        case Type::u16:
        case Type::i16: return 2;
        case Type::u32:
        case Type::i32:
        case Type::f32: return 4;
        case Type::u64:
        case Type::i64:
        case Type::f64: return 8;
        default: break;
    }
    const std::uint64_t wanted = value.bytes().size() + (value.type() == Type::bytes ? 2 : 0);
    for (const std::uint64_t p : std::initializer_list<std::uint64_t>{16, 32, 64, 128, 256, 512, 2048, 4096, 65536})
        if (wanted <= p) return p;
    return 0;
}

bool is_number(const Value& value) { return value.type() < Type::ascii; }

/// One change.
struct Change {
    enum class Kind { set, erase, clear } kind;
    std::string key;
    Value value{};
};

template <class Store>
void carry_out(Store& store, const Change& change) {
    switch (change.kind) {
        case Change::Kind::set: store.set(change.key, change.value); break;
        case Change::Kind::erase: store.erase(change.key); break;
        case Change::Kind::clear: store.clear(); break;
    }
}
void carry_out(Model& model, const Change& change) {
    switch (change.kind) {
        case Change::Kind::set: model[change.key] = change.value; break;
        case Change::Kind::erase: model.erase(change.key); break;
        case Change::Kind::clear: model.clear(); break;
    }
}

std::string to_text(const std::optional<Value>& value) {
    if (!value) return "absent";
    std::string text = kvs::to_string(value->type());
    if (is_number(*value))
        return text + " " +
               std::to_string(value->type() == Type::f64 || value->type() == Type::f32
                                  ? static_cast<long long>(value->get<double>())
                              : value->type() == Type::boolean ? static_cast<long long>(value->get<bool>())
                                                               : value->get_if<std::int64_t>().value_or(-1));
    text += " of " + std::to_string(value->bytes().size());
    for (std::size_t i = 0; i < value->bytes().size() && i < 12; ++i) {
        constexpr char digits[] = "0123456789abcdef";
        const auto byte = std::to_integer<unsigned>(value->bytes()[i]);
        text += i == 0 ? " " : "";
        text += {digits[byte >> 4], digits[byte & 15]};
    }
    return text;
}

/// What has to be true of one file that a killed process left.
struct Promise {
    Model others;                  ///< keys that must be exactly so
    std::string key;               ///< the one in flight, "" for none
    Allowed allowed;               ///< its values
    bool anything = false;         ///< (*) or any other value
    std::size_t copies = 1;        ///< in so many value lengths it may be
    bool others_may_go = false;    ///< `clear`
    std::size_t half_records = 1;  ///< so many records may be abandoned, their key half written or erased
};

/// Filters scenarios by KVS_CUT, names cuts and counts them.
class Cuts {
public:
    Cuts() {
        if (const char* text = std::getenv("KVS_CUT")) {
            only_ = text;
            if (const std::size_t at = only_.rfind('@'); at != std::string::npos) {
                cut_ = std::strtoull(only_.c_str() + at + 1, nullptr, 10);
                only_.resize(at);
            }
        }
    }
    bool wants(const std::string& scenario) const { return only_.empty() || only_ == scenario; }
    bool wants(const std::string& scenario, std::size_t cut) const {
        return wants(scenario) && (!cut_ || *cut_ == cut);
    }
    bool filtered() const { return !only_.empty(); }

    std::size_t states = 0;

private:
    std::string only_;
    std::optional<std::size_t> cut_;
};

template <std::size_t KeyLen>
class Lab {
public:
    using Recorded = kvs::Store<KeyLen, kvs::NoBackup, RecordingPlatform>;
    using Plain = kvs::SeedStore<KeyLen>;

    explicit Lab(Cuts& cuts) : cuts_(cuts) {}

    Cuts& cuts() { return cuts_; }
    std::string path() const { return dir_.file("recorded.akvs"); }
    std::string cut_path() const { return dir_.file("cut.akvs"); }

    /// The image of a closed store in which these changes were made.
    std::string image_of(const std::vector<Change>& changes) const {
        const std::string file = dir_.file("prepared.akvs");
        std::remove(file.c_str());
        {
            Plain s(file, quiet);
            for (const Change& change : changes) carry_out(s, change);
        }
        return kvs_test::contents_of(file);
    }

    /// What `work(store)` does to a store in which `image` was opened.
    template <class Work>
    EventLog record(const std::string& image, Work work) const {
        kvs_test::write_file(path(), image);
        Recorded s(path(), quiet);
        Recording recording;
        work(s);
        recording.stop();
        return std::move(recording.log);
    }

    /// Cuts the log after every event and checks each file that is another than the one before.
    void check_every_cut(const std::string& name, const EventLog& log, const Promise& promise,
                         const std::optional<Value>& next = {}) {
        if (!log.violations.empty()) FAIL(name << ": " << log.violations.front());
        EventLog::Cursor cursor(log);
        for (bool more = true, changed = true; more; more = cursor.next(), changed = more && cursor.changed()) {
            if (!changed || !cursor.exists() || !cuts_.wants(name, cursor.position())) continue;
            ++cuts_.states;
            const std::string id = name + "@" + std::to_string(cursor.position());
            const std::string problem = problem_of(cursor.image(), promise, next);
            if (!problem.empty()) FAIL("KVS_CUT='" << id << "': " << problem);
        }
    }

    /// What is wrong with a file, "" for nothing. `next` is what the key is set to afterwards.
    std::string problem_of(const std::string& image, const Promise& promise, const std::optional<Value>& next) const {
        try {
            return find_problem(image, promise, next);
        } catch (const std::exception& e) {
            return std::string("exception: ") + e.what();
        }
    }

private:
    struct Contents {
        Model values;
        std::map<std::string, std::size_t> seen;
        std::size_t entries = 0;
    };

    static std::string read(Plain& s, const Promise& promise, Contents& contents) {
        for (auto it = s.begin(); it != s.end(); ++it) {
            const std::string key(it->key());
            ++contents.entries;
            ++contents.seen[key];
            if (key != promise.key && promise.others.count(key) == 0) return "a key that nobody set: " + key;
            std::error_code error;
            Value value = it->value(error);
            if (!error)
                contents.values[key] = std::move(value);
            else if (key != promise.key || !promise.anything)
                return "an entry that cannot be read: " + key;
        }
        if (contents.entries != s.size())
            return "size() is " + std::to_string(s.size()) + ", and iteration yields " +
                   std::to_string(contents.entries);
        return "";
    }

    /// What `verify` tells of and the promise does not.
    std::string verify(const Plain& s, const Promise& promise, bool key_was_set) const {
        const kvs::Report report = s.verify();
        if (report.abandoned_records > promise.half_records)
            return "verify counts " + std::to_string(report.abandoned_records) + " abandoned records";
        if (report.ok()) return "";
        const std::string bytes = kvs_test::contents_of(cut_path());
        std::string padded = promise.key;
        padded.resize(KeyLen, '\0');
        const auto key_at = [&](std::uint64_t record) { return bytes.compare(record, KeyLen, padded) == 0; };
        std::size_t twice = 0, mixed = 0;
        std::string text;
        for (const kvs::Problem& problem : report.problems) {
            if (key_at(problem.offset))
                ++twice;
            else if (key_at(problem.offset - KeyLen) || key_at(problem.offset - KeyLen - 1))  // the type or the value
                ++mixed;
            else
                text += "; " + problem.text + " at " + std::to_string(problem.offset);
        }
        if (twice > (key_was_set ? 0 : promise.copies - 1)) text += "; the key is there too often";
        if (mixed > (promise.anything && !key_was_set ? 1u : 0u)) text += "; the value is damaged";
        if (report.problem_count != report.problems.size()) text += "; more problems than a report holds";
        return text.empty() ? "" : "verify" + text;
    }

    std::string find_problem(const std::string& image, const Promise& promise, const std::optional<Value>& next) const {
        kvs_test::write_file(cut_path(), image);
        Plain s(cut_path(), quiet);
        if (s.recovery().outcome == kvs::Recovery::Outcome::created) return "created again";
        if (s.recovery().damaged_chains != 0) return "a chain is damaged";
        Contents contents;
        if (std::string problem = read(s, promise, contents); !problem.empty()) return problem;

        for (const auto& [key, value] : promise.others) {
            const std::optional<Value> found = s.value(key);
            if (promise.others_may_go && !found && contents.seen.count(key) == 0) continue;
            if (found != std::optional(value)) return key + " is " + to_text(found) + " and was " + to_text(value);
            if (contents.seen[key] != 1) return key + " is seen " + std::to_string(contents.seen[key]) + " times";
            if (contents.values[key] != value) return key + " is seen as " + to_text(contents.values[key]);
        }
        if (!promise.key.empty()) {
            std::error_code error;
            const std::optional<Value> found = s.value(promise.key, error);
            bool right = promise.anything && !error;
            for (const auto& value : promise.allowed) right = right || (!error && found == value);
            if (!right) return promise.key + " is " + (error ? error.message() : to_text(found));
            const std::size_t seen = contents.seen.count(promise.key) != 0 ? contents.seen[promise.key] : 0;
            if (seen > promise.copies) return promise.key + " is seen " + std::to_string(seen) + " times";
            if ((seen != 0) != (error || found)) return promise.key + " is seen and not found, or found and not seen";
            if ((s.recovery().duplicate_keys != 0) != (seen > 1)) return "open has not counted the duplicate";
            if (s.contains(promise.key) != (seen != 0)) return "contains() says otherwise";
        }
        if (std::string problem = verify(s, promise, false); !problem.empty()) return problem;

        // And on as if nothing had happened.
        Model wanted = promise.others;
        if (!promise.key.empty()) {
            wanted[promise.key] = next ? *next : Value(std::uint64_t{0x0102030405060708});
            s.set(promise.key, wanted[promise.key]);
        }
        for (const auto& [key, value] : promise.others) s.set(key, value);
        if (std::string problem = compare(s, promise, wanted); !problem.empty()) return "after setting: " + problem;
        if (std::string problem = verify(s, promise, true); !problem.empty()) return "after setting: " + problem;
        for (const auto& [key, value] : wanted)
            if (!s.erase(key)) return "after setting, erase has not found " + key;
        if (std::string problem = compare(s, promise, {}); !problem.empty()) return "after erasing: " + problem;
        for (const auto& [key, value] : wanted) s.set(key, value);
        if (std::string problem = compare(s, promise, wanted); !problem.empty()) return "after all: " + problem;
        return "";
    }

    std::string compare(Plain& s, const Promise& promise, const Model& wanted) const {
        Contents contents;
        if (std::string problem = read(s, promise, contents); !problem.empty()) return problem;
        if (contents.entries != wanted.size()) return std::to_string(contents.entries) + " entries";
        if (contents.values != wanted) return "another value than was set";
        for (const auto& [key, value] : wanted)
            if (s.value(key) != std::optional(value)) return key + " is " + to_text(s.value(key));
        return "";
    }

    TempDir dir_;
    Cuts& cuts_;
};

// ---- situations ----------------------------------------------------------------------------------------------------

/// Keys that share their buckets in every value length, by brute force. With values of 8 bytes in three groups, of 4 in
/// two and all others in one, it is enough that the bucket for 8 bytes is the same.
template <std::size_t KeyLen>
std::vector<std::string> colliding_keys(std::size_t count, std::size_t key_bytes) {
    const SeedImage image(KeyLen);
    constexpr std::string_view alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    std::vector<std::string> keys;
    for (std::uint64_t n = 0; keys.size() < count; ++n) {
        std::string key(key_bytes, 'k');
        std::uint64_t rest = n;
        for (std::size_t i = 0; i < key_bytes; ++i, rest /= alphabet.size())
            key[key_bytes - 1 - i] = alphabet[rest % alphabet.size()];
        if (rest != 0) throw std::logic_error("no more keys");
        if (keys.empty() || image.bucket(key, 8) == image.bucket(keys[0], 8)) keys.push_back(key);
    }
    return keys;
}

enum class Vacancy { none, of_the_key, of_another };

/// Where the key in flight stands: how many keys are before and behind it in its chain, and what can be used again.
struct Situation {
    std::size_t before = 0;
    std::size_t behind = 0;
    Vacancy vacancy = Vacancy::none;
    unsigned alignment = 0;  ///< of the records, 0 to 7
    bool long_keys = true;   ///< of the full key length, else of three bytes

    std::string name() const {
        std::string text =
            std::to_string(before) + "before," + std::to_string(behind) + "behind,align" + std::to_string(alignment);
        if (vacancy != Vacancy::none) text += vacancy == Vacancy::of_the_key ? ",reuse-own" : ",reuse-other";
        return text + (long_keys ? "" : ",short");
    }
};

template <std::size_t KeyLen>
class Situations {
public:
    Situations() : long_(colliding_keys<KeyLen>(8, KeyLen)), short_(colliding_keys<KeyLen>(8, 3)) {}

    const std::string& key(const Situation& where) const { return keys(where)[0]; }

    /// The changes that lead to the situation; `old` is the key's value, `length_of` has the length of its chain.
    std::vector<Change> prepare(const Situation& where, const std::optional<Value>& old, const Value& length_of) const {
        using Kind = Change::Kind;
        std::vector<Change> changes;
        // Eight bystanders, some of them one byte longer than the others, move all that follow to any alignment.
        for (unsigned i = 0; i < 8; ++i) {
            const std::string key = "b" + std::to_string(i);
            if (i < where.alignment)
                changes.push_back({Kind::set, key, Value(static_cast<std::uint16_t>(1000 + i))});
            else
                changes.push_back({Kind::set, key, Value(static_cast<std::uint8_t>(100 + i))});
        }
        const std::string& key = keys(where)[0];
        std::size_t next = 1;
        const auto neighbour = [&] {
            changes.push_back({Kind::set, keys(where)[next], length_of});
            ++next;
        };
        const std::string deleted = keys(where)[7];
        for (std::size_t i = 0; i < where.before; ++i) neighbour();
        if (where.vacancy == Vacancy::of_another) changes.push_back({Kind::set, deleted, length_of});
        if (where.vacancy == Vacancy::of_the_key) changes.push_back({Kind::set, key, length_of});
        if (old) changes.push_back({Kind::set, key, *old});
        for (std::size_t i = 0; i < where.behind; ++i) neighbour();
        if (where.vacancy == Vacancy::of_another) changes.push_back({Kind::erase, deleted});
        if (where.vacancy == Vacancy::of_the_key && !old) changes.push_back({Kind::erase, key});
        return changes;
    }

private:
    const std::vector<std::string>& keys(const Situation& where) const { return where.long_keys ? long_ : short_; }
    std::vector<std::string> long_;
    std::vector<std::string> short_;
};

/// Values of every type and of lengths around those of the usual weights.
std::vector<std::pair<std::string, Value>> values() {
    std::vector<std::byte> blob;
    for (int i = 0; i < 300; ++i) blob.push_back(static_cast<std::byte>(i * 7 + 1));
    const auto bytes = [&](std::size_t n) {
        return Value(std::vector<std::byte>(blob.begin(), blob.begin() + static_cast<std::ptrdiff_t>(n)));
    };
    const auto text = [](std::size_t n, char first) {
        std::string s;
        for (std::size_t i = 0; i < n; ++i) s.push_back(static_cast<char>(first + static_cast<char>(i % 20)));
        return Value(s);
    };
    std::string accents;
    while (accents.size() < 30) accents += "\xc3\xa9\xe2\x82\xac";
    return {
        {"u8", Value(std::uint8_t{0xa5})},
        {"u8'", Value(std::uint8_t{0x5a})},
        {"i8", Value(std::int8_t{-3})},
        {"bool", Value(true)},
        {"u16", Value(std::uint16_t{0x1234})},
        {"i16", Value(std::int16_t{-0x1234})},
        {"i32", Value(0x12345678)},
        {"i32'", Value(-0x12345678)},
        {"u32", Value(0x89abcdefu)},
        {"f32", Value(1.5f)},
        {"u64", Value(std::uint64_t{0x0123456789abcdef})},
        {"u64'", Value(std::uint64_t{0xfedcba9876543210})},
        {"i64", Value(std::int64_t{-2})},
        {"f64", Value(-2.75)},
        {"empty", Value("")},
        {"ascii5", text(5, 'a')},
        {"ascii16", text(16, 'A')},
        {"utf8", Value("\xc3\xa9\xe2\x82\xac!")},
        {"bytes0", bytes(0)},
        {"bytes14", bytes(14)},
        {"ascii17", text(17, 'a')},
        {"ascii32", text(32, 'A')},
        {"utf8-30", Value(accents)},
        {"bytes30", bytes(30)},
        {"ascii100", text(100, 'a')},
        {"bytes100", bytes(100)},
        {"ascii256", text(256, 'A')},
    };
}

/// What is promised of a set of `now` where `old` is.
Promise promise_of_set(const Model& before, const std::string& key, const std::optional<Value>& old, const Value& now) {
    Promise promise;
    promise.others = before;
    promise.others.erase(key);
    promise.key = key;
    promise.allowed = {old, now};
    if (!old) return promise;
    if (value_bytes(*old) != value_bytes(now))
        promise.copies = 2;
    else
        promise.anything = !(is_number(now) && old->type() == now.type());
    return promise;
}

template <std::size_t KeyLen>
struct Runner {
    Lab<KeyLen> lab;
    Situations<KeyLen> situations;

    explicit Runner(Cuts& cuts) : lab(cuts) {}

    static std::string prefix() { return "key" + std::to_string(KeyLen) + "/"; }

    void run(const std::string& name, const std::vector<Change>& prepared, const Change& change) {
        if (!lab.cuts().wants(name)) return;
        Model before;
        for (const Change& step : prepared) carry_out(before, step);
        const auto found = before.find(change.key);
        const std::optional<Value> old = found != before.end() ? std::optional(found->second) : std::nullopt;
        Promise promise;
        if (change.kind == Change::Kind::set) {
            promise = promise_of_set(before, change.key, old, change.value);
        } else if (change.kind == Change::Kind::erase) {
            promise.others = before;
            promise.others.erase(change.key);
            promise.key = change.key;
            promise.allowed = {old, std::nullopt};
        } else {
            promise.others = before;
            promise.others_may_go = true;
        }
        const std::string image = lab.image_of(prepared);
        const EventLog log = lab.record(image, [&](auto& s) { carry_out(s, change); });
        lab.check_every_cut(name, log, promise, old ? old : std::optional(change.value));
        // And what was recorded to its end is the new state, without alternatives.
        Promise after;
        after.half_records = 0;
        Model model = before;
        carry_out(model, change);
        after.others = model;
        if (const std::string problem = lab.problem_of(log.image_after(log.size()), after, {});
            !problem.empty() && !lab.cuts().filtered())
            FAIL(name << ", complete: " << problem);
    }

    void set(const Situation& where, const std::pair<std::string, Value>* old,
             const std::pair<std::string, Value>& now) {
        const auto prepared =
            situations.prepare(where, old != nullptr ? std::optional(old->second) : std::nullopt,
                               where.vacancy != Vacancy::none || old == nullptr ? now.second : old->second);
        run(prefix() + where.name() + "/" + (old != nullptr ? old->first : "new") + "->" + now.first, prepared,
            {Change::Kind::set, situations.key(where), now.second});
    }
    void erase(const Situation& where, const std::pair<std::string, Value>& old) {
        run(prefix() + where.name() + "/erase-" + old.first, situations.prepare(where, old.second, old.second),
            {Change::Kind::erase, situations.key(where)});
    }
};

constexpr Situation chains[] = {{0, 0}, {1, 0}, {0, 1}, {1, 1}, {3, 2}};

}  // namespace

// ---- one change ----------------------------------------------------------------------------------------------------

TEMPLATE_TEST_CASE_SIG("a store killed within a change of one value to another", "[seed_kill][seed-change]",
                       ((std::size_t KeyLen), KeyLen), 3, 8, 13, 32) {
    Cuts cuts;
    Runner<KeyLen> runner(cuts);
    const auto all = values();
    // Every value to every other one, with every chain, alignment and key length. The usual run deals these out: each
    // pair of values gets one of each.
    const auto lengths = {3, 8, 13, 32};
    const auto* const mine = std::find(lengths.begin(), lengths.end(), static_cast<int>(KeyLen));
    std::size_t deal = 0;
    for (const auto& old : all) {
        for (const auto& now : all) {
            ++deal;
            if (!kvs_test::is_long() && !cuts.filtered() &&
                deal % lengths.size() != static_cast<std::size_t>(mine - lengths.begin()))
                continue;
            for (std::size_t i = 0; i < std::size(chains) * 8; ++i) {
                if (!kvs_test::is_long() && !cuts.filtered() && i != deal % (std::size(chains) * 8)) continue;
                Situation where = chains[i % std::size(chains)];
                where.alignment = static_cast<unsigned>(i / std::size(chains));
                where.long_keys = (deal + i) % 3 != 0;
                if (deal % 2 == 0 && value_bytes(old.second) != value_bytes(now.second))
                    where.vacancy = Vacancy::of_another;
                runner.set(where, &old, now);
            }
        }
    }
    INFO(cuts.states << " states");
    if (!cuts.filtered()) CHECK(cuts.states >= kvs_test::rounds(600, 100'000));
}

TEMPLATE_TEST_CASE_SIG("a store killed within inserting, reusing, overwriting, erasing, moving",
                       "[seed_kill][seed-change]", ((std::size_t KeyLen), KeyLen), 3, 8, 13, 32) {
    Cuts cuts;
    Runner<KeyLen> runner(cuts);
    const auto all = values();
    const auto named = [&](const char* name) -> const std::pair<std::string, Value>& {
        for (const auto& value : all)
            if (value.first == name) return value;
        throw std::logic_error(name);
    };
    for (unsigned alignment = 0; alignment < 8; ++alignment) {
        for (std::size_t chain = 0; chain < std::size(chains); ++chain) {
            Situation where = chains[chain];
            where.alignment = alignment;
            for (const bool long_keys : {true, false}) {
                where.long_keys = long_keys;
                where.vacancy = Vacancy::none;
                if (!kvs_test::is_long() && !cuts.filtered() && (alignment + chain + (long_keys ? 1 : 0)) % 2 != 0)
                    continue;
                // An insert goes to the end of its chain; one into an empty bucket is {0, 0}.
                if (where.behind == 0) {
                    runner.set(where, nullptr, named("u64"));
                    runner.set(where, nullptr, named("ascii17"));
                }
                runner.set(where, &named("u64"), named("u64'"));
                runner.set(where, &named("i32"), named("i32'"));
                runner.erase(where, named("u64"));
                runner.erase(where, named("ascii5"));
                runner.set(where, &named("i32"), named("ascii5"));
                runner.set(where, &named("ascii17"), named("u8"));
                for (const Vacancy vacancy : {Vacancy::of_the_key, Vacancy::of_another}) {
                    where.vacancy = vacancy;
                    runner.set(where, nullptr, named("u16"));
                    runner.set(where, nullptr, named("ascii17"));
                    runner.set(where, &named("u8"), named("u64"));  // moves into the deleted record
                }
            }
        }
    }
    // Long values, once.
    Situation where = chains[3];
    where.alignment = 5;
    const std::pair<std::string, Value> page{"page", Value(std::string(4000, 'p'))};
    runner.set(where, nullptr, page);
    runner.set(where, &page, named("u8"));
    runner.erase(where, page);
    if (kvs_test::is_long()) {
        const std::pair<std::string, Value> longest{"longest", Value(std::string(65536, 'x'))};
        runner.set(where, nullptr, longest);
        runner.set(where, &named("u64"), longest);
    }
    INFO(cuts.states << " states");
    if (!cuts.filtered()) CHECK(cuts.states >= kvs_test::rounds(2000, 20'000));
}

TEST_CASE("a store killed within clear", "[seed_kill][seed-change]") {
    Cuts cuts;
    Runner<8> runner(cuts);
    for (unsigned alignment = 0; alignment < 8; alignment += 3) {
        Situation where{2, 2, Vacancy::of_another};
        where.alignment = alignment;
        for (const auto& value : values()) {
            if (value.first != "u64" && value.first != "ascii17") continue;
            auto prepared = runner.situations.prepare(where, value.second, value.second);
            for (int i = 0; i < 20; ++i)
                prepared.push_back({Change::Kind::set, "c" + std::to_string(i),
                                    Value(std::string(static_cast<std::size_t>(i) * 3, 'c'))});
            runner.run("clear/" + where.name() + "/" + value.first, prepared, {Change::Kind::clear, ""});
            runner.run("clear-nothing/" + where.name() + "/" + value.first, {}, {Change::Kind::clear, ""});
        }
    }
    INFO(cuts.states << " states");
    if (!cuts.filtered()) CHECK(cuts.states >= 100);
}

// What was cleared is still in the file. Records that are put over it must not bring any of it back.
TEST_CASE("a store killed while it is filled again after clear", "[seed_kill][seed-change]") {
    Cuts cuts;
    Lab<8> lab(cuts);
    const auto keys = colliding_keys<8>(4, 8);
    std::vector<Change> old;
    for (int i = 0; i < 30; ++i)
        old.push_back({Change::Kind::set, "old" + std::to_string(i),
                       Value(std::string(static_cast<std::size_t>(i), static_cast<char>('A' + i % 20)))});
    for (const std::string& key : keys) old.push_back({Change::Kind::set, key, Value(std::uint64_t{77})});
    old.push_back({Change::Kind::clear, ""});
    // A clean close would cut the old bytes off, so they are taken from a store that is still open.
    const std::string file = lab.path();
    std::remove(file.c_str());
    const Change fresh[] = {
        {Change::Kind::set, "a", Value(std::uint8_t{1})},      {Change::Kind::set, keys[0], Value(std::uint64_t{2})},
        {Change::Kind::set, keys[1], Value("three")},          {Change::Kind::set, keys[1], Value(std::uint64_t{3})},
        {Change::Kind::set, keys[2], Value(std::uint64_t{4})}, {Change::Kind::erase, keys[0]},
        {Change::Kind::set, keys[3], Value(std::uint64_t{5})}};
    Lab<8>::Recorded s(file, quiet);
    for (const Change& change : old) carry_out(s, change);
    Model model;
    for (std::size_t i = 0; i < std::size(fresh); ++i) {
        const Change& change = fresh[i];
        Recording recording;
        carry_out(s, change);
        recording.stop();
        const auto found = model.find(change.key);
        const std::optional<Value> before = found != model.end() ? std::optional(found->second) : std::nullopt;
        Promise promise =
            change.kind == Change::Kind::set ? promise_of_set(model, change.key, before, change.value) : Promise{};
        if (change.kind == Change::Kind::erase) {
            promise.others = model;
            promise.others.erase(change.key);
            promise.key = change.key;
            promise.allowed = {before, std::nullopt};
        }
        const std::string name = "refill/" + std::to_string(i);
        lab.check_every_cut(name, recording.log, promise, before);
        carry_out(model, change);
    }
    if (!cuts.filtered()) CHECK(cuts.states >= 30);
}

// ---- two changes, two deaths ---------------------------------------------------------------------------------------

TEST_CASE("a store killed once more while it goes on after a death", "[seed_kill][seed-change]") {
    Cuts cuts;
    Runner<13> runner(cuts);
    Lab<13>& lab = runner.lab;
    const auto all = values();
    const auto named = [&](const char* name) {
        for (const auto& value : all)
            if (value.first == name) return value.second;
        throw std::logic_error(name);
    };
    struct First {
        const char* name;
        std::optional<Value> old;
        Change::Kind kind;
        Value now;
    };
    const First firsts[] = {
        {"move", named("u64"), Change::Kind::set, named("ascii5")},
        {"move-down", named("ascii17"), Change::Kind::set, named("u8")},
        {"erase", named("u64"), Change::Kind::erase, {}},
        {"insert", std::nullopt, Change::Kind::set, named("u64")},
    };
    for (const First& first : firsts) {
        for (const Vacancy vacancy : {Vacancy::none, Vacancy::of_another}) {
            for (unsigned alignment = 0; alignment < 8; alignment += static_cast<unsigned>(kvs_test::rounds(3, 1))) {
                Situation where{1, 1, vacancy};
                where.alignment = alignment;
                const std::string key = runner.situations.key(where);
                const auto prepared = runner.situations.prepare(
                    where, first.old, first.kind == Change::Kind::set ? first.now : *first.old);
                Model before;
                for (const Change& step : prepared) carry_out(before, step);
                const EventLog log = lab.record(lab.image_of(prepared), [&](auto& s) {
                    carry_out(s, Change{first.kind, key, first.now});
                });
                EventLog::Cursor cursor(log);
                while (cursor.next()) {
                    if (!cursor.changed()) continue;
                    // What the key holds now, once or twice.
                    Allowed held;
                    {
                        kvs_test::write_file(lab.cut_path(), cursor.image());
                        const kvs::SeedStore<13> s(lab.cut_path(), {.mode = Mode::read_only});
                        for (const auto& entry : s)
                            if (entry.key() == key) held.emplace_back(entry.value());
                    }
                    const std::size_t copies = held.size();
                    if (held.empty()) held.emplace_back(std::nullopt);
                    const Change seconds[] = {{Change::Kind::set, key, named("u64'")},
                                              {Change::Kind::set, key, named("ascii16")},
                                              {Change::Kind::set, key, named("u16")},
                                              {Change::Kind::erase, key}};
                    for (std::size_t i = 0; i < std::size(seconds); ++i) {
                        const std::string name = std::string("twice/") + first.name + "/" + where.name() + "/" +
                                                 std::to_string(cursor.position()) + "/" + std::to_string(i);
                        if (!cuts.wants(name)) continue;
                        const Change& second = seconds[i];
                        Promise promise;
                        promise.others = before;
                        promise.others.erase(key);
                        promise.key = key;
                        promise.allowed = held;
                        if (second.kind == Change::Kind::erase)
                            promise.allowed.emplace_back(std::nullopt);
                        else
                            promise.allowed.emplace_back(second.value);
                        for (const auto& value : held)
                            if (value && second.kind == Change::Kind::set) {
                                const Promise one = promise_of_set(before, key, value, second.value);
                                promise.anything = promise.anything || one.anything;
                            }
                        // Those that are there, and a new one before they are erased.
                        promise.copies = copies + 1;
                        promise.half_records = 2;
                        const EventLog again = lab.record(cursor.image(), [&](auto& s) { carry_out(s, second); });
                        lab.check_every_cut(name, again, promise, second.value);
                    }
                }
            }
        }
    }
    INFO(cuts.states << " states");
    if (!cuts.filtered()) CHECK(cuts.states >= 1000);
}

// ---- the life of a file --------------------------------------------------------------------------------------------

namespace {

/// A file whose creation was not finished is nobody's store, and the next one who may creates it.
void check_unfinished(const Lab<8>& lab, const std::string& image, const std::string& id) {
    INFO(id);
    for (const Mode mode : {Mode::open_existing, Mode::read_only}) {
        kvs_test::write_file(lab.cut_path(), image);
        std::error_code error;
        const kvs::SeedStore<8> s(lab.cut_path(), {.mode = mode}, error);
        REQUIRE(error == errc::not_a_store);
        REQUIRE((kvs_test::contents_of(lab.cut_path()) == image));
    }
    kvs::SeedStore<8> s(lab.cut_path(), quiet);
    REQUIRE(s.recovery().outcome == kvs::Recovery::Outcome::created);
    REQUIRE(s.empty());
    s.set("k", 1);
    REQUIRE(s.verify().ok());
    REQUIRE(s.get<int>("k") == 1);
}

}  // namespace

TEST_CASE("a store killed within its creation is created again by the next open", "[seed_kill][seed-creation]") {
    Cuts cuts;
    Lab<8> lab(cuts);
    std::size_t unfinished = 0, finished = 0;
    for (const bool onto_remains : {false, true}) {
        std::remove(lab.path().c_str());
        if (onto_remains) kvs_test::write_file(lab.path(), std::string(100'000, '\0'));
        Recording recording;
        { Lab<8>::Recorded s(lab.path(), quiet); }
        recording.stop();
        const EventLog& log = recording.log;
        CHECK(log.violations.empty());
        CHECK(log.count(Event::Kind::flush_end) == 2);
        CHECK(log.count(Event::Kind::flush_directory) == 1);
        EventLog::Cursor cursor(log);
        for (bool more = true; more; more = cursor.next()) {
            const std::string name = std::string(onto_remains ? "create-again" : "create");
            if (!cursor.exists() || !cuts.wants(name, cursor.position())) continue;
            ++cuts.states;
            const std::string id = "KVS_CUT='" + name + "@" + std::to_string(cursor.position()) + "'";
            if (cursor.image().compare(0, 4, "AKVS") != 0) {
                ++unfinished;
                check_unfinished(lab, cursor.image(), id);
            } else {
                ++finished;
                INFO(id);
                CHECK(lab.problem_of(cursor.image(), {}, {}) == "");
            }
        }
    }
    if (!cuts.filtered()) {
        CHECK(unfinished >= 8);
        CHECK(finished >= 2);
    }
}

TEST_CASE("a creation cut off by a power cut leaves a store, or what was never one", "[seed_kill][seed-creation]") {
    Cuts cuts;
    Lab<8> lab(cuts);
    std::remove(lab.path().c_str());
    Recording recording;
    { Lab<8>::Recorded s(lab.path(), quiet); }
    recording.stop();
    const EventLog& log = recording.log;
    std::size_t states = 0;
    for (std::size_t n = 0; n <= log.size(); ++n) {
        for (const std::uint64_t unit : std::initializer_list<std::uint64_t>{8, 512, 4096}) {
            const kvs_test::Mixture mixture = log.mixture_after(n, unit);
            REQUIRE(mixture.count() <= 16);
            std::set<std::uint64_t> sizes{mixture.smallest, mixture.largest};
            for (const std::uint64_t size :
                 std::initializer_list<std::uint64_t>{0, 1, 7, 8, 9, 10, 11, 4095, 4096, 262153, 262154})
                if (size >= mixture.smallest && size <= mixture.largest) sizes.insert(size);
            for (const std::uint64_t size : sizes) {
                for (std::size_t mix = 0; mix < mixture.count(); ++mix) {
                    std::size_t rest = mix;
                    const std::string image = mixture.image(size, [&](std::uint64_t, std::size_t count) {
                        const std::size_t picked = rest % count;
                        rest /= count;
                        return picked;
                    });
                    ++states;
                    const std::string id = "cut " + std::to_string(n) + ", unit " + std::to_string(unit) + ", size " +
                                           std::to_string(size) + ", mixture " + std::to_string(mix);
                    if (image.compare(0, 4, "AKVS") != 0) {
                        check_unfinished(lab, image, id);
                    } else {
                        INFO(id);
                        CHECK(lab.problem_of(image, {}, {}) == "");
                    }
                }
            }
        }
    }
    CHECK(states >= 50);
}

TEST_CASE("a store killed while it opens, grows and closes", "[seed_kill][seed-change]") {
    Cuts cuts;
    Lab<8> lab(cuts);
    std::vector<Change> first;
    for (int i = 0; i < 20; ++i) first.push_back({Change::Kind::set, "k" + std::to_string(i), Value(i)});
    const std::string image = lab.image_of(first);
    Model model;
    for (const Change& change : first) carry_out(model, change);

    // Opening and closing alone changes nothing at all.
    for (const Mode mode : {Mode::open_or_create, Mode::read_only}) {
        kvs_test::write_file(lab.path(), image);
        Recording recording;
        { Lab<8>::Recorded s(lab.path(), {.mode = mode}); }
        CHECK(recording.log.count(Event::Kind::store) == 0);
        CHECK(recording.log.count(Event::Kind::write) == 0);
        CHECK(recording.log.count(Event::Kind::resize) == 0);
        CHECK(recording.log.count(Event::Kind::allocate) == 0);
        CHECK(recording.log.count(Event::Kind::flush_end) == 0);
    }

    // A whole session, with values long enough to make the file grow several times.
    kvs_test::write_file(lab.path(), image);
    Recording recording;
    std::vector<Change> session;
    {
        Lab<8>::Recorded s(lab.path(), quiet);
        for (int i = 0; i < 8; ++i) {
            session.push_back({Change::Kind::set, "g" + std::to_string(i),
                               Value(std::string(static_cast<std::size_t>(20000 + i), 'g'))});
            recording.mark("begin");
            carry_out(s, session.back());
            recording.mark("end");
        }
        s.sync();
    }
    recording.stop();
    const EventLog& log = recording.log;
    CHECK(log.violations.empty());
    CHECK(log.count(Event::Kind::allocate) >= 4);
    CHECK(log.count(Event::Kind::resize) == 1);  // the close cuts off what was got in advance
    EventLog::Cursor cursor(log);
    std::size_t done = 0;
    bool within = false;
    std::size_t stores = 0;
    for (bool more = true; more; more = cursor.next()) {
        const Event* event = cursor.position() != 0 ? &log.events[cursor.position() - 1] : nullptr;
        if (event != nullptr && event->kind == Event::Kind::mark) {
            within = event->bytes == "begin";
            done += within ? 0 : 1;
        }
        // Of the thousands of stores of a long value, some; of all the rest, every one.
        const bool store = event != nullptr && event->kind == Event::Kind::store;
        const bool near_the_end =
            cursor.position() + 1 < log.size() && log.events[cursor.position()].kind == Event::Kind::mark;
        if (store && !near_the_end && ++stores % kvs_test::rounds(400, 20) != 0) continue;
        if (!cuts.wants("session", cursor.position())) continue;
        ++cuts.states;
        Promise promise;
        promise.others = model;
        for (std::size_t i = 0; i < done; ++i) carry_out(promise.others, session[i]);
        if (within) {
            promise.key = session[done].key;
            promise.allowed = {std::nullopt, session[done].value};
        }
        INFO("KVS_CUT='session@" << cursor.position() << "'");
        REQUIRE(lab.problem_of(cursor.image(), promise, {}) == "");
    }
    if (!cuts.filtered()) CHECK(cuts.states >= 60);
    CHECK(cursor.image().size() < log.image_after(log.size() - 4).size());
}

// copy_to and compact_to write to a file beside their target and rename it: killed before, they change no store.
TEST_CASE("a copy killed at any moment leaves the source and the target whole", "[seed_kill][copy]") {
    TempDir dir;
    Cuts cuts;
    using Recorded = Lab<8>::Recorded;
    for (const bool compact : {false, true}) {
        Recorded s(dir.file("source"), quiet);
        for (int i = 0; i < 50; ++i) s.set("k" + std::to_string(i), i);
        s.erase("k7");
        const std::string source = kvs_test::contents_of(dir.file("source"));
        Recording recording;
        if (compact)
            s.compact_to(dir.file("target"));
        else
            s.copy_to(dir.file("target"));
        recording.stop();
        const EventLog& log = recording.log;
        CHECK(log.violations.empty());
        // Everything before the rename happens to another file, which is on the device when it gets the name.
        std::size_t renamed = SIZE_MAX;
        for (std::size_t i = 0; i < log.size(); ++i) {
            const Event& event = log.events[i];
            if (EventLog::changes_file(event)) {
                CHECK(event.file != 0);
                CHECK(renamed == SIZE_MAX);
            }
            if (event.kind == Event::Kind::rename) {
                renamed = i;
                CHECK(event.bytes == dir.file("target"));
                const std::size_t durable = log.durable_after(i, event.file);
                // Only the space that was got in advance may be cut off after the last flush.
                for (std::size_t j = durable; j < i; ++j)
                    if (log.events[j].file == event.file) {
                        CHECK(log.events[j].kind != Event::Kind::store);
                        CHECK(log.events[j].kind != Event::Kind::write);
                    }
                kvs_test::write_file(dir.file("durable"), log.image_after(durable, event.file));
                const kvs::SeedStore<8> copy(dir.file("durable"), {.mode = Mode::read_only});
                CHECK(copy.size() == 49);
                CHECK(copy.verify().ok());
            }
        }
        REQUIRE(renamed != SIZE_MAX);
        CHECK(log.events.back().kind == Event::Kind::flush_directory);
        CHECK((kvs_test::contents_of(dir.file("source")) == source));
    }
}
