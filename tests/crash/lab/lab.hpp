// The crash laboratory, second part: runs a workload on a store in memory, makes of the record of it every file that a
// death can leave, opens each, and compares what is there with a history that is kept outside of the file.
//
//   kill    the file after the first n events, n = 0, 1, 2, ...: exactly the acknowledged operations, the one in flight
//           whole or not at all
//   kill, with a survivor   the same, but another handle has the file open and goes on without opening it, or a new one
//           joins while others have it open
//   power   between two completed flushes every unit (8, 64, 512, 4096 bytes) has any of the versions it had since the
//           first, each for itself, and the file any length it had: exactly the state after some operation at or after
//           the last completed sync
//
// An image is opened (read-only too, sometimes: the same view and no byte changed), read, counted, walked, verified,
// written to, closed and opened again. For a sample of images the opening is recorded and cut in turn.
//
// Every image has an id, which a failure prints: the workload, then for each crash '@k' and the number of events, or
// '@p', the event at which the window ends, the unit and the number of the image. KVS_CRASH='<id>' runs that one alone;
// the name of a workload runs all of its images. KVS_CRASH_TRACE=1 prints each id before its image is opened.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "memory_platform.hpp"

namespace kvs_test::lab {

namespace layout = kvs::detail::pair_layout;

// ---- what a store holds ---------------------------------------------------------------------------------------------

/// Every value that a workload writes has a number of its own, so that a state tells which operations it holds.
inline constexpr std::size_t most_keys = 8;
inline constexpr std::uint16_t absent = 0;
inline constexpr std::uint16_t not_written = 0xffff;  ///< a value that nobody ever set, or an error
using State = std::array<std::uint16_t, most_keys>;   ///< by key

/// Forms of a value: which record length it takes, and how much of it. A number, short text, ...
inline constexpr unsigned form_count = 7;
inline constexpr unsigned huge = 7;  ///< three of them do not fit into the journal's room
inline kvs::Value make_value(std::uint16_t number, unsigned form) {
    static constexpr std::size_t sizes[form_count + 1] = {0, 20, 60, 300, 0, 9, 3000, 40000};
    if (form == 0) return kvs::Value(std::uint64_t{number} * 0x0001000100010001u);
    if (form == 4) return kvs::Value(number);
    std::string text(sizes[form], 'a');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + (number * 7u + i) % 26);
    text[0] = static_cast<char>('A' + number / 26 % 26);
    text[1] = static_cast<char>('A' + number % 26);
    text[2] = static_cast<char>('A' + number / 676 % 26);
    return kvs::Value(text);
}
/// The number that a value says it has; the caller compares it with the value of that number.
inline std::uint16_t number_of(const kvs::Value& value) {
    if (value.type() == kvs::Type::u64) return static_cast<std::uint16_t>(value.get<std::uint64_t>());
    if (value.type() == kvs::Type::u16) return value.get<std::uint16_t>();
    const std::string_view text = value.text();
    if (text.size() < 3) return not_written;
    const auto letter = [&](std::size_t i) { return static_cast<unsigned>(text[i] - 'A') % 26; };
    return static_cast<std::uint16_t>(letter(2) * 676 + letter(0) * 26 + letter(1));
}

struct Op {
    enum class Kind : std::uint8_t { set, erase, batch, sync, clear, reopen, failing_sync } kind{};
    std::uint8_t key = 0;
    std::uint8_t form = 0;
    std::vector<Op> parts{};  ///< of a batch

    std::string name() const {
        switch (kind) {
            case Kind::set: return "s" + std::to_string(key) + std::to_string(form);
            case Kind::erase: return "e" + std::to_string(key);
            case Kind::sync: return "S";
            case Kind::clear: return "C";
            case Kind::reopen: return "R";
            case Kind::failing_sync: return "F" + std::to_string(form);
            case Kind::batch: break;
        }
        std::string text = "b[";
        for (const Op& part : parts) text += part.name();
        return text + "]";
    }
};
inline Op set(unsigned key, unsigned form) {
    return {Op::Kind::set, static_cast<std::uint8_t>(key), static_cast<std::uint8_t>(form), {}};
}
inline Op erase(unsigned key) { return {Op::Kind::erase, static_cast<std::uint8_t>(key), 0, {}}; }
inline Op batch(std::vector<Op> parts) { return {Op::Kind::batch, 0, 0, std::move(parts)}; }
inline const Op sync{Op::Kind::sync, 0, 0, {}};
inline const Op clear{Op::Kind::clear, 0, 0, {}};
inline const Op reopen{Op::Kind::reopen, 0, 0, {}};
/// A sync whose n-th flush fails, and what is left to do then: closing and opening again. With fewer flushes, a sync.
/// Where every write is synced, it is that of a write of key 0.
inline Op failing_sync(unsigned n) { return {Op::Kind::failing_sync, 0, static_cast<std::uint8_t>(n), {}}; }

using Ops = std::vector<Op>;
inline std::string name_of(const Ops& ops) {
    std::string text;
    for (const Op& op : ops) text += (text.empty() ? "" : ".") + op.name();
    return text;
}

/// The states that a store went through, and the values in them. Kept outside of the file.
struct History {
    std::vector<State> states{State{}};
    std::unordered_map<std::uint16_t, kvs::Value> values;
    std::uint16_t next_number = 1;

    void apply_part(State& state, const Op& op, std::vector<kvs::Value>* written) {
        if (op.kind == Op::Kind::erase) state[op.key] = absent;
        if (op.kind != Op::Kind::set) return;
        const std::uint16_t number = next_number++;
        kvs::Value value = make_value(number, op.form);
        if (written != nullptr) written->push_back(value);
        values.insert_or_assign(number, std::move(value));
        state[op.key] = number;
    }
    /// Adds the state after the operation; the values it writes are for the store.
    void apply(const Op& op, std::vector<kvs::Value>& written) {
        State state = states.back();
        if (op.kind == Op::Kind::clear) state = State{};
        apply_part(state, op, &written);
        for (const Op& part : op.parts) apply_part(state, part, &written);
        states.push_back(state);
    }
};

/// A file as it was on the device, what was done to it since, and what was promised meanwhile.
struct Timeline {
    std::shared_ptr<const Content> base;
    std::vector<Event> events;
    History history;
    std::uint64_t boot = 1;
    std::size_t first = 0;  ///< cuts before this event are somebody else's
};

// ---- figures --------------------------------------------------------------------------------------------------------

inline constexpr std::array<std::uint64_t, 4> unit_sizes{4096, 512, 64, 8};

