// One run of the fuzz target for stores of pairs: the library builds a store, the file is photographed as a close, a
// kill, a power cut or a failed flush leaves it, forging steps change the photograph, and it is opened and worked with.
// Used by the fuzzer and by the replay of its corpus; throws `std::logic_error` when the library breaks a promise.
//
// An input is a recipe as in recipe.hpp. Its forging steps are of two kinds: those of `PairStep` below `flip` build the
// store, in their order; the others then forge bytes. Forged checksums are right, so a value that a forger wrote is one
// that its key had. What is checked:
//
//   always          every value returned is one that its key had at some time; what is refused is left as it was; what
//                   opened once opens again after its close, a kill and a power cut; a read-only handle changes
//                   nothing; a value that was set is read back; nothing is stored outside of the file
//   nothing forged  all answers are known, and `verify()` finds nothing
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

#include <kvs/kvs.hpp>

#include "../support/pair_walker.hpp"
#include "recipe.hpp"

// A namespace of its own, so that not_covered.txt can tell the library, instantiated with this, from the test.
namespace kvs_fuzz_platform {

/// The system without a device: flushes cost nothing and fail when the test says so, space is granted without being
/// taken, the machine starts anew when the test says so, and every store to a mapping has to lie in its file.
struct PairPlatform : kvs::detail::PosixPlatform {
    struct Mapping {
        File file;
        const std::byte* base;
        std::uint64_t bytes;  // of the file
    };
    static inline std::vector<Mapping> mappings;
    static inline bool stored_outside = false;
    static inline std::uint64_t boot = 1;
    static inline std::uint64_t numbers = 0;  // that were given out
    static inline int flush_error = 0;
    static constexpr std::uint64_t limit = std::uint64_t{1} << 32;
    static constexpr std::uint64_t most = 8 << 20;  // that is ever written to a file

    static void start() {
        mappings.clear();
        stored_outside = false;
        boot = 1;
        numbers = 0;
        flush_error = 0;
    }
    static int boot_id(std::uint64_t (&id)[2]) noexcept {
        id[0] = boot;
        id[1] = 1;
        return 0;
    }
    static std::uint64_t arbitrary_number() noexcept { return ++numbers * 0x9e3779b97f4a7c15u; }
    static int flush(File) noexcept { return flush_error; }
    static int flush_directory(const char*) noexcept { return 0; }
    static int allocate(File file, std::uint64_t, std::uint64_t to) noexcept {
        FileStatus now;
        if (const int e = status(file, now); e != 0) return e;
        if (to <= now.bytes) return 0;
        return to > limit ? ENOSPC : resize(file, to);
    }
    static int resize(File file, std::uint64_t bytes) noexcept {
        for (Mapping& mapping : mappings)
            if (mapping.file == file) mapping.bytes = bytes;
        return PosixPlatform::resize(file, bytes);
    }
    static int write(File file, const void* from, std::size_t bytes, std::uint64_t offset, std::size_t& done) noexcept {
        done = 0;
        if (offset + bytes > most) return ENOSPC;
        return PosixPlatform::write(file, from, bytes, offset, done);
    }
    static int map(File file, std::size_t bytes, Access access, std::byte*& base) noexcept {
        return note(PosixPlatform::map(file, bytes, access, base), file, base);
    }
    static int map_private(File file, std::size_t bytes, std::byte*& base) noexcept {
        return note(PosixPlatform::map_private(file, bytes, base), file, base);
    }
    static int unmap(std::byte* base, std::size_t bytes) noexcept {
        std::erase_if(mappings, [&](const Mapping& mapping) { return mapping.base == base; });
        return PosixPlatform::unmap(base, bytes);
    }
    static void on_store(const std::byte* at, std::size_t bytes) noexcept {
        for (const Mapping& mapping : mappings) {
            const auto from = static_cast<std::uint64_t>(at - mapping.base);
            if (at >= mapping.base && from < limit && from + bytes > mapping.bytes) stored_outside = true;
        }
    }

private:
    static int note(int error, File file, const std::byte* base) noexcept {
        FileStatus now;
        if (error != 0) return error;
        if (const int e = status(file, now); e != 0) return e;
        mappings.push_back({file, base, now.bytes});
        return 0;
    }
};

}  // namespace kvs_fuzz_platform

namespace kvs_fuzz {

using kvs_fuzz_platform::PairPlatform;

#define KVS_PAIR_CHECK(condition) ((condition) ? void() : ::kvs_fuzz::pair_broken(__FILE__, __LINE__, #condition))

[[noreturn]] inline void pair_broken(const char* file, int line, const char* condition) {
    throw std::logic_error(std::string(file) + ":" + std::to_string(line) + ": " + condition);
}

/// The file of a run, in memory where there is such a place, and a name for copies of it. One file for all runs: its
/// inode stays, and so do its pages.
class PairFiles {
public:
    PairFiles() : directory_(make_directory()), file_(::open(store().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)) {
        KVS_PAIR_CHECK(file_ >= 0);
    }
    PairFiles(const PairFiles&) = delete;
    PairFiles& operator=(const PairFiles&) = delete;
    ~PairFiles() {
        ::close(file_);
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

    std::string store() const { return (directory_ / "store").string(); }
    std::string copy() const { return (directory_ / "copy").string(); }

    void empty_store() const { KVS_PAIR_CHECK(::ftruncate(file_, 0) == 0); }
    void write_store(const Image& image) const {
        KVS_PAIR_CHECK(::pwrite(file_, image.bytes.data(), image.bytes.size(), 0) ==
                       static_cast<ssize_t>(image.bytes.size()));
        KVS_PAIR_CHECK(::ftruncate(file_, static_cast<off_t>(image.bytes.size())) == 0);
        KVS_PAIR_CHECK(::ftruncate(file_, static_cast<off_t>(image.size)) == 0);
    }
    /// False if the file is large.
    bool read_store(Image& image) const {
        struct stat status {};
        KVS_PAIR_CHECK(::fstat(file_, &status) == 0);
        image.size = static_cast<std::uint64_t>(status.st_size);
        if (image.size > PairPlatform::most) return false;
        image.bytes.resize(static_cast<std::size_t>(image.size));
        KVS_PAIR_CHECK(::pread(file_, image.bytes.data(), image.bytes.size(), 0) == status.st_size);
        return true;
    }
    /// Removes a copy and says whether nothing else was left behind.
    bool tidy_up() const {
        std::error_code ignored;
        std::filesystem::remove(copy(), ignored);
        std::size_t files = 0;
        for ([[maybe_unused]] const auto& file : std::filesystem::directory_iterator(directory_)) ++files;
        return files == 1;
    }

private:
    static std::filesystem::path make_directory() {
        const std::filesystem::path memory = "/dev/shm";
        const std::filesystem::path parent =
            std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
        std::filesystem::path directory = parent / ("kvs-fuzz-pairs-" + std::to_string(::getpid()));
        std::filesystem::remove_all(directory);
        std::filesystem::create_directory(directory);
        return directory;
    }

    std::filesystem::path directory_;
    int file_;
};

/// What the steps in front do.
enum class PairStep : std::uint8_t {
    set,  // the first of them build
    set_again,
    set_more,
    erase,
    sync,
    batch,
    clear,
    flip,          // a bit
    word,          // 8 bytes
    link,          // an index slot or a record's link
    checked_link,  // the same, with the check of the record it leads to made right
    header,        // of a slot, with a right check
    slot,          // whole, with a right checksum
    record,        // whole, behind the last one of a chain or anywhere
    superblock,    // a field, with a right checksum
    bad_page,      // of a superblock
    shared,        // a word of the shared area
    counters,      // left odd
    journal,       // valid, of some length
    image,         // one more in the journal
    size,          // of the file
    key,           // a record's key bytes
};
inline constexpr unsigned pair_step_count = 22;

/// Forges files of pairs, from FORMAT_PAIRS.md alone.
class PairForger {
public:
    // As in FORMAT_PAIRS.md; tests/unit/fuzz_pairs.cpp compares them with the library's.
    static constexpr std::uint64_t superblocks[] = {266240, 270336, 278528, 282624};  // copies 0, 1, 0, 1
    static constexpr std::uint64_t shared_area = 274432, counters = 275456, small_journal_room = 276480,
                                   journal_room = 286720, records_start = 380928;
    static constexpr unsigned live_end_word = 2, durable_epoch_word = 3, void_epoch_word = 4, records_word = 18,
                              keys_word = 19, journal_valid_word = 22, journal_words_word = 23, journal_place_word = 24,
                              shared_words = 25, failed_word = 12;
    static constexpr unsigned durable_epoch_field = 4;  // of a superblock

