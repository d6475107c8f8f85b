// The input of the fuzz target: a recipe for a file and for what to do with it.
//
//   byte 0     which store (key length, sharing)
//   byte 1     options
//   bytes 2-3  how many of the steps are operations; the others, behind them, forge the file
//   bytes 4-7  weights of the file
//   then       steps of 8 bytes: what u8 | a u8 | b u16 | c u32
//
// All little-endian. Any bytes are a recipe: numbers out of range wrap around, an unfinished step is dropped. A file of
// 262 KB comes from a few dozen bytes, so inputs stay small and a mutation hits something that counts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "format.hpp"

namespace kvs_fuzz {

struct Step {
    std::uint8_t what = 0;
    std::uint8_t a = 0;
    std::uint16_t b = 0;
    std::uint32_t c = 0;
};

struct Recipe {
    std::uint8_t store = 0;
    std::uint8_t options = 0;
    std::uint32_t weights = 0;
    std::vector<Step> operations;
    std::vector<Step> forging;
};

inline Recipe parse(std::span<const std::uint8_t> input) {
    const auto number = [&](std::size_t at, unsigned bytes) {
        std::uint32_t n = 0;
        for (unsigned i = 0; i < bytes; ++i) n |= (at + i < input.size() ? std::uint32_t{input[at + i]} : 0u) << 8 * i;
        return n;
    };
    Recipe recipe;
    recipe.store = static_cast<std::uint8_t>(number(0, 1));
    recipe.options = static_cast<std::uint8_t>(number(1, 1));
    recipe.weights = number(4, 4);
    const std::size_t operations = number(2, 2);
    for (std::size_t at = 8; at + 8 <= input.size(); at += 8) {
        const Step step{static_cast<std::uint8_t>(number(at, 1)), static_cast<std::uint8_t>(number(at + 1, 1)),
                        static_cast<std::uint16_t>(number(at + 2, 2)), number(at + 4, 4)};
        (recipe.operations.size() < operations ? recipe.operations : recipe.forging).push_back(step);
    }
    return recipe;
}

inline std::vector<std::uint8_t> serialize(const Recipe& recipe) {
    std::vector<std::uint8_t> out;
    const auto number = [&](std::uint64_t n, unsigned bytes) {
        for (unsigned i = 0; i < bytes; ++i) out.push_back(static_cast<std::uint8_t>(n >> 8 * i));
    };
    number(recipe.store, 1);
    number(recipe.options, 1);
    number(recipe.operations.size(), 2);
    number(recipe.weights, 4);
    for (const auto* steps : {&recipe.operations, &recipe.forging})
        for (const Step& step : *steps) {
            number(step.what, 1);
            number(step.a, 1);
            number(step.b, 2);
            number(step.c, 4);
        }
    return out;
}

/// Sixteen keys for a key length. The first eight share their hash's low twelve bits, so they meet in chains; others
/// are as short and as long as keys can be, and hold NULs where the format allows it.
inline const std::vector<std::string>& keys_for(std::size_t key_length) {
    static std::map<std::size_t, std::vector<std::string>> made;
    std::vector<std::string>& keys = made[key_length];
    if (!keys.empty()) return keys;
    if (key_length == 1) {
        for (char c = 'a'; c < 'a' + 16; ++c) keys.emplace_back(1, c);
        return keys;
    }
    const Format format(key_length, 0);
    keys.push_back("k");
    for (unsigned i = 0; keys.size() < 8; ++i) {
        const std::string key = "k" + std::to_string(i);
        if (((format.hash(key) ^ format.hash(keys[0])) & 0xfff) == 0) keys.push_back(key);
    }
    const std::string nuls(key_length, '\0');
    keys.push_back(std::string(key_length, 'f'));
    keys.push_back(std::string(key_length - 1, 'e'));
    keys.push_back("ab" + nuls.substr(3) + "z");
    keys.push_back(nuls.substr(1) + "z");
    keys.push_back("a" + nuls.substr(2) + "\xff");
    keys.push_back("\xc3\xa9");
    keys.push_back("player.volume");
    keys.push_back("~");
    for (std::string& key : keys) key.resize(std::min(key.size(), key_length));
    return keys;
}

/// A value from the numbers of a step.
inline Datum datum_for(std::uint16_t b, std::uint32_t c) {
    using kvs::Type;
    static constexpr Type types[] = {Type::u8,    Type::u16,   Type::u32,  Type::u64,    Type::i8,    Type::i16,
                                     Type::i32,   Type::i64,   Type::f32,  Type::f64,    Type::ascii, Type::utf8,
                                     Type::bytes, Type::ascii, Type::utf8, Type::boolean};
    Datum datum{types[b % 16], 0, {}};
    if (datum.type < Type::ascii) {
        static constexpr std::uint64_t special[] = {0,
                                                    1,
                                                    0x7f,
                                                    0x80,
                                                    0xff,
                                                    0x7fff,
                                                    0xffff,
                                                    0x7fffffff,
                                                    0xffffffff,
                                                    0x7fffffffffffffff,
                                                    0x8000000000000000,
                                                    0xffffffffffffffff,
                                                    0x3ff0000000000000,
                                                    0x7ff0000000000001,
                                                    0x41e0000000000000,
                                                    0x3f800000};
        datum.bits = (b & 0x100) != 0 ? special[c % 16] : std::uint64_t{c} << 32 | c;
        const unsigned width = 8u << (static_cast<unsigned>(datum.type) & 15);
        if (width < 64) datum.bits &= (std::uint64_t{1} << width) - 1;
        if (datum.type == Type::boolean) datum.bits = (c & 1) != 0 ? 0xff : 0;
        return datum;
    }
    // Mostly short; now and then up to just above the longest.
    const std::uint32_t sizes[] = {c % 20, c % 300, 30 + c % 5, c % 5000, 65530 + c % 8, 16 + c % 40, 254 + c % 4, 0};
    const std::size_t size = sizes[b >> 4 & 7];
    const auto letter = [&](std::size_t i) { return static_cast<char>('a' + (i * (1 + c % 7) + c) % 26); };
    switch (datum.type) {
        case Type::ascii:
            for (std::size_t i = 0; i < size; ++i) datum.payload.push_back(letter(i));
            break;
        case Type::utf8:
            while (datum.payload.size() + 4 <= size) datum.payload += c % 3 == 0 ? "\xc3\xa9" : "\xf0\x9f\x98\x80";
            while (datum.payload.size() < size) datum.payload.push_back(letter(datum.payload.size()));
            if (size < 4) datum.type = Type::ascii;
            break;
        default:
            for (std::size_t i = 0; i < size; ++i) datum.payload.push_back(static_cast<char>(i * c));
            break;
    }
    return datum;
}

/// What forging steps do. Those from `slot` on damage the file, or may.
enum class Forge : std::uint8_t {
    record,          // appends a record as a writer would
    deleted_record,  // the same, deleted
    odd_record,      // the same, in a longer length than the value needs
    slot,            // any number into any index slot
    slots,           // the same number into a range of slots
    link,            // any number into a record's link
    cross_link,      // a slot or link that leads to some record
    type,            // a record's type byte
    value,           // four bytes of a record's value
    key,             // bytes of a record's key
    patch,           // four bytes anywhere behind the header
    size,            // the size of the file
    header,          // a byte of the header
};
inline constexpr unsigned forge_count = 13;

/// Makes files out of forging steps.
class Forger {
public:
    Forger(std::size_t key_length, std::uint32_t weights) : format_(key_length, weights), image_(fresh_image()) {
        image_.put(0, "AKVS");
        image_.put_number(4, 2, key_length);
        image_.put_number(6, 4, weights);
    }