struct Figures {
    std::uint64_t workloads = 0;
    std::uint64_t kills = 0;
    std::array<std::uint64_t, 4> power{};  ///< by `unit_sizes`; images that are no copy of one before
    std::uint64_t copies = 0;              ///< images that were made and known already
    std::uint64_t nested = 0;              ///< of kills and power: crashes after a crash
    std::uint64_t whole_windows = 0;       ///< all images of them were made
    std::uint64_t sampled_windows = 0;
    std::uint64_t one_flush = 0;  ///< operations of the workloads that were made durable by a single flush
};

/// How much of everything.
struct Effort {
    std::size_t images_per_window = 400;  ///< for each unit size
    std::size_t nested_images = 40;       ///< the same within a crash after a crash
    unsigned depth = 2;                   ///< crashes after each other, the first included
    unsigned nest_one_in = 64;            ///< images
    bool kills = true;
    bool power = true;
    std::size_t coarsest = 0;  ///< of `unit_sizes`: the first and the last that are mixed
    std::size_t finest = unit_sizes.size() - 1;
    bool sync_each = false;          ///< every acknowledged operation is on the device
    bool survivor = false;           ///< another handle has the file open and goes on; kills only
    std::uint64_t damaged_byte = 0;  ///< of each page of the superblocks, from the beginning: salvage; 0 = none
};

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = (a + 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u ^ b;
    x = (x ^ x >> 31) * 0x94d049bb133111ebu;
    x = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}

/// Remembers what was seen, most of the time: a number that is forgotten costs a second look and nothing else.
class Seen {
public:
    bool add(std::uint64_t hash) {
        std::uint64_t& place = table_[static_cast<std::size_t>(hash >> 43)];
        if (place == hash) return false;
        place = hash;
        return true;
    }

private:
    std::vector<std::uint64_t> table_ = std::vector<std::uint64_t>(std::size_t{1} << 21);
};

/// Too much is wrong to go on.
struct Abort : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// ---- the laboratory -------------------------------------------------------------------------------------------------

/// For one type of store. `Store` is one on `LabPlatform`.
template <class Store>
class Lab {
public:
    using Key = typename Store::key_type;

    /// `only`: as `KVS_CRASH`.
    Lab(std::string name, std::vector<std::string> keys, Effort wanted, std::string only = {})
        : effort(wanted), name_(std::move(name)), only_(std::move(only)) {
        for (const std::string& key : keys) keys_.emplace_back(std::string_view(key));
        if (const char* text = std::getenv("KVS_CRASH")) only_ = text;
        trace_ = std::getenv("KVS_CRASH_TRACE") != nullptr;
    }

    std::size_t key_count() const { return keys_.size(); }

    Effort effort;
    Figures figures;
    std::vector<std::string> failures;

    /// An empty timeline on a file that is made by some operations, closed and durable. Without operations and with
    /// `created` false there is no file at all.
    Timeline prepare(const Ops& ops, bool created = true, kvs::Weights weights = {}) {
        weights_ = weights;
        Disk& d = disk();
        d = Disk{};
        d.boot = 1;
        d.store_file();
        Timeline timeline;
        if (created) {
            timeline.base = std::make_shared<Content>();
            run(timeline, ops, false);
            timeline.events.clear();
            timeline.history.states = {timeline.history.states.back()};
        }
        Content content = d.store_file().content();
        if (effort.damaged_byte != 0)
            for (unsigned page = 0; page < layout::superblock_copies * layout::superblock_twins; ++page)
                content.bytes[layout::superblock_page(page) + effort.damaged_byte] ^= std::byte{1};
        timeline.base = std::make_shared<Content>(std::move(content));
        timeline.boot = 2;
        return timeline;
    }

    /// Runs the operations and looks at the crashes from the last one on: the earlier ones are a shorter workload's.
    void last_of(const std::string& scene, const Timeline& from, const Ops& ops) {
        explore(scene, from, ops, ops.empty() ? 0 : ops.size() - 1);
    }
    /// The same for all of them.
    void all_of(const std::string& scene, const Timeline& from, const Ops& ops) { explore(scene, from, ops, 0); }

    void print(const char* title) const {
        std::printf(
            "%s %s: %llu workloads; %llu kill states; power states with units of 4096: %llu, 512: %llu, "
            "64: %llu, 8: %llu; %llu of all in a crash after a crash; %llu windows whole, %llu by sample; "
            "%llu images made twice; %llu operations of one flush\n",
            title, name_.c_str(), number(figures.workloads), number(figures.kills), number(figures.power[0]),
            number(figures.power[1]), number(figures.power[2]), number(figures.power[3]), number(figures.nested),
            number(figures.whole_windows), number(figures.sampled_windows), number(figures.copies),
            number(figures.one_flush));
        std::fflush(stdout);
    }

private:
    static unsigned long long number(std::uint64_t n) { return n; }
    kvs::Options options(kvs::Mode mode = kvs::Mode::open_or_create) const {
        kvs::Options options;
        options.mode = mode;
        options.sync = effort.sync_each ? kvs::sync_each : kvs::sync_manual;
        options.salvage = effort.damaged_byte != 0;
        return options;
    }

    // ---- running a workload --------------------------------------------------------------------------------------

    void explore(const std::string& scene, const Timeline& from, const Ops& ops, std::size_t first_op) {
        const std::string id = name_ + "/" + scene + "/" + name_of(ops);
        if (!only_.empty() && only_ != id && only_.rfind(id + "@", 0) != 0) return;
        Timeline timeline = from;
        disk().number = 0;
        disk().store_file().load(*timeline.base);
        disk().store_file().exists = timeline.base->size != 0;
        first_op_ = first_op;
        start_.reset();
        disk().locks.clear();
        try {
            run(timeline, ops, true);
        } catch (const std::exception& error) {
            fail(id, std::string("the workload itself failed: ") + error.what());
            return;
        }
        ++figures.workloads;
        crash(id, timeline, 1);
    }

    void crash(const std::string& id, const Timeline& timeline, unsigned depth) {
        if (effort.kills) kill(id, timeline, depth);
        if (effort.power) power(id, timeline, depth);
    }

    /// Appends to a timeline what the operations do to the file that is there now. The store is opened at the
    /// beginning and, if nothing is recorded, closed at the end.
    void run(Timeline& timeline, const Ops& ops, bool record) {
        Disk& d = disk();
        d.boot = timeline.boot;
        d.events = record ? &timeline.events : nullptr;
        History& history = timeline.history;
        const auto last = static_cast<std::uint32_t>(history.states.size() - 1);
        if (timeline.events.empty()) d.moment = {last, last, last};
        std::optional<Store> store;
        try {
            kvs::Options how = options();
            how.weights = weights_;
            store.emplace("store", how);
            if (effort.survivor && !start_) {
                hold_for_survivor();
                start_ = std::make_shared<Content>(d.store_file().content());
                if (first_op_ == 0) timeline.first = timeline.events.size();
            }
            for (std::size_t i = 0; i < ops.size(); ++i) {
                if (i == first_op_) timeline.first = timeline.events.size();
                run_one(store, history, ops[i]);
            }
        } catch (...) {
            d.events = nullptr;
            throw;
        }
        if (!record) store.reset();
        d.events = nullptr;
        check_seam();
    }