    PairForger(Image& image, std::size_t key_length, std::uint32_t weights, const std::vector<std::string>& keys)
        : image_(image), format_(key_length, weights), keys_(keys) {
        for (unsigned page = 0; page < 4; ++page) {
            const std::uint64_t at = page_at(page);
            if (image_.number(at + 24, 8) < generation_) continue;
            generation_ = image_.number(at + 24, 8);
            durable_epoch_ = image_.number(at + 32, 8);
            durable_end_ = image_.number(at + 40, 8);
        }
        for (std::uint32_t bucket = 0; bucket < 65536; ++bucket) {
            std::uint64_t link = 10 + 4 * std::uint64_t{bucket};
            if (image_.number(link, 4) == 0) continue;
            const unsigned length = format_.length_of_group[bucket >> 12];
            while (const std::uint64_t at = image_.number(link, 4)) {
                places_.push_back({at, length, bucket, link});
                link = link_of(places_.back());
            }
        }
        for (const Place& place : places_)
            for (unsigned which = 0; which < 2; ++which)
                if (image_.number(slot_of(place, which), 8) != 0) used_slots_.push_back(slot_of(place, which));
        void_epoch_ = word(void_epoch_word);
    }

    bool damaged() const { return damaged_; }      ///< anything was forged
    bool rewrites() const { return rewrites_; }    ///< a slot, a superblock or the shared area
    bool has_records() const { return records_; }  ///< records were forged: they may overlap, or share a key
    bool has_journal() const { return word(journal_valid_word) == 1; }
    bool has_future() const { return future_; }  ///< slots may have epochs that D has yet to reach
    /// A slot is empty that was not, or `clear` is undone: nothing tells this from a key that was never deleted.
    bool has_forgotten() const {
        return word(void_epoch_word) != void_epoch_ ||
               std::any_of(used_slots_.begin(), used_slots_.end(),
                           [&](std::uint64_t at) { return at + 8 > image_.bytes.size() || image_.number(at, 8) == 0; });
    }
    const std::map<std::string, std::vector<Datum>>& values() const { return values_; }

    void apply(const Step& step) {
        const auto what = static_cast<PairStep>(step.what % pair_step_count);
        if (what < PairStep::flip) return;
        damaged_ = true;
        switch (what) {
            case PairStep::word: forge_at(anywhere(step), 8, special(step.a >> 3, step.c)); break;
            case PairStep::link:
            case PairStep::checked_link: link(step, what == PairStep::checked_link); break;
            case PairStep::header: header(step); break;
            case PairStep::slot: slot(step); break;
            case PairStep::record: record(step); break;
            case PairStep::superblock: superblock(step); break;
            case PairStep::bad_page: forge_at(page_at(step.a) + step.b % 160, 1, step.c); break;
            case PairStep::shared: word(step.b % shared_words, special(step.a, step.c)); break;
            case PairStep::counters:
                for (unsigned i = step.a; i < 256; i += 1 + step.b % 64)
                    put(counters + 4 * i, 4, image_.number(counters + 4 * i, 4) | 0x01010101);
                break;
            case PairStep::journal: journal(step); break;
            case PairStep::image: journal_image(step); break;
            case PairStep::size: resize(step); break;
            case PairStep::key:
                if (const Place* place = some(step.a))
                    put_text(place->offset, padded_key(keys_[step.c % keys_.size()]));
                break;
            default: {
                const std::uint64_t at = anywhere(step);
                forge_at(at, 1, image_.number(at, 1) ^ (1u << (step.a >> 3 & 7)));
                break;
            }
        }
    }

private:
    struct Place {
        std::uint64_t offset;
        unsigned length;
        std::uint32_t bucket;
        std::uint64_t link;
    };
    static std::uint64_t page_at(unsigned page) { return superblocks[page % 4]; }
    std::uint64_t slot_bytes(unsigned length) const { return 16 + ((std::uint64_t{1} << length) + 7) / 8 * 8; }
    std::uint64_t slot_of(const Place& place, unsigned which) const {
        return place.offset + format_.key_length + 1 + which * slot_bytes(place.length);
    }
    std::uint64_t link_of(const Place& place) const { return slot_of(place, 2); }
    std::uint64_t end_of(const Place& place) const { return link_of(place) + 4; }
    const Place* some(std::size_t number) const {
        return places_.empty() ? nullptr : &places_[number % places_.size()];
    }
    void put(std::uint64_t at, unsigned width, std::uint64_t n) {
        if (at < image_.bytes.size()) image_.put_number(at, width, n);
    }
    void forge_at(std::uint64_t at, unsigned width, std::uint64_t n) {
        constexpr std::uint64_t epoch = shared_area + 8 * durable_epoch_word;
        future_ |= at < epoch + 8 && at + width > epoch;
        for (unsigned page = 0; page < 4; ++page)
            if (at + width > page_at(page) && at < page_at(page) + 4096) touch_page(page);
        put(at, width, n);
    }
    /// Without both pages of the newest superblock D is that of the one before.
    void touch_page(unsigned page) {
        touched_pages_ |= 1u << page;
        future_ |= (touched_pages_ & 5) == 5 || (touched_pages_ & 10) == 10;
    }
    void put_text(std::uint64_t at, const std::string& text) {
        if (at < image_.bytes.size()) image_.put(at, text);
    }
    static std::string big_endian(std::uint64_t n, unsigned width) {
        std::string s(width, '\0');
        for (unsigned i = 0; i < width; ++i) s[i] = static_cast<char>(n >> 8 * (width - 1 - i));
        return s;
    }
    std::string padded_key(std::string key) const {
        key.resize(format_.key_length, '\0');
        return key;
    }
    static std::string to_words(std::string s) {
        s.resize((s.size() + 7) / 8 * 8, '\0');
        return s;
    }
    /// A word of the shared area, in the machine's order.
    std::uint64_t word(unsigned number) const {
        std::uint64_t n = 0;
        if (image_.bytes.size() >= records_start) std::memcpy(&n, &image_.bytes[shared_area + 8 * number], 8);
        return n;
    }
    void word(unsigned number, std::uint64_t n) {
        rewrites_ = true;
        future_ |= number == durable_epoch_word;
        raw(shared_area + 8 * number, n);
    }
    void raw(std::uint64_t at, std::uint64_t n) {
        if (at <= image_.bytes.size() && image_.bytes.size() - at >= 8) std::memcpy(&image_.bytes[at], &n, 8);
    }

