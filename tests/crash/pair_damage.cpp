// [damage] Bits that rot. A store with every kind of record (values in both slots, deleted, taken over, void, several
// lengths) is closed, killed, killed within a journal, or cut off from power; then
//
//   every single bit of the bytes in use is flipped in turn,
//   every 512-byte sector and 4 KiB page in use is zeroed, filled at random, or replaced by an earlier sync's.
//
// Never a value that the key did not have, never a crash. After a flipped bit no key is silently absent and none goes
// silently back to an older value: `get` says `corrupt`, or `on_damage` is called, or `recovery()` tells; and what
// nobody has met, `verify()` finds. KVS_DAMAGE='<id>' looks at the one that a failure names.
#include <kvs/kvs.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "lab/lab.hpp"

namespace {

using namespace kvs_test::lab;
template <class Checksum>
using StoreWith = kvs::Store<8, LabPlatform, kvs::Unshared, Checksum>;

kvs::Options by_hand() {
    kvs::Options options;
    options.sync = kvs::sync_manual;
    return options;
}

/// A file, and what is in it.
struct Scene {
    const char* name;
    Content content;
    std::uint64_t boot;
    bool at_rest;  ///< what the shared area says does not matter
    std::vector<std::optional<kvs::Value>> expected;
    kvs::Recovery::Outcome outcome;
    bool one_flush =
        false;  ///< [one-flush] the last value can look like one that the power cut tore, and is counted so
};

struct Figures {
    std::uint64_t images = 0;
    std::uint64_t refused = 0;
    std::uint64_t reported = 0;
    std::uint64_t older = 0;
    std::uint64_t corrupt = 0;
};

template <class Checksum>
class Damages {
    using Store = StoreWith<Checksum>;

public:
    Damages() {
        for (const std::string& key : chosen_keys<8>(6, 3)) keys_.emplace_back(key);
        had_.resize(keys_.size());
        if (const char* text = std::getenv("KVS_DAMAGE")) only_ = text;
        build();
    }

    const std::vector<Scene>& scenes() const { return scenes_; }
    const Content& earlier() const { return earlier_; }
    std::uint64_t live_end() const { return live_end_; }
    Figures figures;
    std::vector<std::string> failures;

    /// The bytes that say something, as offset and count.
    std::vector<std::pair<std::uint64_t, std::uint64_t>> used(const Scene& scene) const {
        std::vector<std::pair<std::uint64_t, std::uint64_t>> ranges{{0, kvs::detail::layout::header_bytes}};
        for (std::uint64_t at = kvs::detail::layout::index_offset; at < kvs::detail::layout::records_offset; at += 4) {
            const std::byte* slot = scene.content.bytes.data() + at;
            if ((slot[0] | slot[1] | slot[2] | slot[3]) != std::byte{}) ranges.emplace_back(at, 4);
        }
        for (unsigned page = 0; page < 4; ++page)
            ranges.emplace_back(layout::superblock_page(page), 8 * layout::superblock::words);
        ranges.emplace_back(layout::shared_offset, layout::shared::journal_place + 8 - layout::shared_offset);
        ranges.emplace_back(layout::shared::small_journal, 256);
        ranges.emplace_back(layout::records_offset, live_end_ - layout::records_offset);
        return ranges;
    }

    bool is_wanted(const std::string& id) const { return only_.empty() || only_ == id; }
    std::string only_;