    void run_one(std::optional<Store>& store, History& history, const Op& op) {
        Disk& d = disk();
        Moment moment = d.moment;
        const bool changes = op.kind == Op::Kind::set || op.kind == Op::Kind::erase || op.kind == Op::Kind::batch ||
                             op.kind == Op::Kind::clear;
        std::vector<kvs::Value> written;
        if (changes) {
            history.apply(op, written);
            ++moment.started;
        }
        d.mark(moment);
        const std::uint64_t flushes = d.flushes;
        switch (op.kind) {
            case Op::Kind::set: store->set(keys_[op.key], written[0]); break;
            case Op::Kind::erase: store->erase(keys_[op.key]); break;
            case Op::Kind::clear: store->clear(); break;
            case Op::Kind::sync: store->sync(); break;
            case Op::Kind::reopen:
                store.reset();
                store.emplace("store", options());
                break;
            case Op::Kind::failing_sync:
                if (effort.sync_each) {
                    history.apply(set(0, 0), written);
                    ++moment.started;
                    d.mark(moment);
                }
                moment = sync_in_vain(store, history, op, moment, written);
                break;
            case Op::Kind::batch:
                store->batch([&](auto& changes_of_batch) {
                    std::size_t value = 0;
                    for (const Op& part : op.parts) {
                        if (part.kind == Op::Kind::set)
                            changes_of_batch.set(keys_[part.key], written[value++]);
                        else
                            changes_of_batch.erase(keys_[part.key]);
                    }
                });
                break;
        }
        if (changes && d.flushes == flushes + 1) ++figures.one_flush;
        // What changes nothing need not sync what a killed process left, either.
        const std::size_t count = history.states.size();
        const bool is_synced = changes && effort.sync_each && history.states[count - 1] != history.states[count - 2];
        moment.acknowledged = moment.started;
        if (op.kind == Op::Kind::sync || op.kind == Op::Kind::reopen || is_synced) moment.synced = moment.acknowledged;
        d.mark(moment);
    }

    /// [failed] The store goes back to a state at or after the last completed sync, and what it goes back to is on the
    /// device when it is open again.
    Moment sync_in_vain(std::optional<Store>& store, History& history, const Op& op, Moment moment,
                        const std::vector<kvs::Value>& written) {
        Disk& d = disk();
        std::error_code error;
        d.flushes_until_failure = op.form;
        if (written.empty())
            store->sync(error);
        else
            store->set(keys_[0], written[0], error);
        if (std::exchange(d.flushes_until_failure, 0) != 0) {
            if (error) throw std::runtime_error("a sync failed for no reason");
            moment.synced = moment.started;
            return moment;
        }
        if (!error) throw std::runtime_error("a flush failed and sync() did not tell");
        store->set(keys_[0], std::uint64_t{1}, error);
        if (error != kvs::errc::not_durable) throw std::runtime_error("a write after a failed flush is not refused");
        moment.acknowledged = moment.synced;
        d.mark(moment);
        store.reset();
        store.emplace("store", options());
        Case fallen{&history, moment.synced, moment.started, 0, 0, false};
        std::size_t state = 0;
        const State found = read(*store, history);
        if (!find_state(fallen, found, state))
            throw std::runtime_error("after a failed flush the store holds " + text_of(found) + ", allowed is " +
                                     text_of_range(fallen));
        history.states.push_back(found);
        const auto last = static_cast<std::uint32_t>(history.states.size() - 1);
        return {last, last, last};
    }

    // ---- kills -----------------------------------------------------------------------------------------------------

    void kill(const std::string& id, const Timeline& timeline, unsigned depth) {
        MemoryFile& file = disk().store_file();
        Content now = *timeline.base;
        Moment moment = timeline.events.empty() ? Moment{} : timeline.events.front().moment;
        for (std::size_t i = 0; i < timeline.first; ++i) apply(timeline.events[i], now, moment);
        file.load(now);
        bool exists = now.size != 0;
        file.exists = exists;
        std::size_t in_a_row = 0;
        for (std::size_t i = timeline.first; i < timeline.events.size(); ++i) {
            const Event& event = timeline.events[i];
            const Moment before = moment;
            const bool changed = apply(event, now, moment);
            apply_to_file(event);
            exists = exists || changed;
            // A mark that allows more makes no new case, one that allows less does.
            const bool tighter = event.kind == Event::Kind::mark && (before.acknowledged != moment.acknowledged);
            if (!changed && !tighter) continue;
            // Long runs (a table of counters, a value of many words): their beginnings and ends stand for the rest.
            in_a_row = i > 0 && goes_on(timeline.events[i - 1], event) ? in_a_row + 1 : 0;
            const bool next_too = i + 1 < timeline.events.size() && goes_on(event, timeline.events[i + 1]);
            if (in_a_row > (is_counter(event) ? 3 : 48) && next_too && in_a_row % 512 != 0) continue;
            const auto name = [&] { return id + "@k" + std::to_string(i + 1); };
            const std::uint64_t chance = mix(i, timeline.events.size() * 31 + depth);
            Case one{&timeline.history, moment.acknowledged, moment.started, timeline.boot, chance, false};
            now_ = &now;
            const Verdict verdict = examine(name, one, depth);
            file.restore(now);
            file.exists = exists;
            if (verdict.looked) ++figures.kills;
            if (verdict.looked && depth > 1) ++figures.nested;
            if (!verdict.nest) continue;
            Timeline again;
            again.base = timeline.base;
            again.events.assign(timeline.events.begin(), timeline.events.begin() + static_cast<std::ptrdiff_t>(i + 1));
            again.history = timeline.history;
            again.history.states.resize(verdict.state + 1);
            again.boot = timeline.boot;
            again.first = again.events.size();
            const auto state = static_cast<std::uint32_t>(verdict.state);
            disk().moment = {state, state, std::min(moment.synced, state)};
            nest(name(), again, chance, depth);
            file.load(now);
            file.exists = exists;
        }
    }

    static bool goes_on(const Event& event, const Event& next) {
        return event.kind == Event::Kind::store && next.kind == Event::Kind::store &&
               next.offset == event.offset + event.bytes;
    }
    static bool is_counter(const Event& event) {
        return event.kind == Event::Kind::store && event.bytes == 4 && event.offset >= layout::shared::counters &&
               event.offset < layout::shared::counters + 4 * layout::shared::counter_count;
    }