    /// A number that may matter.
    std::uint64_t special(unsigned which, std::uint32_t c) const {
        const std::uint64_t near = c % 17;
        const std::uint64_t numbers[] = {0,
                                         1,
                                         c,
                                         std::uint64_t{c} << 32 | c,
                                         ~std::uint64_t{0} - near,
                                         (std::uint64_t{1} << 63) - 8 + near,
                                         durable_epoch_ - 8 + near,
                                         durable_end_ - 8 + near,
                                         image_.size - 8 + near,
                                         records_start - 8 + near,
                                         file_limit - 8 + near,
                                         (std::uint64_t{1} << 40) - 10 + near,
                                         (std::uint64_t{1} << 30) - 8 + near,
                                         word(live_end_word) - 8 + near,
                                         std::uint64_t{c} << (c % 40),
                                         near};
        return numbers[which % 16];
    }
    std::uint64_t anywhere(const Step& step) const {
        const Place* place = some(step.b >> 4);
        const auto within = [&](std::uint64_t from, std::uint64_t bytes) { return from + (step.c + step.b) % bytes; };
        switch (step.a & 7) {
            case 0: return within(0, image_.bytes.size() + 1);
            case 1: return place != nullptr ? place->link + step.c % 4 : within(10, 262144);
            case 2: return within(page_at(step.b), 160);
            case 3: return within(shared_area, 8 * shared_words);
            case 4: return place != nullptr ? slot_of(*place, step.b & 1) + step.c % 32 : 0;
            case 5: return place != nullptr ? within(place->offset - 4, end_of(*place) - place->offset + 4) : 0;
            case 6: return within(records_start, image_.bytes.size() > records_start ? image_.bytes.size() : 1);
            default: return step.c % 16;
        }
    }

    void link(const Step& step, bool checked) {
        const Place* from = some(step.a);
        const Place* to = some(step.b);
        if (from == nullptr) return;
        const std::uint64_t at = (step.b & 0x8000) != 0 ? from->link : link_of(*from);
        std::uint64_t target = (step.b & 0x4000) != 0 ? special(step.c >> 24, step.c) & 0xffffffff : to->offset;
        if ((step.b & 0x2000) != 0) target += step.c % 64;
        put(at, 4, target);
        if (checked) put_check(at, target, from->bucket, from->length);
        records_ |= checked;
    }
    void put_check(std::uint64_t link, std::uint64_t offset, std::uint32_t bucket, unsigned length) {
        put(offset - 4, 4,
            kvs_test::PairWalker::crc32c(big_endian(link, 4) + big_endian(offset, 4) + big_endian(bucket, 4) +
                                         big_endian(std::uint64_t{1} << length, 4)));
    }

    std::string header_bytes(std::uint64_t epoch, unsigned type, std::uint64_t at) const {
        std::string header = big_endian(epoch, 5) + static_cast<char>(type);
        return header + big_endian(kvs_test::PairWalker::crc16(header) ^ (at / 8 & 0xffff), 2);
    }
    void header(const Step& step) {
        const Place* place = some(step.a);
        if (place == nullptr) return;
        const std::uint64_t at = slot_of(*place, step.b & 1);
        const auto old = static_cast<unsigned>(image_.number(at + 5, 1));
        const unsigned type = (step.b & 2) != 0 ? 0xff : (step.b & 4) != 0 ? step.b >> 8 : old;
        put_text(at, header_bytes(special(step.b >> 4, step.c), type, at));
        rewrites_ = future_ = true;
    }
    void slot(const Step& step) {
        const Place* place = some(step.a);
        if (place == nullptr) return;
        std::string key = image_.text(place->offset, format_.key_length);
        const std::uint64_t epochs[] = {durable_epoch_, durable_epoch_ + 1, durable_epoch_ - 1,
                                        special(step.c, step.b)};
        future_ |= step.c % 4 == 3;
        put_slot(*place, step.b & 1, epochs[step.c % 4], step, key);
    }
    /// A slot with a right checksum whose type and byte count need not be.
    void put_slot(const Place& place, unsigned which, std::uint64_t epoch, const Step& step, const std::string& key) {
        const std::uint64_t at = slot_of(place, which), room = std::uint64_t{1} << place.length;
        Datum datum = datum_for(static_cast<std::uint16_t>(step.b >> 4), step.c);
        unsigned type = type_byte(datum.type, place.length);
        std::string value = datum.type < kvs::Type::ascii ? field(datum, datum_length(datum)) : datum.payload;
        value.resize(std::min<std::size_t>(value.size(), room));
        std::uint64_t count = value.size();
        const bool odd_type = step.c % 7 == 0, odd_count = step.c % 11 == 0;
        if (odd_type) type = step.c >> 8 & 0xff;
        if (odd_count) count = special(step.c >> 4, step.b) & 0xffffffff;
        const std::string header = header_bytes(epoch, type, at);
        const bool deleted = type == 0xff;
        if (deleted && !odd_count) count = 0;
        std::string covered = deleted ? big_endian(place.offset, 8) : to_words(key);
        covered += header + std::string(4, '\0') + big_endian(count, 4);
        std::string stored = to_words(value);
        if (count <= room) {
            value.resize(static_cast<std::size_t>(count), '\0');
            stored = to_words(value);
            if (!deleted) covered += stored;
        }
        const std::uint32_t sum = image_.number(superblocks[0] + 12, 1) == 2 ? kvs_test::PairWalker::xxh3(covered)
                                                                             : kvs_test::PairWalker::crc32c(covered);
        put_text(at, header + big_endian(sum, 4) + big_endian(count, 4) + stored);
        rewrites_ = true;
        std::string name = key;
        name.resize(name.find_last_not_of('\0') + 1);
        // What a reader may make of it, of whatever type and in a record of whatever length.
        for (unsigned kind = 0; kind <= 6; ++kind) {
            Datum read;
            if (kind <= 3) {
                if (value.empty() || value.size() > 8 || !std::has_single_bit(value.size())) continue;
                for (const char byte : value) read.bits = read.bits << 8 | static_cast<unsigned char>(byte);
                if (kind == 3 && read.bits != 0) read.bits = 0xff;
            } else {
                read.payload = value;
            }
            const int low = kind <= 3 ? std::countr_zero(value.size()) : 0;
            read.type = static_cast<kvs::Type>(kind << 4 | static_cast<unsigned>(low));
            values_[name].push_back(read);
        }
    }
    static unsigned datum_length(const Datum& datum) { return static_cast<unsigned>(datum.type) & 15; }

