// A store of paired records: two slots with a checksum each for every value, so that what is durable is never written
// over. This file has the look-ups and what an engine holds. What the parts do:
//
//   pair_open.hpp      opens, creates and closes
//   pair_recover.hpp   brings a file back to its last durable state [recover], and what a killed process left [journal]
//   pair_salvage.hpp   rebuilds a file without superblocks [salvage]
//   pair_change.hpp    changes [write-rule], [insert], [commit]
//   pair_sync.hpp      makes changes durable [sync], [ensure-durable], [failed]
//   pair_check.hpp     verifies, repairs, counts
//   pair_copy.hpp      copies
//   pair_view.hpp      read-only handles [read-only]
//   pair_share.hpp     joins the handles that have the file open, and finishes what a dead one began [writers]
//
// A slot carries the epoch in which it was written: D + 1, where D is the last durable epoch. The slot with the larger
// epoch is the record's value. Slots of an epoch at or below C are void (`clear`).
//
// Readers take no lock (version_table.hpp, [readers]); writers take `writers_` (writer_lock.hpp).
#ifndef KVS_DETAIL_PAIR_ENGINE_HPP
#define KVS_DETAIL_PAIR_ENGINE_HPP

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kvs/detail/codec.hpp>
#include <kvs/detail/durability.hpp>
#include <kvs/detail/file.hpp>
#include <kvs/detail/hints.hpp>
#include <kvs/detail/index.hpp>
#include <kvs/detail/journal.hpp>
#include <kvs/detail/lookup.hpp>
#include <kvs/detail/mapped_versions.hpp>
#include <kvs/detail/open_file.hpp>
#include <kvs/detail/pair_chain.hpp>
#include <kvs/detail/pair_layout.hpp>
#include <kvs/detail/region.hpp>
#include <kvs/detail/slot_checksum.hpp>
#include <kvs/detail/sorting.hpp>
#include <kvs/detail/superblock.hpp>
#include <kvs/detail/writer_lock.hpp>
#include <kvs/key.hpp>
#include <kvs/options.hpp>
#include <kvs/policies.hpp>
#include <kvs/report.hpp>
#include <kvs/weights.hpp>

namespace kvs::detail {

class ProblemList;

/// A value where it lies in a slot. Text and bytes have their length in front, so none is looked for.
template <class Region>
class SlotSource {
public:
    SlotSource(const Region& region, std::uint64_t offset, std::size_t size, bool is_payload) noexcept
        : region_(region), offset_(offset), size_(size), is_payload_(is_payload) {}

    template <unsigned Bytes>
    std::uint64_t load(std::uint64_t) const noexcept {
        return is_payload_ ? size_ : region_.template load<Bytes>(offset_);
    }
    void copy_out(std::uint64_t, std::byte* to, std::size_t bytes) const noexcept {
        region_.copy_out(offset_, to, bytes);
    }
    std::size_t text_length(std::uint64_t, std::size_t) const noexcept { return size_; }

private:
    const Region& region_;
    std::uint64_t offset_;
    std::size_t size_;
    bool is_payload_;
};

namespace pair_shared = pair_layout::shared;

/// The policies that a file of pairs tells of in its superblock.
template <class ChecksumPolicy, class IndexPolicy>
struct PairForm {
    using Checksum = ChecksumPolicy;
    using Index = IndexPolicy;
};

template <std::size_t KeyLen, class Sharing, class Form, class PlatformPolicy>
class PairEngine {
    static constexpr bool has_versions = !std::is_same_v<Sharing, Unshared>;
    using Memory = std::conditional_t<has_versions, AtomicMemory, PlainMemory>;
    using Mapped = MappedBytes<PlatformPolicy, Memory>;

public:
    using Platform = PlatformPolicy;
    using KeyType = Key<KeyLen>;

    PairEngine() noexcept
        : versions_(region_, {&PairEngine::help_reader, this}),
          writers_(region_,
                   {&PairEngine::is_owner_dead, &PairEngine::take_over, &PairEngine::admit_loss,
                    [](void* engine) noexcept { return static_cast<PairEngine*>(engine)->is_viewer(); }, this}),
          journal_(region_, file_),
          durability_(writers_, &PairEngine::sync_file, shares ? &PairEngine::has_pending : nullptr, this) {}
    PairEngine(const PairEngine&) = delete;
    PairEngine& operator=(const PairEngine&) = delete;
    ~PairEngine() { close(); }

    // pair_open.hpp
    Failure open(std::string_view path, const Options& options) { return open_file(path, options, shares); }
    /// Nobody can join, also where handles share.
    Failure open_alone(std::string_view path, const Options& options) { return open_file(path, options, false); }
    void close() noexcept;

    /// The last sync, under a superblock that says so; what is left to do of a close cannot fail.
    Failure close_cleanly() noexcept {
        const Guard<WriterLock> one_writer(writers_);
        return close_locked();
    }

    // pair_check.hpp
    Failure verify(Report& report);
    Failure repair(Report& report);
    Failure stats(Stats& stats);

    // pair_copy.hpp
    Failure copy_to(std::string_view path);
    Failure compact_to(std::string_view path);

    /// Fails in the child of a fork, and for a handle that lost a page.
    Failure check_process() const noexcept { return is_foreign_process() ? forked() : unless_lost({}); }
    bool is_foreign_process() const noexcept { return fork_generation_ != Platform::fork_generation(); }
    /// [lost] What an operation answers that had this result: nothing it read or stored counts once a page is lost.
    Failure unless_lost(const Failure& result) const noexcept { return has_lost_page() ? lost_page() : result; }

    const std::string& path() const noexcept { return path_; }
    const Recovery& recovery() const noexcept { return told_; }
    std::uint64_t size() const noexcept {
        std::uint64_t keys = 0;
        Failure failure;
        steadily(failure, [&] {
            keys = shared_word(pair_shared::keys);
            return Presence::present;
        });
        return keys;
    }

    /// Why a value cannot be stored, whatever the key.
    Failure check_length(const Encoded& value) const noexcept {
        unsigned length = 0;
        return choose_length(value, length);
    }