    /// True if it changed the file.
    static bool apply(const Event& event, Content& content, Moment& moment) {
        moment = event.moment;
        if (event.kind == Event::Kind::resize) {
            const bool changed = content.size != event.value;
            content.resize(event.value);
            return changed;
        }
        if (event.kind != Event::Kind::store) return false;
        content.reach(event.offset + event.bytes);
        const bool changed = std::memcmp(content.bytes.data() + event.offset, &event.value, event.bytes) != 0;
        content.put(event.offset, &event.value, event.bytes);
        return changed;
    }
    static void apply_to_file(const Event& event) {
        MemoryFile& file = disk().store_file();
        if (event.kind == Event::Kind::resize) file.resize(event.value);
        if (event.kind == Event::Kind::store) file.put(event.offset, &event.value, event.bytes);
        file.dirty.clear();
    }

    /// The crash after a crash: what the next process did is cut in turn.
    void nest(const std::string& id, Timeline& timeline, std::uint64_t chance, unsigned depth) {
        static const std::vector<Ops> continuations{{},
                                                    {sync},
                                                    {set(0, 0)},
                                                    {erase(0), sync},
                                                    {set(1, 0), sync, set(0, 0)},
                                                    {set(0, 1)},
                                                    {set(1, 0), set(2, 0), reopen},
                                                    {batch({set(0, 0), erase(1)}), sync},
                                                    {clear, set(0, 0)},
                                                    {erase(1), sync, set(2, 0)}};
        first_op_ = SIZE_MAX;
        disk().number = chance;  // else a replay, which looks at more, would draw other numbers from here on
        disk().locks.clear();
        if (effort.survivor) hold_for_survivor();
        try {
            run(timeline, continuations[static_cast<std::size_t>(chance >> 20) % continuations.size()], true);
        } catch (const std::exception& error) {
            fail(id, std::string("what came after the crash failed: ") + error.what());
            return;
        }
        if (effort.kills || effort.power) {
            kill(id, timeline, depth + 1);
            power(id, timeline, depth + 1);
        }
    }

    // ---- power cuts ------------------------------------------------------------------------------------------------

    /// A store that is not known to be on the device, or the part of it in one page.
    struct Piece {
        std::uint64_t offset;
        std::uint64_t value;
        std::uint8_t bytes;
    };

    void power(const std::string& id, const Timeline& timeline, unsigned depth) {
        Content durable = *timeline.base;
        std::uint64_t durable_hash = hash_of(durable);
        std::vector<Piece> open;
        std::vector<std::uint64_t> sizes{durable.size};
        PageSet dirty;  // since the last flush that was tried
        bool flush_failed = false;
        Moment moment = timeline.events.empty() ? Moment{} : timeline.events.front().moment;
        const std::size_t end = timeline.events.size();
        for (std::size_t i = 0; i <= end; ++i) {
            const bool completed = i < end && timeline.events[i].kind == Event::Kind::flush;
            if ((completed || i == end) && i >= timeline.first && (i > timeline.first || i == end)) {
                Window window{&timeline, &durable, durable_hash, &open, &sizes, moment, i, depth};
                each_unit_size(id, window);
            }
            if (i == end) break;
            const Event& event = timeline.events[i];
            moment = event.moment;
            if (event.kind == Event::Kind::store) {
                add_pieces(event, open);
                dirty.add_range(event.offset, event.bytes);
            } else if (event.kind == Event::Kind::resize) {
                if (sizes.back() != event.value) sizes.push_back(event.value);
            } else if (event.kind == Event::Kind::failed_flush) {
                flush_failed = true;
                dirty.clear();
            } else if (completed) {
                // A page that was clean after a failed flush and not stored to since is not written.
                std::vector<Piece> left;
                for (const Piece& piece : open) {
                    if (flush_failed && !dirty.contains(piece.offset / page_bytes))
                        left.push_back(piece);
                    else
                        durable_hash ^= put(durable, piece);
                }
                open = std::move(left);
                dirty.clear();
                flush_failed = flush_failed && !open.empty();
                if (sizes.back() < durable.size) durable_hash = 0;
                durable.resize(sizes.back());
                if (durable_hash == 0) durable_hash = hash_of(durable);
                sizes = {sizes.back()};
            }
        }
    }

    static void add_pieces(const Event& event, std::vector<Piece>& pieces) {
        const std::uint64_t room = page_bytes - event.offset % page_bytes;
        if (event.bytes <= room) {
            pieces.push_back({event.offset, event.value, event.bytes});
            return;
        }
        pieces.push_back({event.offset, event.value, static_cast<std::uint8_t>(room)});
        pieces.push_back({event.offset + room, event.value >> 8 * room, static_cast<std::uint8_t>(event.bytes - room)});
    }

    struct Window {
        const Timeline* timeline;
        const Content* durable;
        std::uint64_t durable_hash;
        const std::vector<Piece>* pieces;
        const std::vector<std::uint64_t>* sizes;
        Moment moment;
        std::size_t end;
        unsigned depth;
    };

    void each_unit_size(const std::string& id, const Window& window) {
        disk().store_file().load(*window.durable);
        const std::size_t images = window.depth > 1 ? effort.nested_images : effort.images_per_window;
        for (std::size_t i = effort.coarsest; i <= effort.finest; ++i) {
            const std::string name = id + "@p" + std::to_string(window.end) + "." + std::to_string(unit_sizes[i]);
            if (!only_.empty() && only_ != id && only_.rfind(name + ".", 0) != 0 && id.rfind(only_, 0) != 0) continue;
            mix_units(name, window, i, images);
        }
    }

    /// What a unit can be: its versions in order of time, the durable one first.
    struct Unit {
        std::uint64_t offset;
        std::vector<std::size_t> versions;   ///< where in the arena
        std::vector<std::uint64_t> changes;  ///< of the image's hash, by version
    };

    class Mixer {
    public:
        Mixer(const Window& window, std::uint64_t unit_bytes) : bytes_(unit_bytes), durable_(*window.durable) {
            for (const Piece& piece : *window.pieces) {
                if (is_shared(piece.offset)) {
                    shared.push_back(piece);
                    continue;
                }
                const std::uint64_t last = (piece.offset + piece.bytes - 1) / bytes_;
                for (std::uint64_t unit = piece.offset / bytes_; unit <= last; ++unit) add(unit, piece);
            }
            std::erase_if(steps, [&](const Step& step) { return units[step.unit].versions.size() == 1; });
        }

        struct Step {
            std::size_t unit;
            std::size_t version;
        };
        std::vector<Unit> units;
        std::vector<Step> steps;    ///< in order of time: this unit came to be this version
        std::vector<Piece> shared;  ///< stores to memory that means nothing after a power cut