    void record(const Step& step) {
        if (image_.size != image_.bytes.size() || image_.size > 1'000'000 || image_.size < records_start) return;
        const std::string& key = keys_[step.a % keys_.size()];
        const Datum datum = datum_for(static_cast<std::uint16_t>(step.b >> 4), step.c);
        const unsigned length = datum.type < kvs::Type::ascii ? datum_length(datum) : step.b % 6 == 0 ? 16 : 5;
        if (!format_.has(length)) return;
        Place place{0, length, format_.bucket(key, length), 0};
        place.link = 10 + 4 * std::uint64_t{place.bucket};
        for (const Place& other : places_)
            if (other.bucket == place.bucket && image_.number(link_of(other), 4) == 0) place.link = link_of(other);
        std::uint64_t end =
            (step.b & 1) != 0 ? records_start + step.c % (image_.size - records_start + 1) : image_.size;
        if ((step.b & 3) == 2) end = durable_end_;
        place.offset = end + 4;
        place.offset += (8 - (place.offset + format_.key_length + 1) % 8) % 8;
        if (std::has_single_bit(place.offset)) place.offset += 8;
        if (end_of(place) > image_.size) {
            image_.size = end_of(place);
            image_.bytes.resize(static_cast<std::size_t>(image_.size), 0);
        }
        put_check(place.link, place.offset, place.bucket, length);
        put_text(place.offset, padded_key(key));
        put(place.offset + format_.key_length, 1, 0x80 | length);
        put_slot(place, 0, durable_epoch_ + step.c % 2, step, padded_key(key));
        put_text(slot_of(place, 1), std::string(8, '\0'));
        put(link_of(place), 4, 0);
        put(place.link, 4, place.offset);
        places_.push_back(place);
        records_ = true;
        if ((step.b & 8) == 0) return;
        // As a writer would: the end and the counts with it.
        for (unsigned page = 0; page < 4; ++page) {
            put(page_at(page) + 40, 8, image_.size);
            put(page_at(page) + 48, 8, image_.number(page_at(page) + 48, 8) + 1);
            put(page_at(page) + 56, 8, image_.number(page_at(page) + 56, 8) + 1);
            checksum(page);
        }
        word(live_end_word, image_.size);
        word(records_word, word(records_word) + 1);
        word(keys_word, word(keys_word) + 1);
    }

    void superblock(const Step& step) {
        const unsigned pages = (step.b & 15) != 0 ? step.b & 15 : 15;
        for (unsigned page = 0; page < 4; ++page) {
            if ((pages >> page & 1) == 0) continue;
            const std::uint64_t at = page_at(page);
            const unsigned field = (step.b >> 4) % 24;
            std::uint64_t n = special(step.a, step.c);
            if (field == 9) n = step.c & 3;
            future_ |= field == durable_epoch_field;
            touch_page(page);
            if (field < 20)
                put(at + 8 * std::uint64_t{field}, 8, n);
            else if (field < 22)
                put(at + 16 + 4 * (field & 1), 4, n);
            else
                put(at + 8 + step.b % 8, 1, step.c);
            checksum(page);
        }
        rewrites_ = true;
    }
    void checksum(unsigned page) {
        if (image_.bytes.size() < page_at(page) + 160) return;
        put(page_at(page), 8, 0x414b565350414952);
        put(page_at(page) + 152, 8, kvs_test::PairWalker::crc32c(image_.text(page_at(page), 152)));
    }

    void journal(const Step& step) {
        const std::uint64_t places[] = {journal_room, durable_end_, (word(live_end_word) + 7) / 8 * 8,
                                        special(step.c, step.c >> 8)};
        journal_place_ = step.a % 16 == 8 ? small_journal_room : places[step.a % 4];
        journal_words_ = 0;
        word(journal_valid_word, 1);
        word(journal_words_word, (step.a & 4) != 0 ? special(step.b, step.c) : 0);
        word(journal_place_word, journal_place_);
    }
    void journal_image(const Step& step) {
        const Place* place = some(step.b >> 3);
        const std::uint64_t targets[] = {shared_area + 8 * (step.c % shared_words),
                                         10 + step.c % 262144,
                                         place != nullptr ? place->link : 10,
                                         place != nullptr ? slot_of(*place, step.c & 1) : records_start,
                                         records_start + step.c % 5000,
                                         durable_end_ - 8,
                                         journal_place_ + 8 * (step.c % 16),
                                         special(step.c >> 8, step.c)};
        const std::uint64_t sizes[] = {8, 4, 8, 16, step.c % 70000, 1 + step.c % 40, 0xffffffff - step.c % 9, 0};
        const std::uint64_t bytes = sizes[step.a >> 3 & 7], at = journal_place_ + 8 * journal_words_;
        if (at > image_.bytes.size()) return;
        raw(at, (targets[step.a & 7] & 0xffffffff) << 32 | bytes);
        const std::uint64_t words = bytes > 100000 ? 1 : (bytes + 7) / 8;
        for (std::uint64_t i = 0; i < words; ++i) raw(at + 8 + 8 * i, special(step.a >> 4, step.c));
        journal_words_ += 1 + words;
        word(journal_words_word, journal_words_);
        records_ = true;
    }

    void resize(const Step& step) {
        const std::uint64_t now = image_.bytes.size();
        const std::uint64_t sizes[] = {now + step.c % 70000,
                                       step.c % (records_start + 10),
                                       now - std::min<std::uint64_t>(step.c % 4000, now),
                                       file_limit - step.c % 70000,
                                       file_limit + step.c % 2,
                                       records_start + step.c % 3,
                                       step.c,
                                       step.c % (now + 1)};
        image_.size = sizes[step.a % 8];
        if (image_.bytes.size() > image_.size) image_.bytes.resize(static_cast<std::size_t>(image_.size));
    }

