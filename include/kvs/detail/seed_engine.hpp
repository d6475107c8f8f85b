// The seed format as a store: look-ups and in-place changes on the chains of the file.
//
// This file has the look-ups and what an engine holds. What the parts do: seed_open.hpp opens, creates and closes,
// seed_change.hpp changes ([seed-change], the order of stores), seed_check.hpp verifies and counts, seed_copy.hpp
// copies.
//
// Readers take no lock (version_table.hpp, [readers]); writers take `writers_`.
#ifndef KVS_DETAIL_SEED_ENGINE_HPP
#define KVS_DETAIL_SEED_ENGINE_HPP

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kvs/detail/chain.hpp>
#include <kvs/detail/codec.hpp>
#include <kvs/detail/durability.hpp>
#include <kvs/detail/file.hpp>
#include <kvs/detail/hints.hpp>
#include <kvs/detail/index.hpp>
#include <kvs/detail/layout.hpp>
#include <kvs/detail/lookup.hpp>
#include <kvs/detail/region.hpp>
#include <kvs/detail/sorting.hpp>
#include <kvs/detail/version_table.hpp>
#include <kvs/key.hpp>
#include <kvs/options.hpp>
#include <kvs/policies.hpp>
#include <kvs/report.hpp>
#include <kvs/weights.hpp>

namespace kvs::detail {

/// How the threads of a process share an engine.
template <class Sharing, class Platform>
struct Concurrency;
template <class Platform>
struct Concurrency<SharedThreads, Platform> {
    using Memory = AtomicMemory;
    using Mutex = typename Platform::Mutex;
    using Versions = VersionTable<Platform>;
};
template <class Platform>
struct Concurrency<Unshared, Platform> {
    using Memory = PlainMemory;
    using Mutex = NoMutex;
    using Versions = NoVersionTable;
};

class ProblemList;

template <std::size_t KeyLen, class Sharing, class PlatformPolicy>
class SeedEngine {
public:
    using Platform = PlatformPolicy;
    using KeyType = Key<KeyLen>;

    SeedEngine() noexcept : durability_(writers_, &SeedEngine::flush_file, nullptr, this) {}
    SeedEngine(const SeedEngine&) = delete;
    SeedEngine& operator=(const SeedEngine&) = delete;
    ~SeedEngine() { close(); }

    // seed_open.hpp
    Failure open(std::string_view path, const Options& options);
    void close() noexcept;

    // seed_check.hpp
    Failure verify(Report& report);
    Failure stats(Stats& stats);

    // seed_copy.hpp
    Failure copy_to(std::string_view path);
    Failure compact_to(std::string_view path);

    /// Why a value cannot be stored, whatever the key.
    Failure check_length(const Encoded& value) const noexcept {
        unsigned length = 0;
        return choose_length(value, length);
    }

    /// Fails in the child of a fork. Comes before every lock there: a thread of the parent may hold it for ever.
    /// So for a handle that lost a page.
    Failure check_process() const noexcept { return is_foreign_process() ? forked() : unless_lost({}); }
    bool is_foreign_process() const noexcept { return fork_generation_ != Platform::fork_generation(); }
    /// [lost] What an operation answers that had this result: nothing it read or stored counts once a page is lost.
    Failure unless_lost(const Failure& result) const noexcept {
        if (!has_lost_page()) return result;
        return {errc::io_error, "the system could not read a page of the file, or another program cut it short"};
    }

    const std::string& path() const noexcept { return path_; }
    const Recovery& recovery() const noexcept { return recovery_; }
    std::uint64_t size() const noexcept { return keys_.load(std::memory_order_relaxed); }