    /// Opens what is in the file now. `strictly`: a single bit was flipped; `covered`: somebody has to find it;
    /// `no_absence`: also that a key is absent which was there.
    void look(const Scene& scene, const std::string& id, bool strictly, bool covered, bool no_absence) {
        ++figures.images;
        disk().boot = scene.boot;
        disk().number = 1;
        std::uint64_t told = 0;
        kvs::Options options = by_hand();
        options.on_damage = [&told](const kvs::Damage&) { ++told; };
        std::error_code error;
        try {
            Store store("store", options, error);
            if (error) {
                ++figures.refused;
                if (strictly) fail(id, "does not open: " + error.message());
                return;
            }
            bool known = store.recovery().damaged() || store.recovery().mended_superblocks != 0 ||
                         (scene.one_flush && store.recovery().rolled_back != 0);
            const bool known_at_open = known;
            bool is_missing = false;
            for (std::size_t i = 0; i < keys_.size(); ++i) {
                told = 0;
                const std::optional<kvs::Value> value = store.value(keys_[i], error);
                if (error) {
                    ++figures.corrupt;
                    known = true;
                    if (error != kvs::errc::corrupt) fail(id, "get says " + error.message());
                    continue;
                }
                known = known || told != 0;
                if (value == scene.expected[i]) continue;
                ++figures.older;
                if (value && !was_value(i, *value)) fail(id, "a value that the key never had");
                is_missing = is_missing || !value;
                if (strictly && told == 0 && !known_at_open)
                    fail(id, value ? "an older value, and nobody was told" : "absent, and nobody was told");
            }
            known = look_at_all(store, id) || known;
            if (known) ++figures.reported;
            if (covered && !known) fail(id, "nobody found it");
            if (no_absence && is_missing && !known) fail(id, "a key is absent, and nobody found it");
            change(store, id);
        } catch (const std::exception& problem) {
            fail(id, std::string("an exception: ") + problem.what());
        }
        if (!disk().violations.empty()) {
            fail(id, disk().violations.front());
            disk().violations.clear();
        }
    }

    void fail(const std::string& id, const std::string& problem) {
        failures.push_back(id + ": " + problem);
        if (failures.size() <= 20)
            std::printf("FAILED %s\n  %s\n  replay with KVS_DAMAGE='%s'\n", id.c_str(), problem.c_str(), id.c_str());
        std::fflush(stdout);
        if (failures.size() >= 200) throw Abort("200 damages were not as promised; the rest is left out");
    }

    /// What a scene is without damage, so that a test of damage tests damage.
    void look_undamaged(const Scene& scene) {
        disk().boot = scene.boot;
        Store store("store", by_hand());
        if (store.recovery().outcome != scene.outcome) fail(scene.name, "opens as another kind of file");
        if (store.recovery().damaged() || !store.verify().ok()) fail(scene.name, "is damaged from the beginning");
        for (std::size_t i = 0; i < keys_.size(); ++i)
            if (store.value(keys_[i]) != scene.expected[i]) fail(scene.name, "does not hold what it should");
    }

private:
    /// Iteration and `verify`; true if they found anything.
    bool look_at_all(Store& store, const std::string& id) {
        bool found = false;
        constexpr std::size_t most_steps = 70000;  // each bucket can be damaged
        std::size_t steps = 0;
        std::error_code error;
        for (auto at = store.begin(error); at != store.end() && ++steps < most_steps; at.increment(error)) {
            if (error) {
                found = true;
                continue;
            }
            std::size_t key = 0;
            while (key < keys_.size() && keys_[key].view() != at->key()) ++key;
            if (key == keys_.size() || !was_value(key, at->value())) fail(id, "iteration yields what nobody set");
        }
        if (error) found = true;
        if (steps >= most_steps) fail(id, "iteration has no end");
        return !store.verify().ok() || found;
    }

    /// What the store takes, it has.
    void change(Store& store, const std::string& id) {
        std::error_code error;
        for (std::size_t i = 0; i < keys_.size(); i += 2) {
            const kvs::Value value = make_value(static_cast<std::uint16_t>(9000 + i), i % 3 == 0 ? 0 : 1);
            store.set(keys_[i], value, error);
            if (error) continue;
            const std::optional<kvs::Value> now = store.value(keys_[i], error);
            if (error || now != value) fail(id, "a value that was taken is not there");
        }
        store.sync(error);
    }

    bool was_value(std::size_t key, const kvs::Value& value) const {
        for (const kvs::Value& old : had_[key])
            if (old == value) return true;
        return false;
    }

    void set(Store& store, std::size_t key, unsigned form) {
        had_[key].push_back(make_value(next_++, form));
        store.set(keys_[key], had_[key].back());
        now_[key] = had_[key].back();
    }
    void erase(Store& store, std::size_t key) {
        store.erase(keys_[key]);
        now_[key].reset();
    }