    Image& image_;
    Format format_;
    const std::vector<std::string>& keys_;
    std::uint64_t generation_ = 0, durable_epoch_ = 0, durable_end_ = 0, void_epoch_ = 0;
    std::uint64_t journal_place_ = journal_room, journal_words_ = 0;
    unsigned touched_pages_ = 0;  // of the superblocks
    std::vector<Place> places_;
    std::vector<std::uint64_t> used_slots_;
    std::map<std::string, std::vector<Datum>> values_;
    bool damaged_ = false, rewrites_ = false, records_ = false, future_ = false;
};

/// What a store says about a key.
struct PairAnswer {
    kvs::errc error{};
    std::optional<Datum> datum;
    bool operator==(const PairAnswer&) const = default;
};

/// What was done, in all runs: a check that is never made finds nothing.
struct PairFigures {
    static inline std::uint64_t journals = 0;  ///< forged ones that were believed, or refused
    static inline std::uint64_t reopened = 0;
    static inline std::uint64_t compared = 0;  ///< of them, with all answers as before
};

template <class Store>
class PairRun {
public:
    PairRun(const PairFiles& files, const Recipe& recipe)
        : files_(files), recipe_(recipe), texts_(keys_for(Store::key_length)) {
        for (const std::string& text : texts_) keys_.emplace_back(text);
    }

    void run() {
        PairPlatform::start();
        options_.weights = kvs::Weights::from_header(recipe_.weights);
        options_.sync = (recipe_.options & 4) != 0 ? kvs::sync_each : kvs::sync_manual;
        build();
        forge();
        options_.salvage = (recipe_.options & 8) != 0;
        if ((recipe_.options & 16) != 0) options_.verify = kvs::Verify::after_crash;
        if ((recipe_.options & 0x60) == 0x60) options_.mode = kvs::Mode::read_only;
        if (!open_first()) return;
        for (const Step& step : recipe_.operations) operate(step);
        reopen();
        store_.reset();
        KVS_PAIR_CHECK(!PairPlatform::stored_outside);
        KVS_PAIR_CHECK(files_.tidy_up());
    }

private:
    using Key = typename Store::key_type;
    using Model = std::map<std::string, Datum>;
    using Answers = std::vector<PairAnswer>;

    // ---- the file --------------------------------------------------------------------------------------------------

    void build() {
        files_.empty_store();
        store_.emplace(files_.store(), options_);
        for (const Step& step : recipe_.forging) {
            const std::size_t number = step.a % keys_.size();
            switch (static_cast<PairStep>(step.what % pair_step_count)) {
                case PairStep::set:
                case PairStep::set_again:
                case PairStep::set_more: change(number, datum_for(step.b, step.c)); break;
                case PairStep::erase: remove(number); break;
                case PairStep::sync: sync(); break;
                case PairStep::batch: batch(step); break;
                case PairStep::clear: clear(); break;
                default: break;
            }
        }
    }

    void forge() {
        unsigned state = recipe_.options & 3;
        if (state == 3) {
            PairPlatform::flush_error = EIO;
            std::error_code error;
            store_->sync(error);
            KVS_PAIR_CHECK(!error || error == kvs::errc::io_error);
            if (!error) state = 1;  // there was nothing to flush
        }
        if (state == 0) store_.reset();
        KVS_PAIR_CHECK(files_.read_store(image_));
        store_.reset();
        PairPlatform::flush_error = 0;
        if (state == 2) ++PairPlatform::boot;
        if (state == 0) synced_ = model_;
        if (state >= 2) model_ = synced_;
        PairForger forger(image_, Store::key_length, recipe_.weights, texts_);
        for (const Step& step : recipe_.forging) forger.apply(step);
        sound_ = !forger.damaged();
        plain_ = !forger.rewrites() && !forger.has_records();
        own_records_ = !forger.has_records();
        future_ = forger.has_future();
        forgot_ = forger.has_forgotten();
        if (state == 1 && forger.has_journal()) ++PairFigures::journals;
        for (const auto& [text, values] : forger.values())
            had_[text].insert(had_[text].end(), values.begin(), values.end());
        // After a failed flush all pages of the file are stored to; of a large one that takes all memory there is.
        if (image_.size > PairPlatform::most &&
            image_.number(PairForger::shared_area + 8 * PairForger::failed_word, 8) != 0)
            image_.size = PairPlatform::most;
        files_.write_store(image_);
    }

    bool open_first() {
        const kvs::errc code = open();
        if (code == kvs::errc{}) {
            if (store_->recovery().salvaged) future_ = false;  // D is the largest epoch that is there
            if (sound_) expect_model();
            check_all();
            return true;
        }
        KVS_PAIR_CHECK(!sound_ && !store_->is_open());
        check_unchanged();
        store_.reset();
        return false;
    }
    kvs::errc open() {
        std::error_code error;
        store_.emplace(files_.store(), options_, error);
        KVS_PAIR_CHECK(store_->is_open() == !error);
        return code_of(error);
    }
    void check_unchanged() {
        static Image now;  // to get its memory anew takes longer than all else
        if (!files_.read_store(now)) return;
        image_.bytes.resize(static_cast<std::size_t>(image_.size));
        KVS_PAIR_CHECK(now.bytes == image_.bytes);
    }

    // ---- closing, killing, and opening again -----------------------------------------------------------------------

    bool writable() const { return options_.mode != kvs::Mode::read_only; }
    bool flushes() const { return PairPlatform::flush_error == 0 && !failed_; }

    /// What opened once opens again; as a new store if nothing tells it from one that was never created.
    void open_again() {
        const bool is_gone = !sound_ && counts_as_never_created();
        if (is_gone) options_.mode = kvs::Mode::open_or_create;
        KVS_PAIR_CHECK(open() == kvs::errc{});
        KVS_PAIR_CHECK((store_->recovery().outcome == kvs::Recovery::Outcome::created) == is_gone);
    }
    /// By FORMAT_PAIRS.md: a store of no records whose first bytes were forged, once recovery has taken from its index
    /// what led to records that were not durable.
    bool counts_as_never_created() const {
        static Image now;
        if (!files_.read_store(now) || now.size > PairForger::records_start) return false;
        const std::string_view file(reinterpret_cast<const char*>(now.bytes.data()), now.bytes.size());
        const auto is_nul = [](std::string_view bytes) { return bytes.find_first_not_of('\0') == bytes.npos; };
        return is_nul(file.substr(0, 8)) && is_nul(file.substr(std::min<std::size_t>(10, file.size()), 262144)) &&
               kvs_test::PairWalker(std::string(file)).walk().records == 0;
    }
    void open_again(const Answers& before, bool compared) {
        PairPlatform::flush_error = 0;
        open_again();
        if (store_->recovery().outcome == kvs::Recovery::Outcome::power_loss) go_back();
        in_flight_.reset();
        failed_ = false;
        if (sound_) expect_model();
        check_all();
        ++PairFigures::reopened;
        if (!compared || !plain_ || future_ || options_.verify == kvs::Verify::after_crash) return;
        ++PairFigures::compared;
        const Answers after = ask_all();
        for (std::size_t i = 0; i < keys_.size(); ++i) KVS_PAIR_CHECK(before[i] == after[i]);
    }
    /// To the last completed sync, or to the whole of the one whose last flush failed: of a sync of one flush, all was
    /// stored by then.
    void go_back() {
        model_ = synced_;
        if (in_flight_ && ask(*store_, keys_[in_flight_->number]).datum == in_flight_->datum)
            model_[texts_[in_flight_->number]] = in_flight_->datum;
        synced_ = model_;
    }
    void reopen() {
        const Answers before = ask_all();
        const bool flushed = flushes();
        store_.reset();
        if (!writable()) check_unchanged();
        if (writable() && flushed) synced_ = model_;
        open_again(before, flushed);
    }
    void die(bool machine_too) {
        if (!writable() || !files_.read_store(image_)) return;
        const Answers before = ask_all();
        const bool flushed = flushes();
        PairPlatform::flush_error = EIO;  // what the handle does when it is closed counts for nothing
        store_.reset();
        files_.write_store(image_);
        if (machine_too) ++PairPlatform::boot;
        open_again(before, flushed && !machine_too);
    }
    void change_mode() {
        reopen();
        store_.reset();
        options_.mode = writable() ? kvs::Mode::read_only : kvs::Mode::open_existing;
        open_again();
        if (!writable()) files_.read_store(image_);
        check_all();
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    static kvs::errc code_of(const std::error_code& error) {
        if (!error) return {};
        KVS_PAIR_CHECK(error.category() == kvs::error_category() && error.message() != "an unknown error (unknown)");
        return static_cast<kvs::errc>(error.value());
    }
    static Datum datum_of(const kvs::Value& value) {
        const std::span<const std::byte> bytes = value.bytes();
        return {value.type(), value.encoded().bits, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}};
    }
    static PairAnswer ask(const Store& store, const Key& key) {
        std::error_code error;
        const std::optional<kvs::Value> value = store.value(key, error);
        KVS_PAIR_CHECK(!value || !error);
        return {code_of(error), value ? std::optional(datum_of(*value)) : std::nullopt};
    }
    Answers ask_all() const {
        Answers answers;
        for (const Key& key : keys_) answers.push_back(ask(*store_, key));
        return answers;
    }
    /// With checksums trusted, damage is a value.
    bool trusts() const { return !sound_ && options_.verify == kvs::Verify::after_crash; }

