// Changing a store of the seed format.
//
// What a change stores, and in which order, so that a process killed between any two stores leaves a file in which
// every other key is as it was and this key has its old value, its new one, or (marked *) a mixture [seed-change]:
//
//   number, same type      the value, in one instruction
//   other value or type    for bytes their count, type byte, then value *
//   new record             the record at the live end, which nothing reaches yet; then, in one instruction, the link
//   reuse of a deleted one type, value; then the key, its first word last
//   erase                  NULs over the key, its first word first
//   other value length     a new record in a bucket of that length; then the old one is erased. In between, both are
//                          there: opening counts such keys, and the next `set` of the key erases the spare one.
//   clear                  the index slots, each in one instruction; other keys may already be gone
//
// A key with more than one word that is half written or half erased begins with a NUL and is not all NUL. No key begins
// so unless it fills the key length, so such a record is nobody's and stays so until `compact_to`. (Where it was a key
// that fills the key length, what is left can be another such key; it is found as that only if it also hashes into this
// bucket.)
//
// A power cut keeps any of these stores and not others; the format has nothing against that.
#ifndef KVS_DETAIL_SEED_CHANGE_HPP
#define KVS_DETAIL_SEED_CHANGE_HPP

#include <bit>
#include <cstddef>
#include <cstdint>

#include <kvs/detail/seed_engine.hpp>