    void build() {
        Disk& d = disk();
        d = Disk{};
        MemoryFile& file = d.store_file();
        now_.resize(keys_.size());
        std::vector<std::optional<kvs::Value>> synced;
        std::vector<Event> events;
        Content before;
        {
            Store store("store", by_hand());
            set(store, 5, 0);
            set(store, 4, 1);
            store.clear();  // void records, one of which is taken over
            now_.assign(keys_.size(), std::nullopt);
            store.sync();
            for (const unsigned form : {0u, 1u, 2u}) set(store, form, form);
            set(store, 3, 0);
            set(store, 6, 0);
            store.sync();
            set(store, 0, 0);  // both slots
            set(store, 1, 1);
            erase(store, 3);  // deleted
            store.sync();
            earlier_ = file.content();
            set(store, 5, 0);
            set(store, 2, 0);  // of another length
            set(store, 6, 0);
            store.sync();
            set(store, 0, 0);
            set(store, 7, 4);
            store.sync();
            synced = now_;
            live_end_ = 0;
            add_scene("closed", file, 1, true, now_, kvs::Recovery::Outcome::clean);
            set(store, 0, 0);
            set(store, 1, 2);
            erase(store, 6);
            add_scene("killed", file, 1, false, now_, kvs::Recovery::Outcome::killed);
            add_scene("unplugged", file, 5, true, synced, kvs::Recovery::Outcome::power_loss);
            before = file.content();
            d.events = &events;
            set(store, 8, 1);
            erase(store, 0);
            d.events = nullptr;
        }
        // In the midst of the last erase: its journal is valid, nothing of it is done.
        std::size_t valid = 0;
        for (std::size_t i = 0; i < events.size(); ++i)
            if (events[i].kind == Event::Kind::store && events[i].offset == layout::shared::journal_valid &&
                events[i].value == 1)
                valid = i;
        for (std::size_t i = 0; i <= valid; ++i) {
            if (events[i].kind == Event::Kind::store) before.put(events[i].offset, &events[i].value, events[i].bytes);
            if (events[i].kind == Event::Kind::resize) before.resize(events[i].value);
        }
        scenes_.push_back({"in its journal", before, 1, false, now_, kvs::Recovery::Outcome::killed});
        {
            kvs::Options each = by_hand();
            each.sync = kvs::sync_each;
            Store store("store", each);
            set(store, 1, 2);
            const std::uint64_t flushes = d.flushes;
            set(store, 1, 2);
            if (d.flushes != flushes + 1) throw std::logic_error("a write takes more than one flush");
            add_scene("unplugged behind one flush", file, 5, true, now_, kvs::Recovery::Outcome::power_loss);
            scenes_.back().one_flush = true;
        }
        for (Scene& scene : scenes_) {
            std::uint64_t end = 0;
            std::memcpy(&end, scene.content.bytes.data() + layout::shared::live_end, 8);
            live_end_ = std::max(live_end_, end);
        }
    }

    /// The file as it is; for a clean one, as it would be after a close.
    void add_scene(const char* name, MemoryFile& file, std::uint64_t boot, bool at_rest,
                   const std::vector<std::optional<kvs::Value>>& expected, kvs::Recovery::Outcome outcome) {
        Content content = file.content();
        if (outcome == kvs::Recovery::Outcome::clean) {
            // A second store is killed, opened and closed on the side, in the same file.
            const auto locks = disk().locks;
            disk().locks.clear();
            { Store other("store", by_hand()); }
            Content closed = file.content();
            disk().locks = locks;
            file.load(content);
            content = std::move(closed);
        }
        scenes_.push_back({name, std::move(content), boot, at_rest, expected, outcome});
    }

    std::vector<kvs::Key<8>> keys_;
    std::vector<std::vector<kvs::Value>> had_;
    std::vector<std::optional<kvs::Value>> now_;
    std::vector<Scene> scenes_;
    Content earlier_;
    std::uint64_t live_end_ = 0;
    std::uint16_t next_ = 1;
};

/// What is found where a sector, page or part of one is lost.
std::vector<std::byte> instead_of(const Content& now, const Content& earlier, std::uint64_t at, std::uint64_t unit,
                                  char how, std::uint64_t seed) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(unit, now.size - at)));
    std::mt19937_64 dice(seed);
    if (how == 'r')
        for (std::byte& byte : bytes) byte = static_cast<std::byte>(dice());
    if (how == 'e' && at < earlier.bytes.size())
        std::memcpy(bytes.data(), earlier.bytes.data() + at,
                    std::min<std::size_t>(bytes.size(), earlier.bytes.size() - static_cast<std::size_t>(at)));
    return bytes;
}