    /// Every answer is a value that the key had, or damage.
    void check_answer(const std::string& text, const PairAnswer& answer) const {
        KVS_PAIR_CHECK(answer.error == kvs::errc{} || answer.error == kvs::errc::corrupt);
        if (!answer.datum || trusts()) return;
        const auto values = had_.find(text);
        KVS_PAIR_CHECK(values != had_.end() &&
                       std::find(values->second.begin(), values->second.end(), *answer.datum) != values->second.end());
    }
    void check_all() const { check_all(*store_); }
    void check_all(const Store& store) const {
        for (std::size_t i = 0; i < keys_.size(); ++i) check_answer(texts_[i], ask(store, keys_[i]));
    }
    void expect_model() const {
        expect_model(*store_);
        KVS_PAIR_CHECK(!store_->recovery().damaged());
    }
    void expect_model(const Store& store) const {
        KVS_PAIR_CHECK(store.size() == model_.size());
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            const auto entry = model_.find(texts_[i]);
            const std::optional<Datum> wanted =
                entry != model_.end() ? std::optional(entry->second) : std::optional<Datum>();
            KVS_PAIR_CHECK((ask(store, keys_[i]) == PairAnswer{kvs::errc{}, wanted}));
        }
        KVS_PAIR_CHECK(store.verify().ok());
    }

    template <class T>
    void read_as(const Key& key, const PairAnswer& answer) const {
        std::error_code error;
        const std::optional<T> read = store_->template get<T>(key, error);
        const kvs::errc code = code_of(error);
        KVS_PAIR_CHECK(!read || code == kvs::errc{});
        // A slot forged where a deletion was gives the key two records with a value. `get` looks first into the one of
        // its type's length, `value` into all of them, so that only one of the two may meet what is wrong with one.
        const bool meets_damage = answer.error == kvs::errc::corrupt || code == kvs::errc::corrupt;
        const bool may_differ = !own_records_ || ((trusts() || !plain_) && meets_damage);
        KVS_PAIR_CHECK(code == answer.error || code == kvs::errc::type_mismatch || may_differ);
        std::optional<T> thrown;
        kvs::errc thrown_code{};
        try {
            thrown = store_->template get<T>(key);
        } catch (const kvs::Error& e) {
            thrown_code = code_of(e.code());
        }
        KVS_PAIR_CHECK(code == thrown_code && read.has_value() == thrown.has_value());
    }
    void read_all_types(std::size_t number, std::size_t room) const {
        const Key& key = keys_[number];
        const PairAnswer answer = ask(*store_, key);
        check_answer(texts_[number], answer);
        read_as<bool>(key, answer);
        read_as<std::uint8_t>(key, answer);
        read_as<std::uint16_t>(key, answer);
        read_as<std::uint32_t>(key, answer);
        read_as<std::int64_t>(key, answer);
        read_as<float>(key, answer);
        read_as<double>(key, answer);
        read_as<std::string>(key, answer);
        read_as<std::vector<std::byte>>(key, answer);
        std::error_code error;
        std::vector<std::byte> buffer(room);
        const std::optional<std::size_t> taken = store_->get_into(key, buffer, error);
        (void)code_of(error);
        KVS_PAIR_CHECK(!taken || *taken <= room);
        const bool contains = store_->contains(key, error);
        (void)code_of(error);
        KVS_PAIR_CHECK(!answer.datum || contains || !own_records_);
        const std::optional<kvs::Type> type = store_->type(key, error);
        const bool meets_damage = code_of(error) == kvs::errc::corrupt;
        const bool fits = !answer.datum || (type && *type == answer.datum->type);
        const bool is_ambiguous = (!plain_ || future_ || forgot_) && has_two_records(texts_[number]);
        KVS_PAIR_CHECK(fits || !own_records_ || is_ambiguous || (!plain_ && meets_damage));
    }
    /// Which of them answers then depends on the look-up before.
    bool has_two_records(const std::string& text) const {
        std::error_code error;
        std::size_t count = 0;
        for (auto it = store_->begin(error); it != store_->end(); it.increment(error))
            if (code_of(error) == kvs::errc{} && it->key() == text) ++count;
        return count > 1;
    }
    void iterate() const {
        std::error_code error;
        std::size_t steps = 0;
        for (auto it = store_->begin(error); it != store_->end(); it.increment(error)) {
            KVS_PAIR_CHECK(++steps < 2'000'000);
            if (code_of(error) != kvs::errc{}) continue;
            std::error_code value_error;
            const kvs::Value value = it->value(value_error);
            if (code_of(value_error) == kvs::errc{})
                check_answer(std::string(it->key()), {kvs::errc{}, datum_of(value)});
        }
    }
    void verify() const {
        std::error_code error;
        const kvs::Report report = store_->verify(error);
        KVS_PAIR_CHECK(!error && report.problems.size() <= 100 && report.problems.size() <= report.problem_count);
        KVS_PAIR_CHECK(report.ok() || !sound_);
        const kvs::Stats stats = store_->stats(error);
        KVS_PAIR_CHECK(!error && stats.live_bytes <= stats.file_bytes && stats.file_bytes <= PairPlatform::limit);
        KVS_PAIR_CHECK(stats.keys == report.keys && stats.deleted_records == report.deleted_records);
    }