    void apply(const Step& step) {
        const auto what = static_cast<Forge>(step.what % forge_count);
        switch (what) {
            case Forge::record:
            case Forge::deleted_record:
            case Forge::odd_record: append(what, step); break;
            case Forge::slot: image_.put_number(slot(step.b), 4, near_records(step)); break;
            case Forge::slots:
                for (std::uint32_t i = 0; i < (step.a + 1u) * 256 && step.b + i < 65536; ++i)
                    image_.put_number(slot(step.b + i), 4, near_records(step));
                break;
            case Forge::cross_link:
                if (const Forged* to = forged(step.b)) {
                    const Forged* from = forged(step.a);
                    const bool index = (step.c & 1) != 0;
                    const std::uint64_t at = index ? slot(step.c >> 1) : from->offset + bytes_of(*from) - 4;
                    image_.put_number(at, 4, to->offset + ((step.c & 6) == 6 ? step.c >> 24 : 0));
                }
                break;
            case Forge::link:
                if (const Forged* r = forged(step.a))
                    image_.put_number(r->offset + bytes_of(*r) - 4, 4, near_records(step));
                break;
            case Forge::type:
                if (const Forged* r = forged(step.a))
                    image_.put_number(r->offset + format_.key_length, 1,
                                      (step.b & 0x100) != 0 ? 0x20 | (step.b & 1) : step.b);
                break;
            case Forge::value:
                if (const Forged* r = forged(step.a))
                    image_.put_number(r->offset + format_.key_length + 1 + step.b % (1u << r->length), 4, step.c);
                break;
            case Forge::key:
                if (const Forged* r = forged(step.a)) {
                    const std::vector<std::string>& keys = keys_for(format_.key_length);
                    if ((step.b & 0x8000) != 0)
                        image_.put(r->offset, keys[step.c % keys.size()]);
                    else
                        image_.put_number(r->offset + step.b % format_.key_length, 1, step.c);
                }
                break;
            case Forge::patch:
                image_.put_number(10 + (step.a + 1u) * step.b % (image_.bytes.size() + 1), 4, step.c);
                break;
            case Forge::size: resize(step); break;
            case Forge::header: image_.put_number(step.a % 10, 1, step.c); break;
        }
        damaged_ |= what >= Forge::slot;
    }

    const Format& format() const { return format_; }
    const Image& image() const { return image_; }
    /// False if the file is what a writer could have made.
    bool damaged() const { return damaged_; }

private:
    struct Forged {
        std::uint64_t offset;
        unsigned length;
    };