        const std::byte* bytes_of(const Unit& unit, std::size_t version) const {
            return arena_.data() + unit.versions[version];
        }

    private:
        void add(std::uint64_t unit, const Piece& piece) {
            const auto [at, is_new] = numbers_.try_emplace(unit, units.size());
            const std::uint64_t begin = unit * bytes_;
            if (is_new) {
                units.push_back({begin, {room()}, {0}});
                std::byte* first = arena_.data() + units.back().versions[0];
                std::memset(first, 0, bytes_);
                if (begin < durable_.bytes.size()) std::memcpy(first, durable_.bytes.data() + begin, bytes_);
                current_.emplace_back(first, first + bytes_);
            }
            Unit& target = units[at->second];
            std::vector<std::byte>& now = current_[at->second];
            const std::uint64_t from = std::max(begin, piece.offset);
            const std::uint64_t to = std::min(begin + bytes_, piece.offset + piece.bytes);
            std::byte value[8];
            std::memcpy(value, &piece.value, 8);
            if (std::memcmp(now.data() + (from - begin), value + (from - piece.offset), to - from) == 0) return;
            std::memcpy(now.data() + (from - begin), value + (from - piece.offset), to - from);
            std::uint64_t change = 0;
            const std::byte* old = arena_.data() + target.versions[0];
            for (std::size_t i = 0; i < bytes_; i += 8)
                change ^= word_hash(begin + i, now.data() + i) ^ word_hash(begin + i, old + i);
            std::size_t version = 0;
            while (version < target.changes.size() && target.changes[version] != change) ++version;
            if (version == target.changes.size()) {
                const std::size_t place = room();
                std::memcpy(arena_.data() + place, now.data(), bytes_);
                target.versions.push_back(place);
                target.changes.push_back(change);
            }
            steps.push_back({at->second, version});
        }
        std::size_t room() {
            const std::size_t at = arena_.size();
            arena_.resize(at + static_cast<std::size_t>(bytes_));
            return at;
        }

        std::size_t bytes_;
        const Content& durable_;
        std::unordered_map<std::uint64_t, std::size_t> numbers_;
        std::vector<std::vector<std::byte>> current_;
        std::vector<std::byte> arena_;
    };

    void mix_units(const std::string& name, const Window& window, std::size_t unit_number, std::size_t images) {
        const Mixer mixer(window, unit_sizes[unit_number]);
        const std::vector<Unit>& units = mixer.units;
        const std::vector<std::uint64_t> lengths = possible_lengths(window);
        if (units.empty() && lengths.size() == 1 && window.pieces->empty() &&
            window.end != window.timeline->events.size())
            return;
        std::mt19937_64 random(mix(window.end, unit_number + 17 * window.timeline->events.size()));
        std::vector<std::size_t> picks(units.size(), 0);
        std::size_t made = 0;
        const auto emit = [&](std::size_t length) {
            look_at(name, window, unit_number, mixer, picks, lengths[length % lengths.size()], made++);
        };
        std::size_t product = lengths.size();
        for (const Unit& unit : units) product = product > images ? product : product * unit.versions.size();
        if (product <= images) {
            ++figures.whole_windows;
            for (std::size_t number = 0; number < product; ++number) {
                std::size_t rest = number / lengths.size();
                for (std::size_t u = 0; u < units.size(); ++u) {
                    picks[u] = rest % units[u].versions.size();
                    rest /= units[u].versions.size();
                }
                emit(number);
            }
            return;
        }
        ++figures.sampled_windows;
        const auto all = [&](bool newest) {
            for (std::size_t u = 0; u < units.size(); ++u) picks[u] = newest ? units[u].versions.size() - 1 : 0;
        };
        for (const bool newest : {false, true})
            for (std::size_t length = 0; length < lengths.size(); ++length) {
                all(newest);
                emit(length);
            }
        // What came first is on the device, and the other way round.
        const std::size_t stride = 1 + mixer.steps.size() / (2 * images);
        std::size_t steps = 0;
        all(false);
        for (const typename Mixer::Step& step : mixer.steps) {
            picks[step.unit] = step.version;
            if (steps++ % stride == 0) emit(made);
        }
        all(true);
        std::vector<bool> is_old(units.size());
        for (const typename Mixer::Step& step : mixer.steps) {
            if (is_old[step.unit]) continue;
            is_old[step.unit] = true;
            picks[step.unit] = 0;
            if (steps++ % stride == 0) emit(made);
        }
        const std::size_t from = units.empty() ? 0 : static_cast<std::size_t>(random()) % units.size();
        for (const bool newest : {false, true})
            for (std::size_t i = 0; i < units.size(); ++i)
                for (std::size_t u = (from + i) % units.size(), version = 0; version < units[u].versions.size();
                     ++version) {
                    all(newest);
                    if (picks[u] == version) continue;
                    picks[u] = version;
                    emit(made);
                    if (made < images) pairs(units, picks, u, images - made, random, [&] { emit(made); });
                    if (made > 4 * images) return;
                }
        while (made < images) {
            const unsigned odds = static_cast<unsigned>(random() % 3);
            for (std::size_t u = 0; u < units.size(); ++u) {
                const std::size_t versions = units[u].versions.size();
                const std::uint64_t dice = random();
                picks[u] = odds == 0 || dice % 4 == 0 ? static_cast<std::size_t>(dice >> 8) % versions
                           : odds == 1                ? 0
                                                      : versions - 1;
            }
            emit(static_cast<std::size_t>(random()));
        }
    }

    /// A second deviation beside that of unit `first`: some of them, or all if there is room.
    template <class Emit>
    static void pairs(const std::vector<Unit>& units, std::vector<std::size_t>& picks, std::size_t first,
                      std::size_t room, std::mt19937_64& random, const Emit& emit) {
        const std::size_t left = units.size() - first - 1;
        if (left == 0) return;
        const std::size_t wanted = std::min<std::size_t>(left, 1 + room / (4 * units.size()));
        for (std::size_t i = 0; i < wanted; ++i) {
            const std::size_t second = first + 1 + (wanted == left ? i : static_cast<std::size_t>(random()) % left);
            const std::size_t kept = picks[second];
            picks[second] = static_cast<std::size_t>(random()) % units[second].versions.size();
            if (picks[second] != kept) emit();
            picks[second] = kept;
        }
    }