    // ---- changing --------------------------------------------------------------------------------------------------

    template <class Use>
    static void with_value(const Datum& datum, const Use& use) {
        switch (datum.type) {
            case kvs::Type::boolean: return use(datum.bits != 0);
            case kvs::Type::u8: return use(static_cast<std::uint8_t>(datum.bits));
            case kvs::Type::u16: return use(static_cast<std::uint16_t>(datum.bits));
            case kvs::Type::u32: return use(static_cast<std::uint32_t>(datum.bits));
            case kvs::Type::u64: return use(datum.bits);
            case kvs::Type::i8: return use(static_cast<std::int8_t>(datum.bits));
            case kvs::Type::i16: return use(static_cast<std::int16_t>(datum.bits));
            case kvs::Type::i32: return use(static_cast<std::int32_t>(datum.bits));
            case kvs::Type::i64: return use(static_cast<std::int64_t>(datum.bits));
            case kvs::Type::f32: return use(std::bit_cast<float>(static_cast<std::uint32_t>(datum.bits)));
            case kvs::Type::f64: return use(std::bit_cast<double>(datum.bits));
            case kvs::Type::ascii:
            case kvs::Type::utf8: return use(std::string_view(datum.payload));
            case kvs::Type::bytes: return use(std::as_bytes(std::span(datum.payload)));
        }
    }
    /// What a change may fail with.
    void check_refusal(kvs::errc code) {
        using kvs::errc;
        if (code == errc{} || code == errc::value_too_long) return;
        if (!writable()) return KVS_PAIR_CHECK(code == errc::read_only);
        if (code == errc::io_error || code == errc::not_durable) {
            KVS_PAIR_CHECK(!flushes());
            failed_ = true;
            return;
        }
        KVS_PAIR_CHECK(!sound_ && (code == errc::corrupt || code == errc::store_full));
    }
    void synced_if_each() {
        if (options_.sync.kind() == kvs::SyncPolicy::Kind::each) synced_ = model_;
    }
    /// The change of one key, or of all with `SIZE_MAX`, is behind us: the others are as before.
    void check_others(const Answers& before, std::size_t but) const {
        if (!own_records_ || future_) return;
        const Answers after = ask_all();
        for (std::size_t i = 0; i < keys_.size(); ++i)
            // Damage that was written over is no damage any more, and a key that may have been there is absent.
            KVS_PAIR_CHECK(i == but || before[i].error != kvs::errc{} || before[i] == after[i]);
    }

    void change(std::size_t number, const Datum& datum) {
        const Answers before = ask_all();
        std::error_code error;
        with_value(datum, [&](const auto& value) { store_->set(keys_[number], value, error); });
        const kvs::errc code = code_of(error);
        check_refusal(code);
        const bool in_place = code == kvs::errc::io_error && options_.sync.kind() == kvs::SyncPolicy::Kind::each;
        if (code == kvs::errc{} || in_place) had_[texts_[number]].push_back(datum);
        if (in_place) {
            if (ask(*store_, keys_[number]).datum != datum) return;
            model_[texts_[number]] = datum;
            in_flight_ = {number, datum};
            return;
        }
        check_others(before, code == kvs::errc{} ? number : SIZE_MAX);
        if (code != kvs::errc{}) return;
        KVS_PAIR_CHECK(!own_records_ || (ask(*store_, keys_[number]) == PairAnswer{kvs::errc{}, datum}));
        model_[texts_[number]] = datum;
        synced_if_each();
    }
    void remove(std::size_t number) {
        const Answers before = ask_all();
        std::error_code error;
        const bool erased = store_->erase(keys_[number], error);
        const kvs::errc code = code_of(error);
        check_refusal(code);
        if (code == kvs::errc::io_error) {
            if (ask(*store_, keys_[number]) == PairAnswer{}) model_.erase(texts_[number]);
            return;
        }
        check_others(before, code == kvs::errc{} ? number : SIZE_MAX);
        if (code != kvs::errc{}) return;
        const PairAnswer answer = ask(*store_, keys_[number]);
        KVS_PAIR_CHECK(!own_records_ || (!answer.datum && (!sound_ || answer.error == kvs::errc{})));
        KVS_PAIR_CHECK(!sound_ || erased == (model_.erase(texts_[number]) == 1));
        if (erased) synced_if_each();
    }
    void batch(const Step& step) {
        const Answers before = ask_all();
        std::vector<std::pair<std::size_t, std::optional<Datum>>> changes;
        for (unsigned i = 0; i <= step.a % 12u; ++i) {
            const std::size_t number = (step.a + i * (1 + step.c % 5)) % keys_.size();
            if ((step.c >> i & 1) != 0 && i % 3 == 2)
                changes.emplace_back(number, std::nullopt);
            else
                changes.emplace_back(number, datum_for(static_cast<std::uint16_t>(step.b + 7 * i), step.c + 3 * i));
        }
        std::error_code error;
        store_->batch(
            [&](auto& noted) {
                for (const auto& [number, datum] : changes) {
                    if (!datum)
                        noted.erase(keys_[number]);
                    else
                        with_value(*datum, [&, n = number](const auto& value) { noted.set(keys_[n], value); });
                }
            },
            error);
        const kvs::errc code = code_of(error);
        check_refusal(code);
        if (code == kvs::errc{} || code == kvs::errc::io_error)
            for (const auto& [number, datum] : changes)
                if (datum) had_[texts_[number]].push_back(*datum);
        if (code == kvs::errc::io_error) {
            // Before the change or behind it.
            if (ask_all() != before) note(changes);
            return;
        }
        if (code != kvs::errc{}) return check_others(before, SIZE_MAX);
        note(changes);
        if (own_records_)
            for (const auto& [number, datum] : changes) {
                const auto entry = model_.find(texts_[number]);
                const PairAnswer answer = ask(*store_, keys_[number]);
                if (entry != model_.end()) KVS_PAIR_CHECK(answer.datum == entry->second);
                if (entry == model_.end()) KVS_PAIR_CHECK(!answer.datum);
            }
        synced_if_each();
    }
    void note(const std::vector<std::pair<std::size_t, std::optional<Datum>>>& changes) {
        for (const auto& [number, datum] : changes) {
            if (datum)
                model_[texts_[number]] = *datum;
            else
                model_.erase(texts_[number]);
        }
    }
    void clear() {
        std::error_code error;
        store_->clear(error);
        const kvs::errc code = code_of(error);
        check_refusal(code);
        if (code == kvs::errc::io_error && store_->empty()) model_.clear();
        if (code != kvs::errc{}) return;
        synced_ = model_;
        model_.clear();
        KVS_PAIR_CHECK(store_->empty());
        for (const Key& key : keys_) {
            const PairAnswer answer = ask(*store_, key);
            // Slots of epochs that were forged come to life when D has reached them.
            KVS_PAIR_CHECK(!plain_ || future_ || !answer.datum);
            KVS_PAIR_CHECK(!sound_ || answer.error == kvs::errc{});
        }
        synced_if_each();
    }
    void sync() {
        std::error_code error;
        store_->sync(error);
        const kvs::errc code = code_of(error);
        if (!writable()) return KVS_PAIR_CHECK(code == kvs::errc{});
        check_refusal(code);
        if (code == kvs::errc{}) synced_ = model_;
    }
    void repair() {
        std::error_code error;
        const kvs::Report report = store_->repair(error);
        const kvs::errc code = code_of(error);
        check_refusal(code);
        if (code != kvs::errc{}) return;
        synced_ = model_;
        KVS_PAIR_CHECK(report.ok() || !sound_);
    }
    void copy(bool compact) {
        std::error_code error;
        const int flush_error = std::exchange(PairPlatform::flush_error, 0);
        if (compact)
            store_->compact_to(files_.copy(), error);
        else
            store_->copy_to(files_.copy(), error);
        const kvs::errc code = code_of(error);
        KVS_PAIR_CHECK(code == kvs::errc{} || !sound_);
        if (code == kvs::errc{}) {
            const Store other(files_.copy(), {.mode = kvs::Mode::read_only});
            KVS_PAIR_CHECK(other.recovery().outcome == kvs::Recovery::Outcome::clean);
            check_all(other);
            if (sound_) expect_model(other);
        }
        KVS_PAIR_CHECK(files_.tidy_up());
        PairPlatform::flush_error = flush_error;
    }