template <class Checksum>
void print(const char* what, const Damages<Checksum>& damages) {
    const Figures& f = damages.figures;
    std::printf(
        "%s: %llu images, of them %llu refused, %llu told of; %llu reads were corrupt, %llu not the newest value\n",
        what, static_cast<unsigned long long>(f.images), static_cast<unsigned long long>(f.refused),
        static_cast<unsigned long long>(f.reported), static_cast<unsigned long long>(f.corrupt),
        static_cast<unsigned long long>(f.older));
    std::fflush(stdout);
}

}  // namespace

#ifdef KVS_TEST_FEWER_TYPES
#define KVS_DAMAGED kvs::Xxh3
#else
#define KVS_DAMAGED kvs::Crc32c, kvs::Xxh3
#endif

TEMPLATE_TEST_CASE("every single bit of a store of pairs is flipped", "[pair_damage]", KVS_DAMAGED) {
    Damages<TestType> damages;
    MemoryFile& file = disk().store_file();
    try {
        for (const Scene& scene : damages.scenes()) {
            file.load(scene.content);
            damages.look_undamaged(scene);
            file.restore(scene.content);
            for (const auto& [offset, bytes] : damages.used(scene))
                for (std::uint64_t at = offset; at < offset + bytes; ++at)
                    for (unsigned bit = 0; bit < 8; ++bit) {
                        const std::string id =
                            std::string(scene.name) + "@" + std::to_string(at) + "." + std::to_string(bit);
                        if (!damages.is_wanted(id)) continue;
                        const std::byte flipped =
                            scene.content.bytes[static_cast<std::size_t>(at)] ^ std::byte(1u << bit);
                        file.put(at, &flipped, 1);
                        const bool is_shared = layout::is_shared(at);
                        // Bytes between records and behind the fields mean nothing.
                        const bool covered = !is_shared && at < layout::records_offset;
                        damages.look(scene, id, !is_shared || scene.at_rest, covered, false);
                        file.restore(scene.content);
                    }
        }
    } catch (const Abort&) {
        // The failures are kept.
    }
    print("flipped bits", damages);
    INFO((damages.failures.empty() ? std::string() : damages.failures.front()));
    CHECK(damages.failures.empty());
}

TEMPLATE_TEST_CASE("sectors and pages of a store of pairs are lost", "[pair_damage]", KVS_DAMAGED) {
    Damages<TestType> damages;
    MemoryFile& file = disk().store_file();
    std::mt19937_64 random(3);
    try {
        for (const Scene& scene : damages.scenes()) {
            file.load(scene.content);
            damages.look_undamaged(scene);
            file.restore(scene.content);
            // In the records small units too, so that many ends of one lie within a record. Not smaller: 8 zeros that
            // are a slot's header, no more and no less, are an idle slot.
            for (const std::uint64_t unit : {24u, 32u, 64u, 512u, 4096u})
                for (std::uint64_t at = unit < 512 ? layout::records_offset : 0; at < damages.live_end(); at += unit)
                    for (const char* how :
                         {"zeros", "earlier", "random 1", "random 2", "random 3", "random 4", "random 5", "random 6"}) {
                        const std::string id =
                            std::string(scene.name) + "/" + how + "@" + std::to_string(at) + "+" + std::to_string(unit);
                        const std::uint64_t seed = random();
                        if (!damages.is_wanted(id)) continue;
                        const std::vector<std::byte> bytes =
                            instead_of(scene.content, damages.earlier(), at, unit, *how, seed);
                        if (std::equal(bytes.begin(), bytes.end(),
                                       scene.content.bytes.begin() + static_cast<std::ptrdiff_t>(at)))
                            continue;
                        file.put(at, bytes.data(), bytes.size());
                        // What lies in the records or the index is missed; an earlier version is as good as this one.
                        const bool is_data = at >= layout::records_offset || at < layout::superblocks_offset;
                        damages.look(scene, id, false, false, is_data && *how != 'e');
                        file.restore(scene.content);
                    }
        }
    } catch (const Abort&) {
        // The failures are kept.
    }
    print("sectors and pages", damages);
    INFO((damages.failures.empty() ? std::string() : damages.failures.front()));
    CHECK(damages.failures.empty());
    if (damages.only_.empty()) CHECK(damages.figures.reported > 2000);
}