    /// The present length first, then the durable one, and what lies between.
    static std::vector<std::uint64_t> possible_lengths(const Window& window) {
        std::vector<std::uint64_t> lengths{window.sizes->back()};
        std::uint64_t least = lengths[0];
        std::uint64_t most = lengths[0];
        const auto add = [&](std::uint64_t length) {
            if (std::find(lengths.begin(), lengths.end(), length) == lengths.end()) lengths.push_back(length);
        };
        for (const std::uint64_t size : *window.sizes) {
            add(size);
            least = std::min(least, size);
            most = std::max(most, size);
        }
        if (least == most) return lengths;
        const std::uint64_t page = (least / page_bytes + 1) * page_bytes;
        for (const std::uint64_t length : {least + 8, least + 512, page, page + 512, (least + most) / 2, most - 1})
            if (length > least && length < most) add(length);
        return lengths;
    }

    static bool is_shared(std::uint64_t offset) { return layout::is_shared(offset); }
    static std::uint64_t word_hash(std::uint64_t offset, const std::byte* at) {
        std::uint64_t word;
        std::memcpy(&word, at, 8);
        return word == 0 ? 0 : mix(offset, word);
    }
    static std::uint64_t hash_of(const Content& content) {
        std::uint64_t hash = 0;
        for (std::uint64_t at = 0; at + 8 <= content.bytes.size(); at += 8)
            if (!is_shared(at)) hash ^= word_hash(at, content.bytes.data() + at);
        return hash;
    }
    /// Returns what changes in the hash.
    static std::uint64_t put(Content& content, const Piece& piece) {
        const std::uint64_t first = piece.offset / 8 * 8;
        const std::uint64_t last = (piece.offset + piece.bytes - 1) / 8 * 8;
        content.reach(last + 8);
        std::uint64_t change = 0;
        for (int after = 0; after < 2; ++after) {
            if (!is_shared(first))
                for (std::uint64_t at = first; at <= last; at += 8) change ^= word_hash(at, content.bytes.data() + at);
            if (after == 0) content.put(piece.offset, &piece.value, piece.bytes);
        }
        return change;
    }

    void look_at(const std::string& window_name, const Window& window, std::size_t unit_number, const Mixer& mixer,
                 const std::vector<std::size_t>& picks, std::uint64_t length, std::size_t image) {
        MemoryFile& file = disk().store_file();
        const Timeline& timeline = *window.timeline;
        std::uint64_t hash = window.durable_hash ^ mix(length, 1);
        for (std::size_t u = 0; u < picks.size(); ++u) hash ^= mixer.units[u].changes[picks[u]];
        const std::uint64_t chance = mix(hash, unit_number);
        const Moment& moment = window.moment;
        for (std::size_t i = moment.synced; i <= moment.started; ++i)
            for (const std::uint16_t value : timeline.history.states[i]) hash = mix(hash, value);
        if (only_.empty() && !seen_.add(hash)) {
            ++figures.copies;
            return;
        }
        for (std::size_t u = 0; u < picks.size(); ++u)
            if (picks[u] != 0)
                file.put(mixer.units[u].offset, mixer.bytes_of(mixer.units[u], picks[u]), unit_sizes[unit_number]);
        // The shared area means nothing now; so anything may be in it.
        if (chance % 8 == 0) {
            std::uint64_t bits = mix(chance, 3);
            for (const Piece& piece : mixer.shared) {
                bits = mix(bits, piece.offset);
                if (bits % 2 == 0) file.put(piece.offset, &piece.value, piece.bytes);
            }
        }
        // What lay behind the end is not there; what was beyond the durable length is NUL where it was not written.
        file.size = std::max<std::uint64_t>({length, window.durable->bytes.size(), file.size});
        file.resize(length);
        file.exists = true;
        const auto name = [&] { return window_name + "." + std::to_string(image); };
        if (trace_ && !only_.empty() && name() == only_) describe(mixer, picks, length);
        Case one{&timeline.history, moment.synced, moment.started, timeline.boot + 1000, chance, true};
        std::shared_ptr<Content> device;
        if (would_nest(name, one, window.depth)) device = std::make_shared<Content>(file.content());
        const Verdict verdict = examine(name, one, window.depth);
        file.restore(*window.durable);
        if (verdict.looked) ++figures.power[unit_number];
        if (verdict.looked && window.depth > 1) ++figures.nested;
        if (!verdict.nest || device == nullptr) return;
        Timeline again;
        again.base = device;
        again.history = timeline.history;
        again.history.states = {timeline.history.states[verdict.state]};
        again.boot = one.boot;
        file.load(*device);
        nest(name(), again, chance, window.depth);
        file.load(*window.durable);
    }

    /// For who looks for the reason of a failure: KVS_CRASH and KVS_CRASH_TRACE together.
    static void describe(const Mixer& mixer, const std::vector<std::size_t>& picks, std::uint64_t length) {
        std::fprintf(stderr, "length %llu\n", number(length));
        for (std::size_t u = 0; u < picks.size(); ++u)
            std::fprintf(stderr, "unit at %llu: version %zu of %zu\n", number(mixer.units[u].offset), picks[u],
                         mixer.units[u].versions.size());
    }

    // ---- one image -------------------------------------------------------------------------------------------------

    struct Case {
        const History* history;
        std::size_t lowest;  ///< the states that are allowed
        std::size_t highest;
        std::uint64_t boot;
        std::uint64_t chance;  ///< decides what is looked at besides, the same in a replay
        bool power;
    };
    struct Verdict {
        bool looked = false;
        bool nest = false;
        std::size_t state = 0;
    };

    template <class Name>
    bool would_nest(const Name& name, const Case& one, unsigned depth) const {
        if (depth >= effort.depth) return false;
        if (!only_.empty()) return only_.rfind(name() + "@", 0) == 0 || only_.find('@') == std::string::npos;
        return (one.chance >> 32) % effort.nest_one_in == 0;
    }

    template <class Name>
    Verdict examine(const Name& name, const Case& one, unsigned depth) {
        Verdict verdict;
        if (!only_.empty()) {
            const std::string id = name();
            const bool inside = id.rfind(only_, 0) == 0;       // the wanted one, or a crash of it
            const bool above = only_.rfind(id + "@", 0) == 0;  // on the way to it
            if (!inside && !above) return verdict;
        }
        if (trace_) std::fprintf(stderr, "%s\n", name().c_str());
        verdict.looked = true;
        disk().events = nullptr;
        disk().number = one.chance;
        disk().boot = one.boot;
        disk().locks.clear();
        const bool goes_on = effort.survivor && !one.power;  // a power cut leaves nobody
        const std::string problem = goes_on ? problem_of_survivor(one, verdict.state) : problem_of(one, verdict.state);
        if (!problem.empty()) {
            fail(name(), problem);
            return verdict;
        }
        verdict.nest = would_nest(name, one, depth);
        return verdict;
    }