    std::uint64_t bytes_of(const Forged& record) const { return format_.record_bytes(record.length); }
    static std::uint64_t slot(std::uint32_t bucket) { return 10 + 4 * std::uint64_t{bucket % 65536}; }
    const Forged* forged(std::size_t number) const {
        return forged_.empty() ? nullptr : &forged_[number % forged_.size()];
    }
    /// An offset that may be right: near the records, or any.
    std::uint64_t near_records(const Step& step) const {
        return (step.c & 0x80000000u) != 0 ? step.c & 0x7fffffffu : records_offset - 16 + step.c % 4096;
    }

    void append(Forge what, const Step& step) {
        const std::string& key = keys_for(format_.key_length)[step.a % 16];
        const Datum datum = datum_for(step.b, step.c);
        std::optional<unsigned> length = format_.length_for(datum);
        if (what == Forge::odd_record && length) {
            // A number in another length is damage; a longer text than needed is what a store with other sets leaves.
            unsigned longer = *length + 1;
            while (longer < 16 && !format_.has(longer)) ++longer;
            if (longer > 16) return;
            length = longer;
            damaged_ |= datum.type < kvs::Type::ascii;
        }
        if (!length || image_.size != image_.bytes.size()) return;
        const std::uint64_t at = image_.size, bytes = format_.record_bytes(*length);
        if (at + bytes > 800'000) return;
        // One key has one record; two of them are damage that `verify` has to find.
        if (what != Forge::deleted_record && !living_.insert(key).second) damaged_ = true;
        image_.bytes.resize(at + bytes, 0);
        image_.size += bytes;
        if (what != Forge::deleted_record) image_.put(at, key);
        image_.put_number(at + format_.key_length, 1, type_byte(datum.type, *length));
        image_.put(at + format_.key_length + 1, field(datum, *length));
        const std::uint32_t bucket = format_.bucket(key, *length);
        std::uint64_t& link = last_link_.try_emplace(bucket, slot(bucket)).first->second;
        image_.put_number(link, 4, at);
        link = at + bytes - 4;
        forged_.push_back({at, *length});
    }

    void resize(const Step& step) {
        const std::uint64_t sizes[] = {image_.bytes.size() + step.c % 70000,
                                       step.c % (records_offset + 1),
                                       image_.bytes.size() - std::min<std::size_t>(step.c % 64, image_.bytes.size()),
                                       file_limit - step.c % 70000,
                                       file_limit + 1,
                                       records_offset + step.c % 100,
                                       std::uint64_t{step.c},
                                       0};
        image_.size = sizes[step.a % 8];
        if (image_.bytes.size() > image_.size) image_.bytes.resize(static_cast<std::size_t>(image_.size));
    }

    /// There is one forger at a time, and getting memory for each would take longer than all it does.
    static Image& fresh_image() {
        static Image image;
        image.size = records_offset;
        image.bytes.assign(records_offset, 0);
        return image;
    }

    Format format_;
    Image& image_;
    std::vector<Forged> forged_;
    std::map<std::uint32_t, std::uint64_t> last_link_;  // of the chains as a writer would have made them
    std::set<std::string> living_;
    bool damaged_ = false;
};

/// Changes a recipe into a neighbour.
inline void mutate(Recipe& recipe, std::mt19937_64& random) {
    const auto pick = [&](std::uint64_t below) { return random() % below; };
    const auto number = [&] {
        const unsigned bits = static_cast<unsigned>(pick(33));
        return static_cast<std::uint32_t>(random() & ((std::uint64_t{1} << bits) - 1));
    };
    const auto step = [&](bool forging) {
        Step made{static_cast<std::uint8_t>(pick(forging ? forge_count : 64)), static_cast<std::uint8_t>(pick(18)),
                  static_cast<std::uint16_t>(pick(2) != 0 ? pick(256) : pick(65536)), number()};
        if (forging && pick(2) != 0) made.what = 0;
        return made;
    };
    const bool forging = pick(2) != 0;
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
                    case 0: changed.what = static_cast<std::uint8_t>(pick(256)); break;
                    case 1: changed.a = static_cast<std::uint8_t>(pick(18)); break;
                    case 2: changed.b = static_cast<std::uint16_t>(pick(65536)); break;
                    case 3: changed.c = number(); break;
                    default: changed.c += static_cast<std::uint32_t>(pick(3)) - 1; break;
                }
            }
            break;
        default:
            switch (pick(4)) {
                case 0: recipe.store = static_cast<std::uint8_t>(pick(8)); break;
                case 1: recipe.options = static_cast<std::uint8_t>(pick(256)); break;
                case 2: recipe.weights = pick(2) != 0 ? 0xb9764332u : 0x01010101u; break;
                default: recipe.weights = number(); break;
            }
    }
}

/// What makes one fuzz target another.
struct Target {
    void (*run)(std::span<const std::uint8_t> input);  // throws when the library breaks a promise
    void (*mutate)(Recipe& recipe, std::mt19937_64& random);
};

}  // namespace kvs_fuzz