    /// Of what other handles wrote, too.
    Failure sync() noexcept {
        if (Failure failure = check_process()) return failure;
        if (read_only_) return {};
        durability_.note_unsynced();
        return durability_.sync();
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    /// Where the short way of a look-up met a record with two slots. As small as can be passed in registers.
    class TwoSlots {
    public:
        constexpr explicit operator bool() const noexcept { return version_ != none; }

    private:
        friend PairEngine;
        static constexpr std::uint32_t none = ~0u;
        Mapped record_;
        std::uint32_t noted_ = 0;
        std::uint32_t version_ = none;
    };

    /// The short way of a look-up: takes a number whose type is exactly `type` from where it was found before, if its
    /// record has one slot only; of one with two, `read_newer` does. False says nothing: take the long way. True counts
    /// if there `had_no_incident`, asked behind it.
    ///
    /// Inlined, and of so few variables that its caller needs next to no stack (with CRC-32C): the cost of a look-up is
    /// how many of them the processor can have in work at a time, so every instruction counts.
    template <unsigned Bytes>
    [[gnu::always_inline]] inline bool read_exact(const KeyType& key, Type type, std::uint64_t& bits,
                                                  TwoSlots& two) const noexcept {
        return key.problem() == problem_of_short_way_ &&
               read_exact_here<Bytes>(key, hints_.find(key.quick_hash()), type, bits, two);
    }
    /// The same of a record with two slots, right behind; incidents are looked for.
    template <unsigned Bytes>
    [[gnu::always_inline]] inline bool read_newer(const KeyType& key, const TwoSlots& two, Type type,
                                                  std::uint64_t& bits) const noexcept {
        const Mapped file = region_.mapped();
        const std::uint64_t word_of_a = two.record_.load_word(first_slot<Bytes>);
        const std::uint64_t word_of_b = two.record_.load_word(first_slot<Bytes> + slot_distance<Bytes>);
        const std::uint64_t a = memory_order(word_of_a);
        const std::uint64_t b = memory_order(word_of_b);
        // Nobody can predict which slot is the newer one, so it is chosen without a branch. The epochs are the upper 40
        // bits.
        const std::uint64_t take_b = 0 - std::uint64_t{b > (a | 0xffffff)};
        const std::uint64_t first = file.offset_of(two.record_) + first_slot<Bytes>;
        if (a != 0 && !SlotHeader::agree(a ^ b, first ^ (first + slot_distance<Bytes>))) return false;
        SumState sum{typename SumState::Quick{}};
        add_key(sum, key.words());
        return load_exact<Bytes>(file, two.record_.from(take_b & slot_distance<Bytes>),
                                 word_of_a ^ (take_b & (word_of_a ^ word_of_b)), sum, type, bits) &&
               Versions::is_still(file, two.version_, two.noted_) && had_no_incident();
    }
    /// False in the child of a fork, and once a page was lost: what the short way read does not count then.
    bool had_no_incident() const noexcept { return fork_generation_ == Platform::incidents(); }

    /// The same for a handle whose view may be made anew meanwhile.
    template <unsigned Bytes>
    bool read_exact_steadily(const KeyType& key, Type type, std::uint64_t& bits) const noexcept {
        if (!read_only_ || key.problem() != errc{} || is_foreign_process() || !SumState::has_quick()) return false;
        const ViewNote noted = note_view();
        const Hint hint = hints_.find(key.quick_hash());
        if (hint.clears() != (noted.number / 2 & 0xffff) || !is_still(noted) || !is_inside(region_.mapped(), hint))
            return false;
        TwoSlots two;
        const bool taken =
            read_exact_here<Bytes>(key, hint, type, bits, two) || (two && read_newer<Bytes>(key, two, type, bits));
        return taken && is_still(noted) && had_no_incident();
    }
    /// Does not look where what is written ends (hints.hpp).
    template <unsigned Bytes>
    [[gnu::always_inline]] inline bool read_exact_here(const KeyType& key, const Hint& hint, Type type,
                                                       std::uint64_t& bits, TwoSlots& two) const noexcept {
        if (!hint.has_length(static_cast<unsigned>(std::countr_zero(Bytes)))) return false;
        if (Bytes == 1 && !hint) return false;  // no hint looks like one of length 0, which is one byte
        const Mapped file = region_.mapped();
        const std::uint32_t noted = Versions::note(file, hint.version());
        if (Versions::is_busy(noted)) return false;
        const Mapped record = file.from(hint.record());
        SumState sum{typename SumState::Quick{}};
        if (!is_key_of(record, key.words(), sum)) return false;
        const std::uint64_t word = record.load_word(first_slot<Bytes>);
        if (record.load_word(first_slot<Bytes> + slot_distance<Bytes>) != 0) {
            two.record_ = record;
            two.noted_ = noted;
            two.version_ = hint.version();
            return false;
        }
        return load_exact<Bytes>(file, record, word, sum, type, bits) &&
               Versions::is_still(file, hint.version(), noted);
    }

    /// Finds the key and lets `decode(Stored<SlotSource>)` take its value; `decode` may run several times. `preferred`
    /// is the value length to look in first.
    template <class Decode>
    Presence read(const KeyType& key, unsigned preferred, Failure& failure, const Decode& decode) const {
        return locate(key, preferred, failure, [&](const Found& found) {
            const Slot slot = slot_of(found.place, found.view);
            if (!slot.code.known) return fail(failure, unknown_value());
            if (Failure problem = lend(slot, decode)) return fail(failure, problem);
            return Presence::present;
        });
    }

    Presence contains(const KeyType& key, Failure& failure) const {
        return locate(key, any_length, failure, [](const Found&) { return Presence::present; });
    }

    /// Moves to the next record with a key and copies it; after a failure, the next call goes on behind the damage.
    Presence next(Position& position, Item& item, Failure& failure) const {
        if (Failure problem = check_process()) {
            position = {layout::bucket_count, 0, 0, 0};
            return fail(failure, problem);
        }
        const Position begin = position;
        bool has_looked = false;
        const Presence presence = steadily(failure, [&] {
            has_looked = true;
            position = begin;
            return next_here(position, item, failure);
        });
        if (!has_looked) position = {layout::bucket_count, 0, 0, 0};  // nothing can be read any more
        if (presence == Presence::present && item.is_older_copy)
            report_damage(KeyType{std::string_view(item.key)}, position.record);
        return presence;
    }

    /// The next record with a key in one bucket, as `next`; absent at the bucket's end.
    Presence next_of_bucket(Position& position, Item& item, Failure& failure) const {
        if (is_foreign_process()) return fail(failure, forked());
        const Position begin = position;
        return steadily(failure, [&] {
            Position moved;
            const Presence presence = versions_.consistently(begin.bucket, [&] {
                moved = begin;
                return next_in_bucket(moved, item, failure);
            });
            position = moved;
            return presence;
        });
    }

    // ---- what others change: pair_share.hpp ------------------------------------------------------------------------

    /// The number of changes so far.
    std::uint64_t version() const noexcept {
        return (read_only_ ? stamps_ : region_).watch_word(pair_shared::changes) / 2;
    }
    /// Sleeps until the number of changes is not `seen`, at most so long, and not while `stopping`.
    std::uint64_t wait_for_change(std::uint64_t seen, std::uint64_t nanoseconds,
                                  const std::atomic<bool>& stopping) noexcept;
    /// Lets those who wait for a change look whether they are to stop.
    void wake_waiting() noexcept {
        if (!read_only_) region_.wake(pair_shared::sleepers);
    }
    /// True if nothing was changed of the key, and of those that share its version counter, since that was noted.
    bool is_unchanged(const KeyType& key, std::uint32_t noted) const noexcept {
        return versions_.is_still(key.hash(), noted);
    }
    /// Notes when a key, and those that share its version counter, were changed last.
    std::uint32_t note_key(const KeyType& key) const noexcept {
        return versions_.consistently(key.hash(), [&] { return versions_.note(key.hash()); });
    }
    /// The same for all keys of the buckets with these low bits. Says nothing of a view with another number.
    std::uint32_t note_buckets(std::uint32_t low_bits) const noexcept { return versions_.note(low_bits); }
    /// Of the view of a read-only handle, made anew if it is over: a file that went back to its last sync has other
    /// values under old counters.
    std::uint64_t view_number() const noexcept {
        Failure no_view;
        if (read_only_) steadily(no_view, [] { return Presence::present; });
        return view_.load(std::memory_order_acquire) / 2;
    }

    /// Runs `function` while nobody changes anything: repeats it if somebody did, and after some attempts takes the
    /// writers' lock. A read-only handle has none, waits for a pause, and gives up after some tenths of a second.
    template <class Function>
    Failure view(const Function& function) const {
        constexpr int attempts = 16;
        constexpr int attempts_of_readers = 4000;
        constexpr std::uint64_t nap = 50'000;  // nanoseconds
        if (!has_versions && !read_only_) {    // of one thread: it is the one that would change something
            function();
            return {};
        }
        for (int i = 0; i < attempts || read_only_; ++i) {
            const ViewNote noted = note_view();
            const std::uint64_t changes = await_no_change();
            const auto is_quiet = [&] { return change_word() == changes && (!read_only_ || is_still(noted)); };
#if KVS_EXCEPTIONS
            try {
#endif
                function();
                if (is_quiet()) return {};
#if KVS_EXCEPTIONS
            } catch (...) {
                if (is_quiet()) throw;
            }
#endif
            // By a note of now: the function's reads may have tried to make the view anew, in vain.
            if (read_only_ && !is_still(noted))
                if (const Failure failure = renew_view(note_view())) return failure;
            if (i == attempts_of_readers) return others_write();
            i < attempts ? Platform::yield() : Platform::sleep(nap);
        }
        const Guard<WriterLock> no_writer(writers_);
        const Viewer viewer(viewer_);
        function();
        return {};
    }

    // ---- changing: pair_change.hpp ---------------------------------------------------------------------------------

    Failure put(const KeyType& key, const Encoded& value) noexcept;
    /// The short way of a change: puts a number in place of one of the same type, found before, that nothing else has
    /// to be done for. False says nothing: take the long way, whatever was done.
    template <unsigned Bytes>
    bool put_exact(const KeyType& key, Type type, std::uint64_t bits) noexcept;
    /// Sets the key if, under the lock, `may(failure)` says so; if it is absent. `done` says whether.
    template <class May>
    Failure put_if(const KeyType& key, const Encoded& value, bool& done, const May& may) noexcept;
    Failure put_if_absent(const KeyType& key, const Encoded& value, bool& done) noexcept;
    Presence erase(const KeyType& key, Failure& failure) noexcept;
    Failure clear() noexcept;

    /// One operation of a batch.
    struct Operation {
        KeyType key;
        bool erases;
        Encoded value;
    };
    /// All or nothing. The last operation on a key is the one that counts. `failed` is set to the one that cannot be
    /// done, if that is why nothing was. May throw when memory runs out; nothing has changed then.
    Failure apply(const std::vector<Operation>& operations, std::size_t& failed);

private:
    static constexpr unsigned index_id =
        std::is_same_v<typename Form::Index, GrowingIndex> ? pair_layout::index_growing : pair_layout::index_chains;
    using SlotSum = SlotChecksum<typename Form::Checksum>;
    using SumState = typename SlotSum::State;
    using Region = detail::Region<Platform, Memory>;
    using Versions =
        std::conditional_t<has_versions, MappedVersionTable<Region, Platform>, NoMappedVersionTable<Region, Platform>>;
    using PlatformFile = File<Platform>;
    using Source = SlotSource<Region>;
    using SlotHeader = pair_layout::SlotHeader;
    using Chain = PairChain<Region>;
    using WriterLock = detail::WriterLock<Region, Platform>;
    static constexpr bool shares = std::is_same_v<Sharing, SharedProcesses>;  // with other handles

    struct Place {
        std::uint64_t record = 0;
        unsigned length = 0;  ///< logarithm of its value length
    };

    /// What the two slots of a record say together.
    struct View {
        enum class State : std::uint8_t {
            live,     ///< a value
            dead,     ///< deleted, or void
            damaged,  ///< nothing can be believed
        };
        State state = State::damaged;
        unsigned which = 0;   ///< the slot that counts, of a live or dead record
        SlotHeader header;    ///< its header
        bool damage = false;  ///< a slot that may be the newer one is damaged
    };
    struct Found {
        Place place;
        View view;
    };
    /// A slot with a value.
    struct Slot {
        std::uint64_t value = 0;  ///< its offset
        std::size_t size = 0;
        layout::TypeCode code;
    };

    static Presence fail(Failure& out, const Failure& failure) noexcept {
        out = failure;
        return Presence::failed;
    }
    static Failure opened_read_only() noexcept { return {errc::read_only, "the store was opened read-only"}; }
    static Failure forked() noexcept {
        return {errc::forked, "the store was opened by the parent of this process; open it again here"};
    }
    static Failure not_durable() noexcept {
        return {errc::not_durable, "an earlier flush failed; close the store everywhere and open it again"};
    }
    static Failure unknown_value() noexcept {
        return {errc::corrupt, "the type of the value is unknown, or not one for values of this length"};
    }
    static Failure damaged_key() noexcept {
        return {errc::corrupt,
                "both copies of the key's value are damaged, or a record whose key is damaged may be its"};
    }
    bool has_lost_page() const noexcept {
        return Platform::has_lost_pages() && (region_.has_lost_page() || stamps_.has_lost_page());
    }
    static Failure lost_page() noexcept {
        return {errc::io_error, "the system could not read a page of the file, or another program cut it short"};
    }

    std::uint64_t shared_word(std::uint64_t offset) const noexcept { return region_.load_word(offset); }
    /// Bit per value length that any record has.
    std::uint32_t used_lengths() const noexcept {
        constexpr std::uint64_t all = (std::uint64_t{1} << layout::length_count) - 1;
        return static_cast<std::uint32_t>(shared_word(pair_shared::lengths) & all);
    }
    static constexpr std::uint64_t slot_at(const Place& place, unsigned which) noexcept {
        return place.record + pair_layout::slot_offset(KeyLen, place.length, which);
    }

    // ---- slots -----------------------------------------------------------------------------------------------------

    template <unsigned Bytes>
    static constexpr std::uint64_t first_slot = pair_layout::slot_offset(KeyLen,
                                                                         static_cast<unsigned>(std::countr_zero(Bytes)),
                                                                         0);
    template <unsigned Bytes>
    static constexpr std::uint64_t slot_distance =
        pair_layout::slot_bytes(static_cast<unsigned>(std::countr_zero(Bytes)));

    [[gnu::always_inline]] static inline void add_key(SumState& sum, const std::uint64_t* key) noexcept {
        for (std::size_t i = 0; i < KeyType::word_count; ++i) sum.add(key[i]);
    }
    /// True if a record has that key, which is added to `sum` on the way, so that it is looked at once.
    [[gnu::always_inline]] static inline bool is_key_of(const Mapped& record, const std::uint64_t* key,
                                                        SumState& sum) noexcept {
        if constexpr (KeyLen % 8 != 0 || !AtomicMemory::loads_anywhere) {
            add_key(sum, key);
            return record.template equal<KeyLen>(0, key);
        } else {
            std::uint64_t difference = 0;
#pragma GCC unroll 4
            for (std::size_t i = 0; i < KeyType::word_count; ++i) {
                sum.add(key[i]);
                difference |= record.load_bytes(8 * i) ^ key[i];
            }
            return difference == 0;
        }
    }

    /// `look` and the load of a number, for the commonest read: all sizes are known when this is compiled, and what is
    /// not as it mostly is goes the long way. The slot lies in `from` as the first one does in a record; `word` is its
    /// header in memory order, as the checksum wants it, and `sum` has the key.
    template <unsigned Bytes>
    [[gnu::always_inline]] static inline bool load_exact(const Mapped& file, const Mapped& from, std::uint64_t word,
                                                         SumState& sum, Type type, std::uint64_t& bits) noexcept {
        const SlotHeader header(memory_order(word));
        if (header.type() != static_cast<std::uint8_t>(type)) return false;
        // Behind the headers, as in `look`: at most D + 1, and above C.
        if (file.is_word_below(pair_shared::durable_epoch, header.epoch() - 1) ||
            !file.is_word_below(pair_shared::void_epoch, header.epoch()))
            return false;
        const std::uint64_t second = from.load_word(first_slot<Bytes> + 8);
        const std::uint64_t value = from.load_word(first_slot<Bytes> + pair_layout::slot_header_bytes);
        sum.add(word);
        sum.add(memory_order(Bytes));
        sum.add(value);
        bits = memory_order(value) >> 8 * (8 - Bytes);
        // Of the second word, whose first half is the checksum, the other half is taken away.
        return (second ^ memory_order(Bytes)) == first_half(sum.value());
    }

    SlotHeader header_at(std::uint64_t slot) const noexcept { return SlotHeader(region_.template load<8>(slot)); }

    /// The checksum of a slot as it should be. `second` is its second word, in memory order; its half that holds the
    /// checksum counts as NUL.
    [[gnu::always_inline]] static inline void checksum_head(SumState& sum, const Place& place, SlotHeader header,
                                                            std::uint64_t second, const std::uint64_t* key) noexcept {
        if (header.is_deleted())
            sum.add(memory_order(place.record));
        else
            add_key(sum, key);
        sum.add(memory_order(header.word()));
        sum.add(memory_order(memory_order(second) & 0xffffffffu));
    }
    /// A number as the word in memory order whose bytes are big-endian, and back.
    static constexpr std::uint64_t memory_order(std::uint64_t number) noexcept {
        return little_endian ? swap_bytes(number) : number;
    }

    /// A word in memory order whose first four bytes are a big-endian number, and the others NUL.
    static constexpr std::uint64_t first_half(std::uint32_t number) noexcept {
        return little_endian ? std::uint64_t{swap_bytes(number)} : std::uint64_t{number} << 32;
    }

    /// True if the slot's checksum is right, its key being `key` (words in memory order).
    [[gnu::always_inline]] inline bool is_intact(const Place& place, unsigned which, SlotHeader header,
                                                 const std::uint64_t* key) const noexcept {
        const std::uint64_t slot = slot_at(place, which);
        const std::uint64_t second = region_.load_word(slot + 8);
        const std::uint64_t words = memory_order(second);
        const std::uint64_t size = words & 0xffffffffu;
        SumState sum;
        checksum_head(sum, place, header, second, key);
        if (header.is_deleted()) return size == 0 && sum.value() == words >> 32;
        if (size > layout::value_bytes(place.length)) return false;
        const std::uint64_t value = slot + pair_layout::slot_header_bytes;
        for (std::uint64_t at = 0; at < size; at += 8) sum.add(region_.load_word(value + at));
        return sum.value() == words >> 32;
    }

    /// Looks at both slots of a record whose key is `key`. The slot that is taken is proved by its checksum, which
    /// covers its header, the other header by its check: else a flipped bit in the newer epoch would bring back the
    /// older value, and nobody would know.
    View look(const Place& place, const std::uint64_t* key) const noexcept {
        const SlotHeader a = header_at(slot_at(place, 0));
        const SlotHeader b = header_at(slot_at(place, 1));
        // Behind the headers: a writer raises D before it writes slots of the epoch above.
        const std::uint64_t newest = shared_word(pair_shared::durable_epoch) + 1;
        const std::uint64_t voided = shared_word(pair_shared::void_epoch);
        const bool first_is_b = b.epoch() > a.epoch();
        const unsigned which = first_is_b ? 1 : 0;
        const SlotHeader header = first_is_b ? b : a;
        const SlotHeader other = first_is_b ? a : b;
        const bool in_time = header.epoch() <= newest && header.epoch() > voided;
        const bool other_good = other.is_empty() || other.is_good(slot_at(place, 1 - which));
        if (in_time && other_good &&
            (trusting_ ? header.is_good(slot_at(place, which)) : is_intact(place, which, header, key))) [[likely]]
            return {header.is_deleted() ? View::State::dead : View::State::live, which, header, false};
        return look_closely(place, key, which, header, other, newest, voided);
    }

    /// The same where something is void, empty or damaged.
    [[gnu::noinline]] View look_closely(const Place& place, const std::uint64_t* key, unsigned which, SlotHeader header,
                                        SlotHeader other, std::uint64_t newest, std::uint64_t voided) const noexcept {
        View view;
        for (const unsigned slot : {which, 1 - which}) {
            const SlotHeader h = slot == which ? header : other;
            if (h.is_empty()) continue;
            if (!h.is_good(slot_at(place, slot)) || h.epoch() > newest) {
                view.damage = true;  // nobody knows if it was the newer one
                continue;
            }
            if (view.state != View::State::damaged)
                continue;  // the newer one is found; this one's header was looked at
            const bool is_void = h.epoch() <= voided;
            if (!is_void && !is_intact(place, slot, h, key)) {
                view.damage = true;
                continue;
            }
            view.state = is_void || h.is_deleted() ? View::State::dead : View::State::live;
            view.which = slot;
            view.header = h;
        }
        // Two empty slots are damage too: a record that is reached has had a durable one.
        if (view.state == View::State::damaged) view.damage = true;
        return view;
    }

    /// The same for a record of which only the place is known.
    View look(const Place& place) const noexcept {
        std::uint64_t key[KeyType::word_count];
        load_key_words(place.record, key);
        return look(place, key);
    }
    void load_key_words(std::uint64_t record, std::uint64_t (&key)[KeyType::word_count]) const noexcept {
        key[KeyType::word_count - 1] = 0;
        region_.copy_out(record, reinterpret_cast<std::byte*>(key), KeyLen);
    }

    Slot slot_of(const Place& place, const View& view) const noexcept {
        Slot slot;
        const std::uint64_t at = slot_at(place, view.which);
        slot.value = at + pair_layout::slot_header_bytes;
        slot.size = static_cast<std::size_t>(region_.template load<4>(at + 12));
        slot.code = layout::decode_type(view.header.type());
        const bool right_size = slot.code.type < Type::ascii ? slot.size == layout::value_bytes(slot.code.length)
                                                             : slot.size <= layout::value_bytes(place.length);
        if (slot.code.length != place.length || slot.code.decimal_text || !right_size) slot.code.known = false;
        return slot;
    }
    template <class Decode>
    Failure lend(const Slot& slot, const Decode& decode) const {
        const bool is_payload = slot.code.type >= Type::ascii;
        const Source source(region_, slot.value, slot.size, is_payload);
        layout::TypeCode code = slot.code;
        if (is_payload) code.length = payload_length;
        return decode(Stored<Source>{source, 0, code});
    }

    /// The thread that reads under the writers' lock, as long as this lives: for the function of `view`, for `put_if`.
    class Viewer {
    public:
        explicit Viewer(std::atomic<const void*>& viewer) noexcept : viewer_(viewer) {
            viewer_.store(this_thread(), std::memory_order_relaxed);
        }
        Viewer(const Viewer&) = delete;
        Viewer& operator=(const Viewer&) = delete;
        ~Viewer() { viewer_.store(nullptr, std::memory_order_relaxed); }

    private:
        std::atomic<const void*>& viewer_;
    };
    bool is_viewer() const noexcept { return viewer_.load(std::memory_order_relaxed) == this_thread(); }
    /// Of what this handle looks at: in a read-only handle's private view nothing is half done.
    std::uint64_t change_word() const noexcept { return region_.watch_word(pair_shared::changes); }
    /// The change word when no change is half done.
    std::uint64_t await_no_change() const noexcept {
        for (unsigned waits = 0;; ++waits) {
            const std::uint64_t word = change_word();
            if (word % 2 == 0 || has_lost_page()) return word;
            if (waits < 128)
                Platform::relax();
            else
                help_reader(const_cast<PairEngine*>(this));
        }
    }

    // ---- read-only handles: pair_view.hpp --------------------------------------------------------------------------

    enum class ViewKind : std::uint8_t {
        at_rest,   ///< nobody writes: a private mapping, recovered in memory
        live,      ///< others write: the file itself
        orphaned,  ///< the writer died: a private mapping in which its work was finished
    };
    /// The view that an operation began with.
    struct ViewNote {
        std::uint32_t number = 0;   ///< rises with every new view
        std::uint64_t opening = 0;  ///< the opening stamp that the view was made under
        ViewKind kind = ViewKind::at_rest;
    };

    /// Makes the number of the view odd as long as it lives.
    class ViewChange {
    public:
        explicit ViewChange(std::atomic<std::uint32_t>& number) noexcept : number_(number) {
            number_.fetch_add(1, std::memory_order_acq_rel);
        }
        ViewChange(const ViewChange&) = delete;
        ViewChange& operator=(const ViewChange&) = delete;
        ~ViewChange() { number_.fetch_add(1, std::memory_order_release); }

    private:
        std::atomic<std::uint32_t>& number_;
    };

    /// Runs an operation that reads until the view it read from was good all the time.
    template <class Operation>
    Presence steadily(Failure& failure, const Operation& operation) const {
        if (!read_only_) [[likely]] {
            const Presence presence = operation();
            return has_lost_page() ? fail(failure, lost_page()) : presence;
        }
        for (;;) {
            const ViewNote noted = note_view();
            // Not in a view that is over: the file may end below what lies in that.
            if (is_still(noted)) {
                const Presence presence = operation();
                if (has_lost_page()) return fail(failure, lost_page());
                if (is_still(noted)) return presence;
            }
            failure = {};
            if (Failure problem = renew_view(noted)) return fail(failure, problem);
        }
    }
    ViewNote note_view() const noexcept;
    bool is_still(const ViewNote& noted) const noexcept;
    Failure renew_view(const ViewNote& noted) const;
    Failure open_view(const Options& options);
    Failure make_view();
    Failure look_for_writers(ViewKind& kind) const noexcept;
    Failure fill_view(ViewKind kind);
    Failure map_view(bool is_private) noexcept;
    Failure join_live();
    bool adopt_orphan() noexcept;
    bool help_view() noexcept;
    bool is_view_over() const noexcept;
    bool replace_view() noexcept;

    /// Runs an operation on everything while nobody changes anything: under the writers' lock, or, for a read-only
    /// handle, until no writer came in between.
    template <class Operation>
    Failure undisturbed(const Operation& operation) const {
        if (is_viewer()) return unless_lost(operation());
        if (!read_only_) {
            const Guard<WriterLock> no_writer(writers_);
            return unless_lost(operation());
        }
        constexpr int tries = 1000;
        for (int i = 0; i < tries; ++i) {
            const ViewNote noted = note_view();
            const bool is_live = noted.kind == ViewKind::live;
            const std::uint64_t word = stamps_.watch_word(pair_shared::lock);
            const bool is_writing = is_live && WriterLock::owner_of(word) != 0;
            if (!is_writing && is_still(noted)) {
                const Failure failure = unless_lost(operation());
                if (is_still(noted) && (!is_live || stamps_.watch_word(pair_shared::lock) == word)) return failure;
            }
            if (Failure failure = await_quiet(noted, is_writing)) return failure;
        }
        return others_write();
    }
    static Failure others_write() noexcept { return {errc::in_use, "others write to the store all the time"}; }
    Failure await_quiet(const ViewNote& noted, bool is_writing) const;

    // ---- look-ups --------------------------------------------------------------------------------------------------

    /// Finds a key without a lock, by its hint or by its chains, and lets `take(Found)` answer for it.
    template <class Take>
    Presence locate(const KeyType& key, unsigned preferred, Failure& failure, const Take& take) const {
        if (key.problem() != errc{}) return fail(failure, key.failure());
        if (is_foreign_process()) return fail(failure, forked());
        // Told behind the look at whether the view was good all the time: what is seen in one that is over is no
        // damage.
        std::uint64_t damaged = 0;
        const Presence presence = steadily(failure, [&] {
            damaged = 0;
            return locate_here(key, preferred, failure, take, damaged);
        });
        if (damaged != 0) report_damage(key, damaged);
        return presence;
    }
    /// `damaged` is the record of which another copy answers.
    template <class Take>
    Presence locate_here(const KeyType& key, unsigned preferred, Failure& failure, const Take& take,
                         std::uint64_t& damaged) const {
        const std::uint32_t tag = hint_tag();
        for (const Hint hint : {hints_.find(key.quick_hash()), hints_.find_second(key.quick_hash())}) {
            if (!hint || hint.clears() != tag) continue;
            const Presence presence = versions_.consistently(hint.version(), [&] {
                if (!is_right(hint, key)) return Presence::absent;
                Found found{{hint.record(), hint.length()}, {}};
                found.view = look(found.place, key.words());
                const bool sound = found.view.state == View::State::live && !found.view.damage;
                return sound ? take(found) : Presence::absent;
            });
            if (presence != Presence::absent) return presence;
        }
        const std::uint32_t hash = key.hash();
        Found found;
        const Presence presence = versions_.consistently(hash, [&] {
            found = {};
            const Presence where = find(key, hash, preferred, found, failure);
            return where == Presence::present ? take(found) : where;
        });
        if (presence == Presence::absent || found.place.record == 0) return presence;
        if (found.view.damage) damaged = found.place.record;
        hints_.remember(Hint(found.place.record, found.place.length, hash, key.quick_hash(), tag), key.quick_hash());
        return presence;
    }
    /// Of the view in which a record was found: a file that went back to its last sync may have others there.
    std::uint32_t hint_tag() const noexcept {
        return read_only_ ? view_.load(std::memory_order_relaxed) / 2 & 0xffff : 0;
    }

    /// [hints] Within `Versions::consistently`: true if the record may be the key's.
    bool is_right(const Hint& hint, const KeyType& key) const noexcept { return is_right(region_.mapped(), hint, key); }
    [[gnu::always_inline]] static inline bool is_right(const Mapped file, const Hint& hint,
                                                       const KeyType& key) noexcept {
        return is_inside(file, hint) && file.template equal<KeyLen>(hint.record(), key.words());
    }
    /// For a read-only handle whose views' numbers came round: a hint of 65,536 views ago may be of a file that was
    /// longer.
    static bool is_inside(const Mapped file, const Hint& hint) noexcept {
        return hint && hint.record() + pair_layout::record_bytes(KeyLen, hint.length()) <=
                           file.load_word(pair_shared::live_end);
    }

    // The following are called consistently, or by the writer.

    Chain chain(std::uint32_t bucket, unsigned length) const noexcept {
        return {region_, KeyLen, shared_word(pair_shared::live_end), bucket, length};
    }

    /// Finds the live record of a key: the first without damage, else the one with the larger epoch.
    Presence find(const KeyType& key, std::uint32_t hash, unsigned preferred, Found& found,
                  Failure& failure) const noexcept {
        bool unknown = false;  // some record or chain that may be the key's cannot be read
        std::uint32_t rest = used_lengths();
        if (preferred != any_length && (rest >> preferred & 1) == 0) preferred = any_length;
        while (rest != 0) {
            const unsigned length = preferred != any_length ? preferred : static_cast<unsigned>(std::countr_zero(rest));
            preferred = any_length;
            rest &= ~(std::uint32_t{1} << length);
            Chain walk = chain(geometry_.bucket(hash, length), length);
            while (walk.next()) {
                if (!region_.template equal<KeyLen>(walk.record(), key.words())) continue;
                const Place place{walk.record(), length};
                const View view = look(place, key.words());
                if (view.state == View::State::damaged) unknown = true;
                if (view.state != View::State::live) continue;
                if (found.place.record == 0 || view.header.epoch() > found.view.header.epoch()) found = {place, view};
                if (!view.damage) return Presence::present;
            }
            if (walk.damaged()) {
                unknown = true;
                failure = walk.failure();
            }
        }
        if (found.place.record != 0) return Presence::present;
        if (unknown) return fail(failure, failure ? failure : damaged_key());
        return passed_damage(hash) ? fail(failure, damaged_key()) : Presence::absent;
    }

    /// Before a key is called absent: a record in its chains whose newest slot fails its checksum may have been its,
    /// until a bit of the record's key flipped.
    bool passed_damage(std::uint32_t hash) const noexcept {
        for (std::uint32_t rest = used_lengths(); rest != 0; rest &= rest - 1) {
            const auto length = static_cast<unsigned>(std::countr_zero(rest));
            Chain walk = chain(geometry_.bucket(hash, length), length);
            while (walk.next())
                if (look(Place{walk.record(), length}).damage) return true;
        }
        return false;
    }

    /// True of a record that came to life because the slot which said that it is deleted is damaged: the key has
    /// another one, of another length, that counts before it.
    bool is_superseded(const Place& place, const View& view, const KeyType& key) const noexcept {
        if (view.state != View::State::live || !view.damage) return false;
        Found found;
        Failure ignored;
        return find(key, key.hash(), any_length, found, ignored) == Presence::present &&
               found.place.record != place.record;
    }

    /// Not under the writers' lock, which the handler may want: there everything is read again that was read, and told,
    /// without it.
    void report_damage(const KeyType& key, std::uint64_t record) const {
        static thread_local bool is_telling = false;  // what the handler itself meets
        if (!on_damage_ || is_viewer() || is_telling) return;
        const struct Telling {
            Telling() noexcept { is_telling = true; }
            ~Telling() { is_telling = false; }
        } telling;
        on_damage_(Damage{key.view(), record});
    }

    // ---- walking over everything -----------------------------------------------------------------------------------

    /// Calls `visit(bucket, place)` for each record and `damage(bucket, chain)` where a chain cannot be followed.
    template <class Visit, class OnDamage>
    void walk_all(const Visit& visit, const OnDamage& damage) const {
        Position position;
        for (; skip_empty_buckets(position); ++position.bucket) {
            const unsigned length = geometry_.length_of_bucket(position.bucket);
            Chain walk = chain(position.bucket, length);
            while (walk.next()) visit(position.bucket, Place{walk.record(), length});
            if (walk.damaged()) damage(position.bucket, walk);
        }
    }

    Presence next_here(Position& position, Item& item, Failure& failure) const {
        while (skip_empty_buckets(position)) {
            Position moved;
            const Presence presence = versions_.consistently(position.bucket, [&] {
                moved = position;
                return next_in_bucket(moved, item, failure);
            });
            position = moved;
            if (presence != Presence::absent) return presence;
        }
        return Presence::absent;
    }

    bool skip_empty_buckets(Position& position) const noexcept {
        if (position.record != 0) return true;
        position.bucket = next_used_bucket(region_, position.bucket);
        return position.bucket < layout::bucket_count;
    }

    Presence next_in_bucket(Position& position, Item& item, Failure& failure) const {
        const unsigned length = geometry_.length_of_bucket(position.bucket);
        Chain walk = chain(position.bucket, length);
        // Also the record from which it goes on can be gone, behind a file that another program cut short.
        const std::uint64_t end = position.record + pair_layout::record_bytes(KeyLen, length);
        const bool is_gone = position.record != 0 && end > shared_word(pair_shared::live_end);
        if (position.record != 0 && !is_gone) walk.continue_behind(position.record);
        while (!is_gone && walk.next()) {
            const Place place{walk.record(), length};
            std::uint64_t key[KeyType::word_count];
            load_key_words(place.record, key);
            const View view = look(place, key);
            if (view.state != View::State::live && view.state != View::State::damaged) continue;
            position.record = place.record;
            if (view.state == View::State::damaged || !load_key(key, position.bucket, length, item.key))
                return fail(failure, damaged_key());
            if (view.damage && is_superseded(place, view, KeyType{std::string_view(item.key)})) continue;
            const Slot slot = slot_of(place, view);
            if (!slot.code.known) return fail(failure, unknown_value());
            item.code = slot.code;
            item.is_older_copy = view.damage;
            item.is_payload = slot.code.type >= Type::ascii;
            if (item.is_payload) item.code.length = payload_length;
            item.field.resize(slot.size);
            region_.copy_out(slot.value, item.field.data(), slot.size);
            return Presence::present;
        }
        ++position.bucket;
        position.record = 0;
        return walk.damaged() ? fail(failure, walk.failure()) : Presence::absent;
    }

    /// The bytes of a record's key; false if they are no key, or not one of this bucket.
    bool load_key(const std::uint64_t (&words)[KeyType::word_count], std::uint32_t bucket, unsigned length,
                  std::string& key) const {
        key.assign(reinterpret_cast<const char*>(words), KeyLen);
        const std::size_t last = key.find_last_not_of('\0');
        key.resize(last == std::string::npos ? 0 : last + 1);
        if (key.empty()) return false;
        const KeyType checked{std::string_view(key)};
        return checked.problem() == errc{} && geometry_.bucket(checked.hash(), length) == bucket;
    }

    // ---- changes: called by the one writer; pair_change.hpp --------------------------------------------------------

    struct Survey;
    struct SlotImage;
    struct BatchProgress;

    std::uint64_t next_epoch() const noexcept { return shared_word(pair_shared::durable_epoch) + 1; }
    /// D after the next sync. Behind the last epoch nothing can be written, so there nothing is lost.
    std::uint64_t epoch_to_sync() const noexcept {
        const std::uint64_t next = shared_word(pair_shared::pending) != 0 ? next_epoch() : next_epoch() - 1;
        return (std::min)(next, pair_layout::last_epoch);
    }
    static constexpr std::uint64_t most_records(std::uint64_t end) noexcept {
        return (end - pair_layout::records_offset) / pair_layout::record_bytes(KeyLen, 0);
    }
    /// The number of keys after a change. Of a damaged file it can be wrong, but not such that no open believes it.
    static std::uint64_t count_keys(std::uint64_t keys, std::uint64_t added, std::uint64_t removed,
                                    std::uint64_t records) noexcept {
        keys += added;
        keys -= (std::min)(keys, removed);
        return (std::min)(keys, records);
    }
    Failure before_change() noexcept;
    bool is_begun() const noexcept;
    template <unsigned Bytes>
    bool put_exact_here(const KeyType& key, Type type, std::uint64_t bits) noexcept;
    Failure choose_length(const Encoded& value, unsigned& length) const noexcept;
    Failure survey(const KeyType& key, std::uint32_t hash, unsigned length, Survey& survey) const noexcept;
    bool is_deletion_durable(const View& view) const noexcept;
    bool may_overwrite(const View& view, unsigned& which) const noexcept;
    SlotImage image_of(const Place& place, unsigned which, const Encoded* value, const std::uint64_t* key,
                       std::uint64_t epoch) const noexcept;
    void store_idle(const SlotImage& image) noexcept;
    void add_slot(const SlotImage& image);
    Failure store_record(const KeyType& key, const Encoded& value, const Place& place, std::uint64_t link,
                         std::uint32_t bucket) noexcept;
    Failure put_locked(const KeyType& key, std::uint32_t hash, const Encoded& value, unsigned length) noexcept;
    Failure plan(const std::vector<Operation>& operations, std::vector<BatchStep>& steps, std::size_t& failed) const;
    Failure add_step(const Operation& operation, const BatchStep& step, BatchProgress& batch);
    bool put_by_hint(const KeyType& key, const Encoded& value, unsigned length) noexcept;
    void replace(const SlotImage& image) noexcept;
    void name_lone(const SlotImage& image) noexcept;
    void add_erasure(const Place& place, const View& view);
    void remember(const KeyType& key, std::uint32_t hash, const Place& place) noexcept;
    void use_length(unsigned length) noexcept;

    // ---- durability: pair_sync.hpp ---------------------------------------------------------------------------------

    static bool has_pending(void* engine) noexcept {
        const auto& self = *static_cast<PairEngine*>(engine);
        return self.shared_word(pair_shared::pending) != 0 && self.shared_word(pair_shared::failed) == 0;
    }
    static Failure sync_file(void* engine) noexcept { return static_cast<PairEngine*>(engine)->sync_now(); }
    Failure sync_now() noexcept;
    Failure sync_locked() noexcept;
    Failure close_locked() noexcept;
    Failure make_sure(bool always = false) noexcept;
    Failure flush() noexcept;
    Failure write_superblock(bool clean, std::uint64_t durable_epoch, std::uint64_t durable_end,
                             std::uint64_t lone_slot = 0) noexcept;
    std::uint64_t lone_slot() const noexcept;
    Failure mark_in_use() noexcept;
    Failure complete_superblocks() noexcept;
    Failure check_size() const noexcept;
    Failure ensure_space(std::uint64_t end) noexcept;
    Failure refresh_size() noexcept;
    void note_durable(const Superblock& superblock) noexcept;

    // ---- the file: pair_open.hpp, pair_recover.hpp -----------------------------------------------------------------

    Failure open_file(std::string_view path, const Options& options, bool may_share);
    Failure open_content(const Options& options, bool& created);
    Failure map() noexcept;
    Failure read_place(const typename Platform::FileId& id) noexcept;
    void announce_opening() noexcept;
    Failure was_never_created(bool& answer);
    static void encode_header(std::byte (&header)[layout::header_bytes], std::uint32_t weights) noexcept;
    Failure create(const Options& options);
    Failure check_identity(const Options& options, Superblock& superblock);
    Failure check_policies(const Superblock& superblock) const noexcept;
    Failure check_salvageable(std::uint32_t weights) const noexcept;
    bool has_whole_slot(std::uint32_t weights) const noexcept;
    Failure check_fields(const Superblock& superblock) const noexcept;
    Failure set_geometry(std::uint32_t weights) noexcept;
    Failure take_owner_byte() noexcept;
    void initialise_shared(const Superblock& superblock, std::uint64_t durable_generation, bool keep_failed) noexcept;
    void make_usable() noexcept;
    void count_used_lengths() noexcept;
    bool has_stamp() const noexcept;
    static constexpr std::uint64_t stamp_word() noexcept { return pair_shared::stamp_of(sizeof(void*)); }

    Failure foreign_stamp() const noexcept {
        return {errc::in_use, "processes of another word size, byte order or version of the library have the file open",
                Fact::of_number(stamp_word()), Fact::of_number(shared_word(pair_shared::stamp))};
    }

    Failure resume_after_kill();
    Failure check_left(const Superblock& counting) noexcept;
    bool check_journal(Superblock& left) const noexcept;
    static bool is_place_of_image(std::uint64_t offset, std::uint64_t bytes, std::uint64_t end) noexcept;
    bool apply_journal() noexcept;
    Failure recover(const Superblock& superblock, bool after_failure);
    void mend_record(const Place& place, const Superblock& superblock);
    Failure flush_all_pages(std::uint64_t end) noexcept;
    Failure finish_recovery(const Superblock& superblock, bool after_failure) noexcept;

    // pair_salvage.hpp
    struct Salvage;
    /// Two syncs need not be of neighbouring epochs: `clear`, `repair` and failed changes use some up.
    static constexpr std::uint64_t most_skipped_epochs = std::uint64_t{1} << 20;
    void look_for_records(Superblock& superblock, Salvage& found);
    Failure salvage(Superblock& superblock, bool after_failure);
    void note_epochs(const Place& place, Superblock& superblock, std::vector<std::uint64_t>& damaged_epochs) const;
    void bury_superseded(Superblock& superblock);
    bool has_newer(const KeyType& key, const Place& place, const View& view) const noexcept;

    // pair_share.hpp
    Failure attach(const Options& options);
    static bool is_owner_dead(void* engine, unsigned byte) noexcept;
    static void take_over(void* engine) noexcept;
    static void admit_loss(void* engine) noexcept;
    static bool help_reader(void* engine) noexcept;
    void finish_for_dead() noexcept;
    bool finish_journal() noexcept;
    void poison() noexcept { region_.publish_word(pair_shared::failed, 1); }
    void close_shared() noexcept;

    // pair_check.hpp
    Failure check_all(Report& report) const;
    Failure count_all(Stats& stats) const;
    void check_head(ProblemList& problems) const;
    void check_record(std::uint32_t bucket, const Place& place, Report& report, ProblemList& problems) const;
    bool repair_slots(std::uint32_t bucket, const Place& place);

    // pair_copy.hpp
    Failure write_copy(PlatformFile& target) const;
    /// A key whose newer copy is damaged.
    struct OlderCopy {
        std::string key;
        std::uint64_t record;
    };
    Failure copy_entries(PairEngine& target, std::vector<OlderCopy>& damaged) const;

    // Set by open, then never changed.
    std::string path_;
    std::string directory_;
    PlatformFile file_;
    Region region_;
    Geometry geometry_;
    bool has_geometry_ = false;
    Recovery told_;      // of the open
    Recovery recovery_;  // of the last look at the whole file
    FilePlace place_;
    DamageHandler on_damage_;
    bool read_only_ = false;
    bool trusting_ = false;  // reads do not look at checksums
    unsigned fork_generation_ = 0;
    // A key has to have this problem for the short ways: none, or where there is no short way one that no key has.
    errc problem_of_short_way_ = errc::not_found;
    unsigned owner_byte_ = 0;  // 0 = none: a read-only handle

    Versions versions_;
    mutable HintTable hints_;

    // Of read-only handles; the view is made anew under `renewing_`.
    mutable typename Platform::Mutex renewing_;
    Region stamps_;                          // the file itself up to the records, whatever `region_` shows
    std::atomic<std::uint32_t> view_{0};     // number of the view, odd while it is made
    std::atomic<bool> is_view_good_{false};  // else the last attempt to make one failed
    std::atomic<ViewKind> view_kind_{ViewKind::at_rest};
    std::atomic<std::uint64_t> view_opening_{0};   // the opening stamp it was made under
    std::atomic<std::uint64_t> orphaned_lock_{0};  // the lock word that names the dead owner
    mutable Failure orphan_failure_;               // why it could not be finished; under `renewing_`
    bool salvages_ = false;                        // Options::salvage

    // Of the writer alone, under `writers_`.
    mutable WriterLock writers_;
    mutable std::atomic<const void*> viewer_{nullptr};
    Journal<Region, PlatformFile> journal_;
    std::uint64_t file_bytes_ = 0;
    bool prepared_ = false;  // the file has no holes
    bool is_ready_ = false;  // the file is a store and this handle's
    bool is_first_ = false;  // the change that is being made is the first since the last sync

    Durability<Platform, WriterLock> durability_;  // last: its thread uses the rest
};

}  // namespace kvs::detail

#include <kvs/detail/pair_change.hpp>   // IWYU pragma: export
#include <kvs/detail/pair_check.hpp>    // IWYU pragma: export
#include <kvs/detail/pair_copy.hpp>     // IWYU pragma: export
#include <kvs/detail/pair_open.hpp>     // IWYU pragma: export
#include <kvs/detail/pair_recover.hpp>  // IWYU pragma: export
#include <kvs/detail/pair_salvage.hpp>  // IWYU pragma: export
#include <kvs/detail/pair_share.hpp>    // IWYU pragma: export
#include <kvs/detail/pair_sync.hpp>     // IWYU pragma: export
#include <kvs/detail/pair_view.hpp>     // IWYU pragma: export

#endif  // KVS_DETAIL_PAIR_ENGINE_HPP