    /// Opens the image and says what is wrong with it; nothing if all is well.
    std::string problem_of(const Case& one, std::size_t& state) {
        const bool everything = !only_.empty();
        try {
            std::optional<State> seen_read_only;
            const bool looked_read_only = everything || one.chance % 8 == 1;
            if (looked_read_only) {
                std::string problem = look_read_only(seen_read_only);
                if (!problem.empty()) return problem;
            }
            State found{};
            {
                kvs::Options how = options();
                how.weights = weights_;
                Store store("store", how);
                if (is_damage(store.recovery()))
                    return "damage is reported where none is: " + text_of(store.recovery());
                found = read(store, *one.history);
                if (!find_state(one, found, state))
                    return "the store holds " + text_of(found) + ", allowed is " + text_of_range(one) + "; found " +
                           kvs::to_string(store.recovery().outcome);
                if (looked_read_only && !seen_read_only && store.recovery().outcome != kvs::Recovery::Outcome::created)
                    return "opened read-only it was no store, and now it holds " + text_of(found);
                if (seen_read_only && *seen_read_only != found)
                    return "opened read-only it held " + text_of(*seen_read_only) + ", and now " + text_of(found);
                if (everything || one.chance % 4 == 2) {
                    std::string problem = look_closely(store, found);
                    if (!problem.empty()) return problem;
                } else if (store.size() != count_of(found)) {
                    return "size() is " + std::to_string(store.size()) + " with " + text_of(found);
                }
                if (everything || one.chance % 16 == 3) go_on(store, found, one.chance);
            }
            if (everything || one.chance % 16 == 3) {
                History history = *one.history;
                for (auto& [number, value] : continued_) history.values.insert_or_assign(number, value);
                Store store("store", options());
                const State now = read(store, history);
                if (now != found) return "after going on it should hold " + text_of(found) + ", not " + text_of(now);
                std::string problem = look_closely(store, found);
                if (!problem.empty()) return problem + " (after going on)";
                if (store.recovery().outcome != kvs::Recovery::Outcome::clean) return "after a close it is not clean";
            }
            check_seam();
        } catch (const std::exception& error) {
            return std::string("an exception: ") + error.what();
        }
        return {};
    }

    static bool is_superblock(std::uint64_t offset) {
        for (unsigned page = 0; page < layout::superblock_copies * layout::superblock_twins; ++page)
            if (offset == layout::superblock_page(page)) return true;
        return false;
    }
    /// Of superblocks that the test damaged nothing is said.
    bool is_damage(kvs::Recovery recovery) const {
        if (effort.damaged_byte != 0) {
            recovery.salvaged = false;
            recovery.damaged_superblocks = 0;
        }
        return recovery.damaged();
    }

    // ---- survivors -------------------------------------------------------------------------------------------------

    static constexpr unsigned dead_byte = 1;  ///< owner byte of the first handle that opens a file
    static constexpr unsigned survivors_byte = 2;
    static constexpr int survivor = -1;  ///< in place of a descriptor

    static void hold(std::uint64_t byte, LabPlatform::Lock mode) {
        disk().locks.push_back({&disk().store_file(), byte, survivor, mode});
    }
    /// Somebody has the file open.
    static void hold_for_survivor() {
        hold(kvs::detail::layout::presence_lock, LabPlatform::Lock::shared);
        hold(layout::owner_locks + survivors_byte, LabPlatform::Lock::exclusive);
    }

    /// One that joined before the death, with what it knew then, or one that joins now and is given the dead one's
    /// byte.
    void emplace_survivor(std::optional<Store>& store, bool joins_now) {
        MemoryFile& file = disk().store_file();
        disk().locks.clear();
        hold(kvs::detail::layout::presence_lock, LabPlatform::Lock::shared);
        if (joins_now) {
            hold(layout::owner_locks + survivors_byte, LabPlatform::Lock::exclusive);
            store.emplace("store", options());
        } else {
            hold(layout::owner_locks + dead_byte, LabPlatform::Lock::exclusive);
            file.load(*start_);
            store.emplace("store", options());
            for (const Key& key : keys_) static_cast<void>(store->value(key));
            file.load(*now_);
        }
        std::erase_if(disk().locks, [](const auto& lock) { return lock.holder == survivor; });
    }

    /// What the survivor finds, whether it can go on, and whether it closes the file cleanly as the last one.
    std::string problem_of_survivor(const Case& one, std::size_t& state) {
        const bool everything = !only_.empty();
        try {
            const unsigned variants = everything ? 2 : 1;
            for (unsigned variant = 0; variant < variants; ++variant) {
                if (variant != 0) disk().store_file().load(*now_);  // the survivor before it changed the file
                State found{};
                {
                    std::optional<Store> store;
                    emplace_survivor(store, everything ? variant == 1 : one.chance % 2 == 1);
                    if (one.chance % 4 < 2) store->sync();  // else the first to notice the death is a read
                    found = read(*store, *one.history);
                    if (!find_state(one, found, state))
                        return "the survivor finds " + text_of(found) + ", allowed is " + text_of_range(one);
                    if (everything || one.chance % 4 == 2) {
                        std::string problem = look_closely(*store, found);
                        if (!problem.empty()) return problem + " (the survivor)";
                    }
                    go_on(*store, found, one.chance);
                    if (store->size() != count_of(found)) return "size() is " + std::to_string(store->size());
                }
                History history = *one.history;
                for (auto& [number, value] : continued_) history.values.insert_or_assign(number, value);
                Store store("store", options());
                const State now = read(store, history);
                if (now != found) return "the survivor left " + text_of(found) + ", the next one finds " + text_of(now);
                std::string problem = look_closely(store, found);
                if (!problem.empty()) return problem + " (after the survivor)";
                if (store.recovery().outcome != kvs::Recovery::Outcome::clean) return "the survivor left no clean file";
            }
            check_seam();
        } catch (const std::exception& error) {
            return std::string("an exception: ") + error.what();
        }
        return {};
    }

    std::string look_read_only(std::optional<State>& seen) {
        MemoryFile& file = disk().store_file();
        const std::uint64_t before = file.changes;
        std::error_code error;
        {
            const Store store("store", options(kvs::Mode::read_only), error);
            if (error == kvs::errc::not_a_store || error == kvs::errc::not_found) return {};  // never created
            if (error) return "opened read-only: " + error.message();
            if (is_damage(store.recovery())) return "damage is reported read-only: " + text_of(store.recovery());
            State found{};
            for (std::size_t i = 0; i < keys_.size(); ++i) {
                const std::optional<kvs::Value> value = store.value(keys_[i]);
                found[i] = value ? number_of(*value) : absent;
            }
            if (store.size() != count_of(found)) return "read-only, size() is " + std::to_string(store.size());
            seen = found;
        }
        if (file.changes != before) return "opened read-only, the file was changed";
        return {};
    }