namespace kvs::detail {

/// How many bytes of a record's key lie in the first aligned word that it touches.
constexpr std::size_t key_bytes_in_first_word(std::uint64_t record, std::size_t key_length) noexcept {
    const auto bytes = static_cast<std::size_t>(8 - record % 8);
    return bytes < key_length ? bytes : key_length;
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::put(const KeyType& key, const Encoded& value) noexcept {
    if (key.problem() != errc{}) return key.failure();
    if (is_foreign_process()) return forked();
    unsigned length = 0;
    if (Failure failure = choose_length(value, length)) return failure;
    {
        const Guard<Mutex> one_writer(writers_);
        if (Failure failure = before_change()) return failure;
        const Hint hint = hints_.find(key.quick_hash());
        if (hint && hint.length() == length && is_right(hint, key)) {
            const typename Versions::Change change(versions_, hint.version());
            overwrite({hint.record(), length}, value);
        } else if (Failure failure = put_locked(key, key.hash(), value, length)) {
            return failure;
        }
    }
    return durability_.after_write();
}

template <std::size_t KeyLen, class Sharing, class Platform>
template <unsigned Bytes>
bool SeedEngine<KeyLen, Sharing, Platform>::put_exact(const KeyType& key, Type type, std::uint64_t bits) noexcept {
    if (key.problem() != errc{} || read_only_ || durability_.is_each()) return false;
    if (!had_no_incident()) return false;
    {
        const Guard<Mutex> one_writer(writers_);
        if (!prepared_ || !durability_.is_begun()) return false;
        const Hint hint = hints_.find(key.quick_hash());
        if (layout::value_bytes(hint.length()) != Bytes || !is_right(hint, key)) return false;
        const std::uint64_t type_at = type_offset(hint.record());
        if (region_.template load<1>(type_at) != static_cast<std::uint64_t>(type)) return false;
        const typename Versions::Change change(versions_, hint.version());
        region_.template publish<Bytes>(value_offset(hint.record()), bits);
    }
    // Where writers take no mutex, the thread that syncs can have looked just before the bytes were stored.
    if (std::is_same_v<Mutex, NoMutex> && !durability_.is_begun()) return false;
    return had_no_incident();
}

template <std::size_t KeyLen, class Sharing, class Platform>
template <class May>
Failure SeedEngine<KeyLen, Sharing, Platform>::put_if(const KeyType& key, const Encoded& value, bool& done,
                                                      const May& may) noexcept {
    done = false;
    if (key.problem() != errc{}) return key.failure();
    if (is_foreign_process()) return forked();
    if (read_only_) return opened_read_only();
    unsigned length = 0;
    if (Failure failure = choose_length(value, length)) return failure;
    {
        const Guard<Mutex> one_writer(writers_);
        Failure failure;
        if (!may(failure)) return failure;
        if (Failure problem = before_change()) return problem;
        if (Failure problem = put_locked(key, key.hash(), value, length)) return problem;
    }
    done = true;
    return durability_.after_write();
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::put_if_absent(const KeyType& key, const Encoded& value,
                                                             bool& done) noexcept {
    return put_if(key, value, done,
                  [&](Failure& failure) { return find_all(key, key.hash(), any_length, failure) == Presence::absent; });
}

template <std::size_t KeyLen, class Sharing, class Platform>
Presence SeedEngine<KeyLen, Sharing, Platform>::erase(const KeyType& key, Failure& failure) noexcept {
    if (key.problem() != errc{}) return fail(failure, key.failure());
    if (is_foreign_process()) return fail(failure, forked());
    {
        const Guard<Mutex> one_writer(writers_);
        if (read_only_) return fail(failure, opened_read_only());
        const std::uint32_t hash = key.hash();
        const Presence presence = find_all(key, hash, any_length, failure);
        if (presence != Presence::present) return presence;
        if (Failure problem = before_change()) return fail(failure, problem);
        const typename Versions::Change change(versions_, hash);
        count_keys(0, erase_all(key, hash, any_length));
    }
    if (Failure problem = durability_.after_write()) return fail(failure, problem);
    return Presence::present;
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::clear() noexcept {
    if (is_foreign_process()) return forked();
    {
        const Guard<Mutex> one_writer(writers_);
        if (Failure failure = before_change()) return failure;
        const typename Versions::ChangeOfAll change(versions_);
        for (std::uint32_t bucket = next_used_bucket(region_, 0); bucket < layout::bucket_count;
             bucket = next_used_bucket(region_, bucket + 1))
            region_.template publish<4>(layout::slot_offset(bucket), 0);
        // All records are out of reach, and their space is free.
        const std::uint32_t clears = clears_.load(std::memory_order_relaxed);
        live_end_.store(layout::records_offset, std::memory_order_release);
        keys_.store(0, std::memory_order_relaxed);
        used_lengths_.store(0, std::memory_order_release);
        // [hints] Never again a count that a hint can carry.
        clears_.store(clears != UINT32_MAX ? clears + 1 : most_clears_of_hints + 1, std::memory_order_release);
        has_damage_.store(false, std::memory_order_release);
        has_duplicates_.store(false, std::memory_order_relaxed);
    }
    return durability_.after_write();
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::before_change() noexcept {
    if (read_only_) return opened_read_only();
    if (Failure failure = unless_lost({})) return failure;
    if (!prepared_) {
        if (Failure failure = file_.fill_holes(file_bytes_)) return failure;
        prepared_ = true;
    }
    return durability_.before_write();
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::choose_length(const Encoded& value, unsigned& length) const noexcept {
    if (value.type < Type::ascii) {
        length = layout::length_of_number(value.type);
        return {};
    }
    const std::uint64_t extra = value.type == Type::bytes ? layout::count_bytes : 0;
    length = geometry_.smallest_for(value.size + extra, layout::shortest_text);
    if (length < layout::length_count) return {};
    return {errc::value_too_long, "the value is too long for the store",
            Fact::at_most(layout::value_bytes(layout::length_count - 1) - extra), Fact::of_bytes(value.size)};
}

template <std::size_t KeyLen, class Sharing, class Platform>
Failure SeedEngine<KeyLen, Sharing, Platform>::put_locked(const KeyType& key, std::uint32_t hash, const Encoded& value,
                                                          unsigned length) noexcept {
    Failure failure;
    Place place;
    Vacancy vacancy;
    const Presence here = find_or_vacancy(key, hash, length, place, vacancy, failure);
    if (here == Presence::failed) return failure;
    if (here == Presence::present) {
        const typename Versions::Change change(versions_, hash);
        overwrite(place, value);
        if (has_duplicates_.load(std::memory_order_relaxed)) count_keys(0, erase_all(key, hash, length));
        remember(key, hash, place);
        return {};
    }
    // Where a link is wrong, a new record could be put into the middle of another.
    if (has_damage_.load(std::memory_order_relaxed) && is_damaged(geometry_.bucket(hash, length)))
        return {errc::corrupt, "the key's chain was damaged when the file was opened, and takes no new record"};
    // One key, one value: a value of another length goes once the new one is there, and no reader sees both.
    const Presence elsewhere = find_all(key, hash, length, failure);
    if (elsewhere == Presence::failed) return failure;
    place = {vacancy.deleted_record, length};
    if (place.record == 0) {
        place.record = live_end_.load(std::memory_order_relaxed);
        if (Failure problem = file_.ensure_space(file_bytes_, place.record + layout::record_bytes(KeyLen, length)))
            return problem;
    }
    const typename Versions::Change change(versions_, hash);
    if (vacancy.deleted_record != 0)
        reuse(key, value, place);
    else
        append(key, value, place, vacancy.link);
    count_keys(1, elsewhere == Presence::present ? erase_all(key, hash, length) : 0);
    remember(key, hash, place);
    return {};
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::remember(const KeyType& key, std::uint32_t hash,
                                                     const Place& place) noexcept {
    const std::uint32_t clears = clears_.load(std::memory_order_relaxed);
    if (clears <= most_clears_of_hints)
        hints_.remember(Hint(place.record, place.length, hash, key.quick_hash(), clears), key.quick_hash());
}

template <std::size_t KeyLen, class Sharing, class Platform>
Presence SeedEngine<KeyLen, Sharing, Platform>::find_or_vacancy(const KeyType& key, std::uint32_t hash, unsigned length,
                                                                Place& place, Vacancy& vacancy,
                                                                Failure& failure) const noexcept {
    Chain<Region> walk = chain(geometry_.bucket(hash, length), length);
    while (walk.next()) {
        if (region_.template equal<KeyLen>(walk.record(), key.words())) {
            place = {walk.record(), length};
            return Presence::present;
        }
        if (vacancy.deleted_record == 0 && region_.all_zero(walk.record(), KeyLen))
            vacancy.deleted_record = walk.record();
    }
    vacancy.link = walk.link();
    return walk.damaged() ? fail(failure, walk.failure()) : Presence::absent;
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::overwrite(const Place& place, const Encoded& value) noexcept {
    // Text that was there before must not be taken for a byte count: it could be larger than the field.
    if (value.type == Type::bytes)
        region_.template publish<layout::count_bytes>(value_offset(place.record), value.size);
    const std::uint8_t type = layout::encode_type(value.type, place.length);
    if (region_.template load<1>(type_offset(place.record)) != type)
        region_.template publish<1>(type_offset(place.record), type);
    store_value(value_offset(place.record), place.length, value);
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::store_value(std::uint64_t at, unsigned length,
                                                        const Encoded& value) noexcept {
    if (value.type < Type::ascii) {
        switch (length) {
            case 0: region_.template publish<1>(at, value.bits); break;
            case 1: region_.template publish<2>(at, value.bits); break;
            case 2: region_.template publish<4>(at, value.bits); break;
            default: region_.template publish<8>(at, value.bits); break;
        }
        return;
    }
    const std::uint64_t end = at + layout::value_bytes(length);
    if (value.type == Type::bytes) {
        region_.template publish<layout::count_bytes>(at, value.size);
        at += layout::count_bytes;
    }
    region_.store(at, value.data, value.size);
    region_.store_zeros(at + value.size, end - at - value.size);
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::reuse(const KeyType& key, const Encoded& value,
                                                  const Place& place) noexcept {
    overwrite(place, value);
    const std::size_t first_word = key_bytes_in_first_word(place.record, KeyLen);
    region_.store(place.record + first_word, key.padded() + first_word, KeyLen - first_word);
    region_.store(place.record, key.padded(), first_word);
}

template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::append(const KeyType& key, const Encoded& value, const Place& place,
                                                   std::uint64_t link) noexcept {
    const std::uint64_t end = place.record + layout::record_bytes(KeyLen, place.length);
    region_.store(place.record, key.padded(), KeyLen);
    region_.template publish<1>(type_offset(place.record), layout::encode_type(value.type, place.length));
    store_value(value_offset(place.record), place.length, value);
    region_.store_zeros(end - layout::link_bytes, layout::link_bytes);
    live_end_.store(end, std::memory_order_release);
    used_lengths_.store(used_lengths_.load(std::memory_order_relaxed) | std::uint32_t{1} << place.length,
                        std::memory_order_release);
    region_.template publish<4>(link, place.record);
}

/// Erases every record of the key but those of one value length; returns how many.
template <std::size_t KeyLen, class Sharing, class Platform>
std::uint64_t SeedEngine<KeyLen, Sharing, Platform>::erase_all(const KeyType& key, std::uint32_t hash,
                                                               unsigned but) noexcept {
    std::uint64_t erased = 0;
    for (std::uint32_t rest = without(used_lengths_.load(std::memory_order_relaxed), but); rest != 0;
         rest &= rest - 1) {
        const auto length = static_cast<unsigned>(std::countr_zero(rest));
        Chain<Region> walk = chain(geometry_.bucket(hash, length), length);
        while (walk.next()) {
            if (!region_.template equal<KeyLen>(walk.record(), key.words())) continue;
            const std::size_t first_word = key_bytes_in_first_word(walk.record(), KeyLen);
            region_.store_zeros(walk.record(), first_word);
            region_.store_zeros(walk.record() + first_word, KeyLen - first_word);
            ++erased;
        }
    }
    return erased;
}

/// A damaged file can have keys that were not counted when it was opened.
template <std::size_t KeyLen, class Sharing, class Platform>
void SeedEngine<KeyLen, Sharing, Platform>::count_keys(std::uint64_t more, std::uint64_t fewer) noexcept {
    const std::uint64_t keys = size() + more;
    keys_.store(keys > fewer ? keys - fewer : 0, std::memory_order_relaxed);
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_SEED_CHANGE_HPP