    /// Not of a large file: after a failed flush the next open stores to all its pages.
    void fail_flushes() const {
        if (store_->stats().file_bytes <= PairPlatform::most) PairPlatform::flush_error = EIO;
    }

    void operate(const Step& step) {
        const std::size_t number = step.a % keys_.size();
        switch (step.what % 32) {
            default: change(number, datum_for(step.b, step.c)); break;
            case 1:
            case 2:
            case 3: remove(number); break;
            case 4:
            case 5: read_all_types(number, step.c % 300); break;
            case 6:
            case 7: batch(step); break;
            case 8: clear(); break;
            case 9:
            case 10: sync(); break;
            case 11: verify(); break;
            case 12: repair(); break;
            case 13: iterate(); break;
            case 14: copy(false); break;
            case 15: copy(true); break;
            case 16: reopen(); break;
            case 17: change_mode(); break;
            case 18: die(false); break;
            case 19: die(true); break;
            case 20: fail_flushes(); break;
            case 21: check_all(); break;
        }
        KVS_PAIR_CHECK(!PairPlatform::stored_outside);
    }

    const PairFiles& files_;
    const Recipe& recipe_;
    const std::vector<std::string>& texts_;
    std::vector<Key> keys_;
    kvs::Options options_;
    Image image_;
    std::optional<Store> store_;
    std::map<std::string, std::vector<Datum>> had_;
    struct InFlight {
        std::size_t number;
        Datum datum;
    };
    std::optional<InFlight> in_flight_;  // a write whose flush failed
    Model model_, synced_;     // what the store holds, and would hold after a power cut, as long as it is sound
    bool sound_ = true;        // nothing was forged
    bool plain_ = true;        // no slot, superblock or word of the shared area was forged, and no record
    bool own_records_ = true;  // all records are the library's
    bool future_ = false;      // slots of epochs in the future may be there, which come to life when D has reached them
    bool forgot_ = false;      // a deletion may be gone, so that the key has an older value beside its last one
    bool failed_ = false;      // a flush failed since the file was opened
};

/// One input.
inline void forge_pairs(std::span<const std::uint8_t> input) {
    static const PairFiles files;
    const Recipe recipe = parse(input);
    const auto run = [&]<class Store>(std::type_identity<Store>) { PairRun<Store>(files, recipe).run(); };
    switch (recipe.store % 4) {
        case 0: return run(std::type_identity<kvs::Store<32, PairPlatform>>{});
        case 1: return run(std::type_identity<kvs::Store<32, kvs::Xxh3, PairPlatform>>{});
        case 2: return run(std::type_identity<kvs::Store<1, PairPlatform>>{});
        default: return run(std::type_identity<kvs::Store<97, kvs::Unshared, PairPlatform>>{});
    }
}

/// Leaves no step that forges what the library may have written, so that all answers are known from one open to the
/// next, and no option that takes a read or a check away.
inline void make_plain(Recipe& recipe) {
    std::erase_if(recipe.forging, [](const Step& step) {
        const auto what = static_cast<PairStep>(step.what % pair_step_count);
        return what > PairStep::link && what != PairStep::bad_page && what != PairStep::size;
    });
    recipe.options &= 15;
}

/// Changes a recipe into a neighbour.
inline void mutate_pairs(Recipe& recipe, std::mt19937_64& random) {
    const auto pick = [&](std::uint64_t below) { return random() % below; };
    const auto number = [&] { return static_cast<std::uint32_t>(random() & ((std::uint64_t{1} << pick(33)) - 1)); };
    const auto step = [&](bool forging) {
        Step made{static_cast<std::uint8_t>(pick(forging ? pair_step_count : 32)), static_cast<std::uint8_t>(pick(256)),
                  static_cast<std::uint16_t>(pick(2) != 0 ? pick(256) : pick(65536)), number()};
        if (forging && pick(3) == 0) made.what = static_cast<std::uint8_t>(pick(7));
        return made;
    };
    if (pick(12) == 0) make_plain(recipe);
    const bool forging = pick(3) != 0;
    std::vector<Step>& steps = forging ? recipe.forging : recipe.operations;
    switch (pick(8)) {
        case 0:
        case 1:
        case 2: steps.insert(steps.begin() + static_cast<std::ptrdiff_t>(pick(steps.size() + 1)), step(forging)); break;
        case 3: steps.push_back(step(forging)); break;
        case 4:
            if (!steps.empty()) steps.erase(steps.begin() + static_cast<std::ptrdiff_t>(pick(steps.size())));
            break;
        case 5:
        case 6:
            if (!steps.empty()) {
                Step& changed = steps[pick(steps.size())];
                switch (pick(5)) {
                    case 0: changed.what = static_cast<std::uint8_t>(pick(forging ? pair_step_count : 32)); break;
                    case 1: changed.a = static_cast<std::uint8_t>(pick(256)); break;
                    case 2: changed.b = static_cast<std::uint16_t>(pick(65536)); break;
                    case 3: changed.c = number(); break;
                    default: changed.c += static_cast<std::uint32_t>(pick(3)) - 1; break;
                }
            }
            break;
        default:
            switch (pick(3)) {
                case 0: recipe.store = static_cast<std::uint8_t>(pick(4)); break;
                case 1:
                    recipe.options = static_cast<std::uint8_t>(pick(16) | pick(8) / 7 * 16 | pick(8) / 7 * 96);
                    break;
                default: recipe.weights = pick(2) != 0 ? 0xb9764332u : number(); break;
            }
    }
}

}  // namespace kvs_fuzz