    State read(Store& store, const History& history) const {
        State state{};
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            std::error_code error;
            const std::optional<kvs::Value> value = store.value(keys_[i], error);
            if (error) {
                state[i] = not_written;
            } else if (value) {
                const auto at = history.values.find(number_of(*value));
                state[i] = at != history.values.end() && at->second == *value ? at->first : not_written;
            }
        }
        return state;
    }
    static bool find_state(const Case& one, const State& found, std::size_t& state) {
        for (std::size_t i = one.highest + 1; i-- > one.lowest;) {
            if (one.history->states[i] != found) continue;
            state = i;
            return true;
        }
        return false;
    }
    static std::size_t count_of(const State& state) {
        std::size_t count = 0;
        for (const std::uint16_t value : state) count += value != absent ? 1 : 0;
        return count;
    }

    std::string look_closely(Store& store, const State& found) const {
        if (store.size() != count_of(found))
            return "size() is " + std::to_string(store.size()) + " with " + text_of(found);
        State walked{};
        for (const auto& entry : store) {
            std::size_t key = 0;
            while (key < keys_.size() && keys_[key].view() != entry.key()) ++key;
            if (key == keys_.size()) return "iteration yields a key that nobody set: " + std::string(entry.key());
            if (walked[key] != absent) return "iteration yields a key twice: " + std::string(entry.key());
            walked[key] = number_of(entry.value());
        }
        if (walked != found) return "iteration yields " + text_of(walked) + " with " + text_of(found);
        for (const kvs::Problem& problem : store.verify().problems)
            if (effort.damaged_byte == 0 || !is_superblock(problem.offset))
                return "verify: " + problem.text + " at " + std::to_string(problem.offset);
        return {};
    }

    /// A few more operations, as if nothing had happened.
    void go_on(Store& store, State& state, std::uint64_t chance) {
        continued_.clear();
        std::uint16_t number = 5000;
        for (std::size_t step = 0; step < keys_.size() + 2; ++step) {
            chance = mix(chance, step);
            const std::size_t key = step < keys_.size() ? step : static_cast<std::size_t>(chance >> 8) % keys_.size();
            if (chance % 4 == 0) {
                store.erase(keys_[key]);
                state[key] = absent;
            } else {
                const kvs::Value value = make_value(++number, static_cast<unsigned>(chance >> 16) % 3);
                store.set(keys_[key], value);
                continued_.insert_or_assign(number, value);
                state[key] = number;
            }
            if ((chance >> 24) % 3 == 0) store.sync();
        }
    }

    // ---- telling ---------------------------------------------------------------------------------------------------

    std::string text_of(const State& state) const {
        std::string text = "{";
        for (std::size_t i = 0; i < keys_.size(); ++i)
            text += (i != 0 ? " " : "") + (state[i] == absent        ? std::string("-")
                                           : state[i] == not_written ? std::string("?")
                                                                     : std::to_string(state[i]));
        return text + "}";
    }
    std::string text_of_range(const Case& one) const {
        std::string text;
        for (std::size_t i = one.lowest; i <= one.highest; ++i) text += text_of(one.history->states[i]);
        return text;
    }
    static std::string text_of(const kvs::Recovery& r) {
        return std::string(kvs::to_string(r.outcome)) + ", chains " + std::to_string(r.damaged_chains) + ", records " +
               std::to_string(r.damaged_records) + ", lost records " + std::to_string(r.lost_records) +
               ", lost bytes " + std::to_string(r.lost_bytes) + ", superblock pages " +
               std::to_string(r.damaged_superblocks) + (r.header_damaged ? ", header" : "") +
               (r.salvaged ? ", salvaged" : "");
    }
    void check_seam() const {
        if (!disk().violations.empty()) throw std::runtime_error(disk().violations.front());
    }
    void fail(const std::string& id, const std::string& problem) {
        failures.push_back(id + ": " + problem);
        std::printf("FAILED %s\n  %s\n  replay with KVS_CRASH='%s'\n", id.c_str(), problem.c_str(), id.c_str());
        std::fflush(stdout);
        disk().violations.clear();
        if (failures.size() >= 5) throw Abort("five crash states failed; the rest is left out");
    }

    std::string name_;
    std::vector<Key> keys_;
    std::string only_;
    bool trace_ = false;
    kvs::Weights weights_{};
    std::size_t first_op_ = 0;
    std::shared_ptr<const Content> start_;  ///< of a survivor: the file when it joined
    const Content* now_ = nullptr;          ///< the file at the death
    Seen seen_;
    std::unordered_map<std::uint16_t, kvs::Value> continued_;
};

// ---- workloads ------------------------------------------------------------------------------------------------------

/// Calls `use` with every sequence of 1 to `longest` operations of the alphabet.
inline void each_sequence(const Ops& alphabet, std::size_t longest, const std::function<void(const Ops&)>& use) {
    std::vector<std::size_t> at;
    for (std::size_t length = 1; length <= longest; ++length) {
        at.assign(length, 0);
        for (;;) {
            Ops ops;
            for (const std::size_t i : at) ops.push_back(alphabet[i]);
            use(ops);
            std::size_t place = length;
            while (place != 0 && ++at[place - 1] == alphabet.size()) at[--place] = 0;
            if (place == 0) break;
        }
    }
}

/// Keys that share a bucket in the groups of every value length. The first three are of a bucket whose index slot
/// straddles two words, two sectors and two pages; the others of the neighbour, whose slot shares a word with it.
template <std::size_t KeyLen>
std::vector<std::string> chosen_keys(std::size_t straddling, std::size_t beside) {
    constexpr std::uint32_t bucket = 1021;  // index slots are at 10 + 4i
    constexpr std::uint32_t groups = 6;     // divided by all that a length may have: one, two or three
    std::vector<std::string> first;
    std::vector<std::string> second;
    for (std::uint32_t n = 0; first.size() < straddling || second.size() < beside; ++n) {
        std::string key;
        for (std::uint32_t rest = n; key.empty() || rest != 0; rest /= 90) key += static_cast<char>('!' + rest % 90);
        if (key.size() > KeyLen) throw std::logic_error("not enough keys of one bucket");
        const std::uint32_t hash = kvs::Key<KeyLen>(std::string_view(key)).hash();
        // The bucket is odd, its neighbour even; both of the same group where a length has three.
        if (hash % groups != (hash % 2 != 0 ? 1 : 4)) continue;
        if ((hash & 0xfff) == bucket && first.size() < straddling) first.push_back(key);
        if ((hash & 0xfff) == bucket + 1 && second.size() < beside) second.push_back(key);
    }
    first.insert(first.end(), second.begin(), second.end());
    return first;
}

}  // namespace kvs_test::lab