    Failure sync() noexcept {
        if (Failure failure = check_process()) return failure;
        return read_only_ ? Failure{} : durability_.sync();
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// As that of pairs; here no record has two slots.
    struct TwoSlots {
        constexpr explicit operator bool() const noexcept { return false; }
    };

    /// The short way of a look-up: takes a number whose type is exactly `type` from where it was found before. False
    /// says nothing: take the long way. Afterwards one asks `had_no_incident`. Inlined, and as good as without a call,
    /// so that its caller needs little stack.
    template <unsigned Bytes>
    [[gnu::always_inline]] inline bool read_exact(const KeyType& key, Type type, std::uint64_t& bits,
                                                  TwoSlots&) const noexcept {
        // A key that is too long has the bytes of its beginning.
        if (key.problem() != errc{}) return false;
        const Hint hint = hints_.find(key.quick_hash());
        if (layout::value_bytes(hint.length()) != Bytes) return false;
        const std::uint32_t noted = versions_.note(hint.version());
        if (Versions::is_busy(noted) || !is_right(hint, key)) return false;
        bits = region_.template load<Bytes>(value_offset(hint.record()));
        return region_.template load<1>(type_offset(hint.record())) == static_cast<std::uint64_t>(type) &&
               versions_.is_still(hint.version(), noted);
    }
    template <unsigned Bytes>
    bool read_newer(const KeyType&, const TwoSlots&, Type, std::uint64_t&) const noexcept {
        return false;
    }
    /// False in the child of a fork, and once a page was lost: what the short way read does not count then.
    bool had_no_incident() const noexcept { return fork_generation_ == Platform::incidents(); }
    /// A read-only handle needs nothing else.
    template <unsigned Bytes>
    bool read_exact_steadily(const KeyType&, Type, std::uint64_t&) const noexcept {
        return false;
    }

    /// Finds the key and lets `decode(Stored<Region>)` take its value; `decode` may run several times. `preferred` is
    /// the value length to look in first.
    template <class Decode>
    Presence read(const KeyType& key, unsigned preferred, Failure& failure, const Decode& decode) const {
        if (key.problem() != errc{}) return fail(failure, key.failure());
        if (is_foreign_process()) return fail(failure, forked());
        const auto take = [&](const Place& place) {
            const auto code = type_at(place);
            if (!code.known) return fail(failure, unknown_type(place));
            if (Failure problem = decode(Stored<Region>{region_, value_offset(place.record), code}))
                return fail(failure, problem);
            return Presence::present;
        };
        // Of a key with two records, every read has to take the same one.
        if (has_duplicates_.load(std::memory_order_relaxed)) preferred = any_length;
        return present_unless_lost(locate(key, preferred, failure, take), failure);
    }

    Presence contains(const KeyType& key, Failure& failure) const noexcept {
        if (key.problem() != errc{}) return fail(failure, key.failure());
        if (is_foreign_process()) return fail(failure, forked());
        const auto found = [](const Place&) { return Presence::present; };
        return present_unless_lost(locate(key, any_length, failure, found), failure);
    }

    /// Moves to the next record with a key and copies it; after a failure, the next call goes on behind the damage.
    Presence next(Position& position, Item& item, Failure& failure) const {
        if (Failure problem = check_process()) {
            position = {layout::bucket_count, 0, 0, 0};
            return fail(failure, problem);
        }
        while (skip_empty_buckets(position)) {
            Position moved;
            const Presence presence = versions_.consistently(position.bucket, [&] {
                moved = position;  // what an earlier try noted may be torn
                return next_in_bucket(moved, item, failure);
            });
            position = moved;
            if (presence != Presence::absent) return present_unless_lost(presence, failure);
        }
        return present_unless_lost(Presence::absent, failure);
    }

    // ---- changing: seed_change.hpp ---------------------------------------------------------------------------------

    Failure put(const KeyType& key, const Encoded& value) noexcept;
    /// The short way of a change: puts a number in place of one of the same type, found before, that nothing else has
    /// to be done for. False says nothing: take the long way, whatever was done.
    template <unsigned Bytes>
    bool put_exact(const KeyType& key, Type type, std::uint64_t bits) noexcept;
    /// Sets the key if, under the lock, `may(failure)` says so; if it is absent. `done` says whether.
    template <class May>
    Failure put_if(const KeyType& key, const Encoded& value, bool& done, const May& may) noexcept;
    Failure put_if_absent(const KeyType& key, const Encoded& value, bool& done) noexcept;
    /// True if nothing was changed of the key, and of those that share its version counter, since that was noted.
    bool is_unchanged(const KeyType& key, std::uint32_t noted) const noexcept {
        return versions_.is_still(key.hash(), noted);
    }
    /// Notes when a key, and those that share its version counter, were changed last.
    std::uint32_t note_key(const KeyType& key) const noexcept {
        return versions_.consistently(key.hash(), [&] { return versions_.note(key.hash()); });
    }
    Presence erase(const KeyType& key, Failure& failure) noexcept;
    Failure clear() noexcept;

private:
    using Shared = Concurrency<Sharing, Platform>;
    using Mutex = typename Shared::Mutex;
    using Versions = typename Shared::Versions;
    using Region = detail::Region<Platform, typename Shared::Memory>;
    using PlatformFile = File<Platform>;

    struct Place {
        std::uint64_t record = 0;
        unsigned length = 0;  ///< logarithm of its value length
    };
    /// Where a new record of a chain can go.
    struct Vacancy {
        std::uint64_t deleted_record = 0;  ///< 0 = there is none
        std::uint64_t link = 0;            ///< the chain's last link, which is 0
    };
    static constexpr std::uint32_t most_clears_of_hints = 0xffff;

    static Presence fail(Failure& out, const Failure& failure) noexcept {
        out = failure;
        return Presence::failed;
    }
    Presence present_unless_lost(Presence presence, Failure& failure) const noexcept {
        if (has_lost_page()) return fail(failure, unless_lost({}));
        return presence;
    }
    static constexpr std::uint64_t type_offset(std::uint64_t record) noexcept { return record + KeyLen; }
    static constexpr std::uint64_t value_offset(std::uint64_t record) noexcept {
        return record + KeyLen + layout::type_bytes;
    }

    bool has_lost_page() const noexcept { return Platform::has_lost_pages() && region_.has_lost_page(); }
    static Failure opened_read_only() noexcept { return {errc::read_only, "the store was opened read-only"}; }
    static Failure forked() noexcept {
        return {errc::forked, "the store was opened by the parent of this process; open it again here"};
    }

    // ---- look-ups --------------------------------------------------------------------------------------------------

    /// Finds a key without a lock, by its hint or by its chains, and lets `take(Place)` answer for it.
    template <class Take>
    Presence locate(const KeyType& key, unsigned preferred, Failure& failure, const Take& take) const {
        for (const Hint hint : {hints_.find(key.quick_hash()), hints_.find_second(key.quick_hash())}) {
            if (!hint) continue;
            const Presence presence = versions_.consistently(hint.version(), [&] {
                return is_right(hint, key) ? take(Place{hint.record(), hint.length()}) : Presence::absent;
            });
            if (presence != Presence::absent) return presence;
        }
        const std::uint32_t hash = key.hash();
        Place place;
        std::uint32_t clears = 0;
        const Presence presence = versions_.consistently(hash, [&] {
            clears = clears_.load(std::memory_order_acquire);
            const Presence found = find(key, hash, preferred, place, failure);
            return found == Presence::present ? take(place) : found;
        });
        if (presence == Presence::present && clears <= most_clears_of_hints)
            hints_.remember(Hint(place.record, place.length, hash, key.quick_hash(), clears), key.quick_hash());
        return presence;
    }

    /// [hints] Within `Versions::consistently`: true if the record is the key's.
    bool is_right(const Hint& hint, const KeyType& key) const noexcept {
        return hint.clears() == clears_.load(std::memory_order_acquire) &&
               hint.record() + layout::record_bytes(KeyLen, hint.length()) <=
                   live_end_.load(std::memory_order_acquire) &&
               hint.record() >= layout::records_offset && region_.template equal<KeyLen>(hint.record(), key.words());
    }

    // The following are called consistently, or by the writer.

    Chain<Region> chain(std::uint32_t bucket, unsigned length) const noexcept {
        std::uint64_t end = live_end_.load(std::memory_order_acquire);
        // A link that pointed beyond the end when the file was opened stays damage when records grow up to where it
        // points: it was not written for them.
        if (has_damage_.load(std::memory_order_acquire) && is_damaged(bucket) && opened_end_ < end) end = opened_end_;
        return {region_, KeyLen, end, bucket, length};
    }
    bool is_damaged(std::uint32_t bucket) const noexcept { return damaged_buckets_[bucket / 64] >> bucket % 64 & 1; }

    Presence find_in(const KeyType& key, std::uint32_t hash, unsigned length, Place& place,
                     Failure& failure) const noexcept {
        Chain<Region> walk = chain(geometry_.bucket(hash, length), length);
        while (walk.next()) {
            if (region_.template equal<KeyLen>(walk.record(), key.words())) {
                place = {walk.record(), length};
                return Presence::present;
            }
        }
        return walk.damaged() ? fail(failure, walk.failure()) : Presence::absent;
    }

    /// Looks in the preferred length, then in the others that hold anything. A chain that cannot be walked to its end
    /// is an answer only if the key is nowhere else.
    Presence find(const KeyType& key, std::uint32_t hash, unsigned preferred, Place& place,
                  Failure& failure) const noexcept {
        Presence answer = Presence::absent;
        if (preferred != any_length) {
            answer = find_in(key, hash, preferred, place, failure);
            if (answer == Presence::present) return answer;
        }
        for (std::uint32_t rest = without(used_lengths_.load(std::memory_order_acquire), preferred); rest != 0;
             rest &= rest - 1) {
            const Presence here = find_in(key, hash, static_cast<unsigned>(std::countr_zero(rest)), place, failure);
            if (here == Presence::present) return here;
            if (here == Presence::failed) answer = here;
        }
        return answer;
    }
    /// Before a change that means to leave no record of the key in any length but one: a chain that cannot be walked to
    /// its end is an answer at once, so that a failure changes nothing.
    Presence find_all(const KeyType& key, std::uint32_t hash, unsigned but, Failure& failure) const noexcept {
        Presence answer = Presence::absent;
        Place place;
        for (std::uint32_t rest = without(used_lengths_.load(std::memory_order_acquire), but); rest != 0;
             rest &= rest - 1) {
            const Presence here = find_in(key, hash, static_cast<unsigned>(std::countr_zero(rest)), place, failure);
            if (here == Presence::failed) return here;
            if (here == Presence::present) answer = here;
        }
        return answer;
    }
    static constexpr std::uint32_t without(std::uint32_t lengths, unsigned length) noexcept {
        return length == any_length ? lengths : lengths & ~(std::uint32_t{1} << length);
    }

    layout::TypeCode type_at(const Place& place) const noexcept {
        auto code = layout::decode_type(static_cast<std::uint8_t>(region_.template load<1>(type_offset(place.record))));
        if (code.length != place.length) code.known = false;
        return code;
    }
    Failure unknown_type(const Place& place) const noexcept {
        const auto byte = static_cast<std::uint8_t>(region_.template load<1>(type_offset(place.record)));
        return {errc::corrupt, "the type byte is unknown, or not one for values of this length",
                Fact::of_bytes(layout::value_bytes(place.length)), Fact::of_byte(byte)};
    }

    // ---- walking over everything -----------------------------------------------------------------------------------

    static Failure chains_meet() noexcept {
        return {errc::corrupt, "chains run into each other: more records were reached than the file has room for"};
    }

    /// A record is in one chain only, so the records of all chains have together no more bytes than the file. A damaged
    /// file in which chains run into each other is walked a little longer, to see most of what is there, but not for a
    /// time that grows with the square of its size.
    std::uint64_t walk_limit() const noexcept {
        constexpr std::uint64_t allowance = std::uint64_t{1} << 20;
        return 2 * (live_end_.load(std::memory_order_acquire) - layout::records_offset) + allowance;
    }

    /// Walks every chain: `visit(bucket, place)` for each record, `damage(bucket, offset, failure)` where one cannot be
    /// followed. False if it ended at the limit.
    template <class Visit, class OnDamage>
    bool walk_all(const Visit& visit, const OnDamage& damage) const {
        std::uint64_t left = walk_limit();
        Position position;
        for (; skip_empty_buckets(position); ++position.bucket) {
            const unsigned length = geometry_.length_of_bucket(position.bucket);
            const std::uint64_t record_bytes = layout::record_bytes(KeyLen, length);
            Chain<Region> walk = chain(position.bucket, length);
            while (walk.next()) {
                if (left < record_bytes) {
                    damage(position.bucket, walk.record(), chains_meet());
                    return false;
                }
                left -= record_bytes;
                visit(position.bucket, Place{walk.record(), length});
            }
            if (walk.damaged()) damage(position.bucket, walk.link(), walk.failure());
        }
        return true;
    }

    /// Sorts the records by offset and calls `found(one, other)` for those that overlap, or are the same.
    template <class Found>
    void find_overlaps(std::vector<Reached>& reached, const Found& found) const {
        sort_by_record(reached);
        const auto end_of = [&](const Reached& r) {
            return r.record + layout::record_bytes(KeyLen, geometry_.length_of_bucket(r.bucket));
        };
        std::size_t last = 0;  // of the records so far, the one that ends last
        for (std::size_t i = 1; i < reached.size(); ++i) {
            if (reached[i].record < end_of(reached[last])) found(reached[last], reached[i]);
            if (end_of(reached[i]) > end_of(reached[last])) last = i;
        }
    }

    /// Sorts the records by key and calls `found(record)` for each whose key the record before it has too.
    template <class Found>
    void find_duplicates(std::vector<KeyAt>& keys, const Found& found) const {
        sort_by_key(region_, KeyLen, keys);
        for (std::size_t i = 1; i < keys.size(); ++i)
            if (keys[i - 1].hash == keys[i].hash && compare_keys(region_, KeyLen, keys[i - 1], keys[i]) == 0)
                found(keys[i].record);
    }

    // ---- iteration -------------------------------------------------------------------------------------------------

    bool skip_empty_buckets(Position& position) const noexcept {
        if (position.record != 0) return true;
        position.bucket = next_used_bucket(region_, position.bucket);
        return position.bucket < layout::bucket_count;
    }

    Presence next_in_bucket(Position& position, Item& item, Failure& failure) const {
        const unsigned length = geometry_.length_of_bucket(position.bucket);
        Chain<Region> walk = chain(position.bucket, length);
        const std::uint32_t clears = clears_.load(std::memory_order_acquire);
        if (position.clears != clears) {  // the records that were passed are not there any more
            const bool was_inside = position.record != 0;
            position = {position.bucket + (was_inside ? 1 : 0), 0, clears, 0};
            if (was_inside) return Presence::absent;
        }
        if (position.record != 0) walk.continue_behind(position.record);
        const std::uint64_t most = walk_limit();
        while (walk.next()) {
            position.walked += layout::record_bytes(KeyLen, length);
            if (position.walked > most) {
                position.bucket = layout::bucket_count;
                position.record = 0;
                return fail(failure, chains_meet());
            }
            if (!load_key(walk.record(), position.bucket, length, item.key)) continue;
            position.record = walk.record();
            item.code = type_at({walk.record(), length});
            // Only this record is damaged: the next call goes on behind it.
            if (!item.code.known) return fail(failure, unknown_type({walk.record(), length}));
            item.field.resize(static_cast<std::size_t>(layout::value_bytes(length)));
            region_.copy_out(value_offset(walk.record()), item.field.data(), item.field.size());
            return Presence::present;
        }
        ++position.bucket;
        position.record = 0;
        return walk.damaged() ? fail(failure, walk.failure()) : Presence::absent;
    }

    /// The key of a record; false if it holds none: deleted, or not a key that belongs into this bucket.
    bool load_key(std::uint64_t record, std::uint32_t bucket, unsigned length, std::string& key) const {
        key.resize(KeyLen);
        region_.copy_out(record, reinterpret_cast<std::byte*>(key.data()), KeyLen);
        const std::size_t last = key.find_last_not_of('\0');
        key.resize(last == std::string::npos ? 0 : last + 1);
        if (key.empty()) return false;
        const KeyType checked{std::string_view(key)};
        return checked.problem() == errc{} && geometry_.bucket(checked.hash(), length) == bucket;
    }

    // ---- changes: called by the one writer; seed_change.hpp --------------------------------------------------------

    Failure before_change() noexcept;
    Failure choose_length(const Encoded& value, unsigned& length) const noexcept;
    Presence find_or_vacancy(const KeyType& key, std::uint32_t hash, unsigned length, Place& place, Vacancy& vacancy,
                             Failure& failure) const noexcept;
    Failure put_locked(const KeyType& key, std::uint32_t hash, const Encoded& value, unsigned length) noexcept;
    void remember(const KeyType& key, std::uint32_t hash, const Place& place) noexcept;

    // These store; the caller has made the key's version odd.
    void overwrite(const Place& place, const Encoded& value) noexcept;
    void store_value(std::uint64_t at, unsigned length, const Encoded& value) noexcept;
    void reuse(const KeyType& key, const Encoded& value, const Place& place) noexcept;
    void append(const KeyType& key, const Encoded& value, const Place& place, std::uint64_t link) noexcept;
    std::uint64_t erase_all(const KeyType& key, std::uint32_t hash, unsigned but) noexcept;
    void count_keys(std::uint64_t more, std::uint64_t fewer) noexcept;

    // ---- the file --------------------------------------------------------------------------------------------------

    static Failure flush_file(void* engine) noexcept {
        auto& self = *static_cast<SeedEngine*>(engine);
        if (Failure failure = self.unless_lost({})) return failure;
        if (Failure failure = self.check_size()) return failure;
        Failure failure = self.file_.flush();
        return self.unless_lost(failure);
    }
    Failure check_size() const noexcept {
        // In this order: no lock is held, and somebody may make the file longer in between.
        const std::uint64_t live_end = live_end_.load(std::memory_order_acquire);
        std::uint64_t bytes = 0;
        if (Failure failure = file_.size(bytes)) return failure;
        if (bytes >= live_end) return {};
        return {errc::io_error, "another program has cut the file short", Fact::at_least(live_end),
                Fact::of_bytes(bytes)};
    }

    // seed_open.hpp
    Failure open_content(const Options& options, bool& created);
    Failure create(const Options& options);
    Failure check_header();
    Failure map() noexcept;
    Failure was_never_created(bool& answer);
    void scan();
    void mark_damaged(std::uint32_t bucket);

    // seed_check.hpp
    void verify_record(std::uint32_t bucket, const Place& place, std::vector<KeyAt>& keys, Report& report,
                       ProblemList& problems) const;

    // seed_copy.hpp
    Failure write_copy(File<Platform>& target);
    Failure copy_entries(SeedEngine& target);

    // Set by open, then never changed.
    std::string path_;
    std::string directory_;
    PlatformFile file_;
    Region region_;
    Geometry geometry_;
    Recovery recovery_;
    bool read_only_ = false;
    unsigned fork_generation_ = 0;
    std::uint64_t opened_end_ = 0;                // of the file
    std::vector<std::uint64_t> damaged_buckets_;  // a bit for each bucket with a link that is wrong

    // Changed by the writer; read anywhere, within `Versions::consistently` where it has to fit the bytes.
    std::atomic<std::uint64_t> live_end_{0};  // end of the last record
    std::atomic<std::uint64_t> keys_{0};
    std::atomic<std::uint32_t> used_lengths_{0};  // bit per value length that any record has
    std::atomic<std::uint32_t> clears_{0};
    std::atomic<bool> has_damage_{false};      // some bucket is in `damaged_buckets_`
    std::atomic<bool> has_duplicates_{false};  // some key has records in two lengths
    Versions versions_;
    mutable HintTable hints_;

    // Of the writer alone, under `writers_`.
    Mutex writers_;
    std::uint64_t file_bytes_ = 0;
    bool prepared_ = false;  // the file has no holes

    Durability<Platform, Mutex> durability_;  // last: its thread uses the rest
};

}  // namespace kvs::detail

#include <kvs/detail/seed_change.hpp>  // IWYU pragma: export
#include <kvs/detail/seed_check.hpp>   // IWYU pragma: export
#include <kvs/detail/seed_copy.hpp>    // IWYU pragma: export
#include <kvs/detail/seed_open.hpp>    // IWYU pragma: export

#endif  // KVS_DETAIL_SEED_ENGINE_HPP
