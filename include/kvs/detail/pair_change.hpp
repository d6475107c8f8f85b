// Changing a store of paired records.
//
// [write-rule] A slot that is durable (epoch <= D) and its record's newest valid one is never written over before a
// later sync has completed. So: newest <= D: the other slot is written; newest = D + 1: that one again, for the other
// holds the durable value. Key bytes change only when another key takes over a deleted record whose deletion is durable
// (else a power cut could leave a living value under a foreign key).
//
// [insert] `set` uses, in this order: the key's live record; a dead one with the same key bytes; a dead one whose
// deletion is durable; a new one at the live end. The bytes of a new record are stored whole before anything leads to
// it, an empty slot B and an empty link included: what lies there may be left from before a crash.
//
// [commit] A value that replaces a durable one of the same length goes into the idle slot: header 0, the rest, header.
// Killed in between, the record has its other slot. All else goes through the journal in one entry: slots, keys, links
// and counts. The pending word is set before anything of a new epoch can be seen.
//
// [one-flush] If that value is the first change since the last sync, by anybody, the pending word then names its slot,
// for the sync (pair_sync.hpp). The next change takes the name back before it stores anything.
//
// A value of another length is such an entry: the new record lives and the old one is deleted in one.
#ifndef KVS_DETAIL_PAIR_CHANGE_HPP
#define KVS_DETAIL_PAIR_CHANGE_HPP

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <kvs/detail/pair_engine.hpp>

namespace kvs::detail {

/// Where a change of one key can go.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
struct PairEngine<KeyLen, Sharing, Form, Platform>::Survey {
    Found live;                                         ///< the key's record of the wanted length; record 0 = none
    Found own;                                          ///< a dead or damaged one with its key bytes
    Found free;                                         ///< a dead one whose deletion is durable
    std::uint64_t link = 0;                             ///< the chain's last link, which is 0
    std::array<Found, layout::length_count> elsewhere;  ///< live records of the key in other lengths
    std::size_t elsewhere_count = 0;
};

/// The bytes of a slot to be: head and the beginning of the value as words in memory order, the rest where the caller
/// has it.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
struct PairEngine<KeyLen, Sharing, Form, Platform>::SlotImage {
    static constexpr std::size_t most_words = 10;

    std::uint64_t offset = 0;
    std::uint64_t words[most_words];
    std::size_t word_count = 2;       ///< header, checksum and count, value
    const std::byte* rest = nullptr;  ///< what did not fit, whole words
    std::size_t rest_bytes = 0;
    std::uint64_t tail = 0;  ///< the last bytes, filled with NULs
    bool has_tail = false;

    const std::byte* bytes() const noexcept { return reinterpret_cast<const std::byte*>(words); }
    std::uint64_t rest_offset() const noexcept { return offset + 8 * word_count; }
    std::uint64_t tail_offset() const noexcept { return rest_offset() + rest_bytes; }
};

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::put(const KeyType& key, const Encoded& value) noexcept {
    if (key.problem() != errc{}) return key.failure();
    if (is_foreign_process()) return forked();
    unsigned length = 0;
    if (Failure failure = choose_length(value, length)) return failure;
    {
        const Guard<WriterLock> one_writer(writers_);
        if (Failure failure = before_change()) return failure;
        if (!put_by_hint(key, value, length))
            if (Failure failure = put_locked(key, key.hash(), value, length)) return failure;
    }
    return durability_.after_write();
}

/// Of a value that was set since the last sync: its slot is written again, by the journal. That the slot is the newest,
/// and of this epoch and type, is proved by its header, which is the one that it will have. So nothing of the store but
/// two words of the slot changes.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
template <unsigned Bytes>
bool PairEngine<KeyLen, Sharing, Form, Platform>::put_exact(const KeyType& key, Type type,
                                                            std::uint64_t bits) noexcept {
    if (key.problem() != problem_of_short_way_ || durability_.is_each()) return false;
    if (!had_no_incident()) return false;
    const Guard<WriterLock> one_writer(writers_);
    return is_begun() && put_exact_here<Bytes>(key, type, bits) && had_no_incident();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
template <unsigned Bytes>
bool PairEngine<KeyLen, Sharing, Form, Platform>::put_exact_here(const KeyType& key, Type type,
                                                                 std::uint64_t bits) noexcept {
    constexpr auto length = static_cast<unsigned>(std::countr_zero(Bytes));
    const Hint hint = hints_.find(key.quick_hash());
    const Mapped file = region_.mapped();
    if (layout::value_bytes(hint.length()) != Bytes || !is_right(file, hint, key)) return false;
    const std::uint64_t epoch = file.load_word(pair_shared::durable_epoch) + 1;
    const std::uint64_t first = hint.record() + pair_layout::slot_offset(KeyLen, length, 0);
    const std::uint64_t second = first + pair_layout::slot_bytes(length);
    const SlotHeader a(file.template load<8>(first));
    const SlotHeader b(file.template load<8>(second));
    const std::uint64_t slot = b.epoch() > a.epoch() ? second : first;
    const SlotHeader header(epoch, layout::encode_type(type, length), slot);
    if (header.word() != (b.epoch() > a.epoch() ? b : a).word()) return false;
    SumState sum{typename SumState::Quick{}};
    add_key(sum, key.words());
    sum.add(memory_order(header.word()));
    sum.add(memory_order(Bytes));
    const std::uint64_t value = memory_order(bits << 8 * (8 - Bytes));
    sum.add(value);
    const std::uint64_t words[] = {memory_order(std::uint64_t{sum.value()} << 32 | Bytes), value};
    const typename Versions::Change change(versions_, hint.version());
    journal_.replace(slot + 8, words, 2);
    return true;
}

/// True if `before_change` has nothing to do.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::is_begun() const noexcept {
    return prepared_ && durability_.is_begun() && shared_word(pair_shared::failed) == 0 &&
           shared_word(pair_shared::in_use) != 0 && next_epoch() <= pair_layout::last_epoch &&
           shared_word(pair_shared::pending) == pair_shared::pending_any;
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
template <class May>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::put_if(const KeyType& key, const Encoded& value, bool& done,
                                                            const May& may) noexcept {
    done = false;
    if (key.problem() != errc{}) return key.failure();
    if (is_foreign_process()) return forked();
    if (read_only_) return opened_read_only();
    unsigned length = 0;
    if (Failure failure = choose_length(value, length)) return failure;
    {
        const Guard<WriterLock> one_writer(writers_);
        Failure failure;
        {
            const Viewer viewer(viewer_);
            if (!may(failure)) return failure;
        }
        if (Failure problem = before_change()) return problem;
        if (Failure problem = put_locked(key, key.hash(), value, length)) return problem;
    }
    done = true;
    return durability_.after_write();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::put_if_absent(const KeyType& key, const Encoded& value,
                                                                   bool& done) noexcept {
    return put_if(key, value, done, [&](Failure& failure) {
        Found found;
        return find(key, key.hash(), any_length, found, failure) == Presence::absent;
    });
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Presence PairEngine<KeyLen, Sharing, Form, Platform>::erase(const KeyType& key, Failure& failure) noexcept {
    if (key.problem() != errc{}) return fail(failure, key.failure());
    if (is_foreign_process()) return fail(failure, forked());
    {
        const Guard<WriterLock> one_writer(writers_);
        if (read_only_) return fail(failure, opened_read_only());
        const std::uint32_t hash = key.hash();
        Found found;
        const Presence presence = find(key, hash, any_length, found, failure);
        if (presence != Presence::present) return presence;
        if (Failure problem = before_change()) return fail(failure, problem);
        Survey where;
        if (Failure problem = survey(key, hash, any_length, where)) return fail(failure, problem);
        journal_.begin();
        for (std::size_t i = 0; i < where.elsewhere_count; ++i)
            add_erasure(where.elsewhere[i].place, where.elsewhere[i].view);
        journal_.add_word(pair_shared::keys, count_keys(shared_word(pair_shared::keys), 0, where.elsewhere_count,
                                                        shared_word(pair_shared::records)));
        {
            const typename Versions::Change change(versions_, hash);
            journal_.commit();
            journal_.apply();
        }
    }
    if (Failure problem = durability_.after_write()) return fail(failure, problem);
    return Presence::present;
}

/// [clear] After a sync all slots are of epoch D or earlier: C = D makes them void, and later ones are not. It is
/// durable with the next sync, that is when C < D.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::clear() noexcept {
    if (is_foreign_process()) return forked();
    {
        const Guard<WriterLock> one_writer(writers_);
        if (Failure failure = before_change()) return failure;
        if (Failure failure = sync_locked()) return failure;
        if (Failure failure = before_change()) return failure;
        journal_.begin();
        journal_.add_word(pair_shared::void_epoch, shared_word(pair_shared::durable_epoch));
        journal_.add_word(pair_shared::keys, 0);
        {
            const typename Versions::ChangeOfAll change(versions_);
            journal_.commit();
            journal_.apply();
        }
    }
    return durability_.after_write();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::before_change() noexcept {
    if (read_only_) return opened_read_only();
    if (has_lost_page()) return lost_page();
    if (shared_word(pair_shared::failed) != 0) return not_durable();
    if (!prepared_) {
        if (Failure failure = refresh_size()) return failure;
        if (Failure failure = file_.fill_holes(file_bytes_)) return failure;
        prepared_ = true;
    }
    if (Failure failure = durability_.before_write()) return failure;
    if (shared_word(pair_shared::in_use) == 0)
        if (Failure failure = mark_in_use()) return failure;
    if (next_epoch() > pair_layout::last_epoch)
        return {errc::store_full, "the store has been synced as often as its format allows; copy it with compact_to"};
    const std::uint64_t pending = shared_word(pair_shared::pending);
    is_first_ = pending == 0;
    if (pending != pair_shared::pending_any) region_.publish_word(pair_shared::pending, pair_shared::pending_any);
    return {};
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::choose_length(const Encoded& value,
                                                                   unsigned& length) const noexcept {
    if (value.type < Type::ascii) {
        length = layout::length_of_number(value.type);
        return {};
    }
    length = geometry_.smallest_for(value.size, layout::shortest_text);
    if (length < layout::length_count) return {};
    return {errc::value_too_long, "the value is too long for the store",
            Fact::at_most(layout::value_bytes(layout::length_count - 1)), Fact::of_bytes(value.size)};
}

/// Looks for all that a change of the key has to know. With `any_length`, only for its live records.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::survey(const KeyType& key, std::uint32_t hash, unsigned length,
                                                            Survey& found) const noexcept {
    std::uint32_t lengths = used_lengths();
    if (length != any_length) lengths |= std::uint32_t{1} << length;
    for (; lengths != 0; lengths &= lengths - 1) {
        const auto here = static_cast<unsigned>(std::countr_zero(lengths));
        Chain walk = chain(geometry_.bucket(hash, here), here);
        while (walk.next()) {
            const Place place{walk.record(), here};
            if (region_.template equal<KeyLen>(place.record, key.words())) {
                const View view = look(place, key.words());
                if (here == length) {
                    Found& target = view.state == View::State::live ? found.live : found.own;
                    if (target.place.record == 0) target = {place, view};
                } else if (view.state == View::State::live && found.elsewhere_count < found.elsewhere.size()) {
                    found.elsewhere[found.elsewhere_count++] = {place, view};
                }
            } else if (here == length && found.free.place.record == 0) {
                const View view = look(place);
                if (view.state == View::State::dead && is_deletion_durable(view)) found.free = {place, view};
            }
        }
        if (walk.damaged()) return walk.failure();
        if (here == length) found.link = walk.link();
    }
    return {};
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::is_deletion_durable(const View& view) const noexcept {
    const std::uint64_t durable = shared_word(pair_shared::durable_epoch);
    const std::uint64_t voided = shared_word(pair_shared::void_epoch);
    if (view.damage) return false;
    return view.header.epoch() <= voided ? voided < durable : view.header.epoch() <= durable;
}

/// [write-rule] Chooses the slot to write; true if it is idle, so that a kill while it is being written harms nothing.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::may_overwrite(const View& view, unsigned& which) const noexcept {
    which = view.which;
    if (view.state == View::State::damaged) return false;
    if (view.header.epoch() > shared_word(pair_shared::durable_epoch)) return false;
    which = 1 - view.which;
    return true;
}

/// The slot that a value (null: a deletion) makes of `which`.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
auto PairEngine<KeyLen, Sharing, Form, Platform>::image_of(const Place& place, unsigned which, const Encoded* value,
                                                           const std::uint64_t* key, std::uint64_t epoch) const noexcept
    -> SlotImage {
    SlotImage image;
    image.offset = slot_at(place, which);
    const std::uint8_t type = value != nullptr ? layout::encode_type(value->type, place.length) : pair_layout::deleted;
    const SlotHeader header(epoch, type, image.offset);
    std::uint64_t size = 0;
    if (value != nullptr && value->type < Type::ascii) {
        size = layout::value_bytes(place.length);
        image.words[image.word_count++] = memory_order(value->bits << 8 * (8 - size));
    } else if (value != nullptr) {
        size = value->size;
        const std::byte* from = value->data;
        std::size_t left = value->size;
        for (; left >= 8 && image.word_count + 1 < SlotImage::most_words; from += 8, left -= 8)
            image.words[image.word_count++] = local_word(from, 8);
        image.rest = from;
        image.rest_bytes = left / 8 * 8;
        image.has_tail = left % 8 != 0;
        if (image.has_tail) image.tail = local_word(from + image.rest_bytes, left % 8);
        if (image.has_tail && image.rest_bytes == 0) {
            image.words[image.word_count++] = image.tail;
            image.has_tail = false;
        }
    }
    SumState sum;
    checksum_head(sum, place, header, memory_order(size), key);
    for (std::size_t i = 2; i < image.word_count; ++i) sum.add(image.words[i]);
    for (std::size_t i = 0; i < image.rest_bytes; i += 8) sum.add(local_word(image.rest + i, 8));
    if (image.has_tail) sum.add(image.tail);
    image.words[0] = memory_order(header.word());
    image.words[1] = memory_order(std::uint64_t{sum.value()} << 32 | size);
    return image;
}

/// Into a slot that nobody misses: empty first, whole last.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::store_idle(const SlotImage& image) noexcept {
    region_.publish_word(image.offset, 0);
    region_.store(image.offset + 8, image.bytes() + 8, 8 * (image.word_count - 1));
    region_.store(image.rest_offset(), image.rest, image.rest_bytes);
    if (image.has_tail) region_.publish_word(image.tail_offset(), image.tail);
    region_.publish_word(image.offset, image.words[0]);
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::add_slot(const SlotImage& image) {
    journal_.add(image.offset, image.words, 8 * image.word_count);
    if (image.rest_bytes != 0) journal_.add(image.rest_offset(), image.rest, image.rest_bytes);
    if (image.has_tail) journal_.add(image.tail_offset(), &image.tail, 8);
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::add_erasure(const Place& place, const View& view) {
    unsigned which = 0;
    may_overwrite(view, which);
    add_slot(image_of(place, which, nullptr, nullptr, next_epoch()));
}

/// Stores a new record where nothing leads to it.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::store_record(const KeyType& key, const Encoded& value,
                                                                  const Place& place, std::uint64_t link,
                                                                  std::uint32_t bucket) noexcept {
    if (Failure failure = ensure_space(place.record + pair_layout::record_bytes(KeyLen, place.length))) return failure;
    region_.template publish<4>(place.record - pair_layout::check_bytes,
                                pair_layout::record_check(link, place.record, bucket, place.length));
    region_.store(place.record, key.padded(), KeyLen);
    region_.template publish<1>(place.record + KeyLen, pair_layout::paired_type | place.length);
    store_idle(image_of(place, 0, &value, key.words(), next_epoch()));
    region_.publish_word(slot_at(place, 1), 0);
    region_.template publish<4>(place.record + pair_layout::link_offset(KeyLen, place.length), 0);
    return {};
}

/// The short way: the key's record is where it was before, and has the right length. False says nothing.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
bool PairEngine<KeyLen, Sharing, Form, Platform>::put_by_hint(const KeyType& key, const Encoded& value,
                                                              unsigned length) noexcept {
    const Hint hint = hints_.find(key.quick_hash());
    if (!hint || hint.length() != length || !is_right(hint, key)) return false;
    const Place place{hint.record(), length};
    const View view = look(place, key.words());
    if (view.state != View::State::live || view.damage) return false;
    unsigned which = 0;
    const bool is_idle = may_overwrite(view, which);
    const SlotImage image = image_of(place, which, &value, key.words(), next_epoch());
    const typename Versions::Change change(versions_, hint.version());
    if (is_idle) {
        store_idle(image);
        name_lone(image);
    } else {
        replace(image);
    }
    return true;
}

/// [one-flush] Of a whole slot, in a record that was there at D, beside the value that counted at D.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::name_lone(const SlotImage& image) noexcept {
    if (is_first_ && durability_.is_each()) region_.publish_word(pair_shared::pending, image.offset);
}

/// One slot by the journal.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::replace(const SlotImage& image) noexcept {
    if (image.rest_bytes == 0 && !image.has_tail) return journal_.replace(image.offset, image.words, image.word_count);
    journal_.begin();
    add_slot(image);
    journal_.commit();
    journal_.apply();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::put_locked(const KeyType& key, std::uint32_t hash,
                                                                const Encoded& value, unsigned length) noexcept {
    Survey where;
    if (Failure failure = survey(key, hash, length, where)) return failure;
    const bool has_live = where.live.place.record != 0;
    unsigned which = 0;
    if (has_live && where.elsewhere_count == 0 && may_overwrite(where.live.view, which)) {
        const SlotImage image = image_of(where.live.place, which, &value, key.words(), next_epoch());
        const typename Versions::Change change(versions_, hash);
        store_idle(image);
        if (!where.live.view.damage) name_lone(image);
        return {};
    }
    const bool takes_over = !has_live && where.own.place.record == 0 && where.free.place.record != 0;
    const Found& target = has_live ? where.live : takes_over ? where.free : where.own;
    Place place = target.place;
    const bool is_new = place.record == 0;
    if (is_new) {
        place = {pair_layout::next_record(shared_word(pair_shared::live_end), KeyLen), length};
        if (Failure failure = store_record(key, value, place, where.link, geometry_.bucket(hash, length)))
            return failure;
    }
    const typename Versions::Change change(versions_, hash);
    journal_.begin();
    if (is_new) {
        use_length(length);
        journal_.add_link(where.link, place.record);
        journal_.add_word(pair_shared::live_end, place.record + pair_layout::record_bytes(KeyLen, length));
        journal_.add_word(pair_shared::records, shared_word(pair_shared::records) + 1);
    } else {
        may_overwrite(target.view, which);
        if (takes_over) journal_.add(place.record, key.padded(), KeyLen);
        if (target.view.state == View::State::damaged) journal_.add_word(slot_at(place, 1 - which), 0);
        add_slot(image_of(place, which, &value, key.words(), next_epoch()));
    }
    for (std::size_t i = 0; i < where.elsewhere_count; ++i)
        add_erasure(where.elsewhere[i].place, where.elsewhere[i].view);
    const std::uint64_t keys = count_keys(shared_word(pair_shared::keys), has_live ? 0 : 1, where.elsewhere_count,
                                          shared_word(pair_shared::records) + (is_new ? 1 : 0));
    if (keys != shared_word(pair_shared::keys)) journal_.add_word(pair_shared::keys, keys);
    journal_.commit();
    journal_.apply();
    remember(key, hash, place);
    return {};
}

/// What the steps so far make of the counts, and of the chain of the bucket that they have come to.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
struct PairEngine<KeyLen, Sharing, Form, Platform>::BatchProgress {
    std::uint64_t live_end;
    std::uint64_t records;
    std::uint64_t keys;
    std::uint32_t bucket = layout::bucket_count;
    std::uint64_t last_link = 0;
    std::vector<std::uint64_t> taken{};  ///< records that have a new value, of this key or another
};

/// The operations in the order of their buckets; of those on one key only the last one.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::plan(const std::vector<Operation>& operations,
                                                          std::vector<BatchStep>& steps, std::size_t& failed) const {
    steps.reserve(operations.size());
    for (const Operation& operation : operations) {
        failed = steps.size();
        if (operation.key.problem() != errc{}) return operation.key.failure();
        BatchStep step{operation.key.padded(), steps.size(), operation.key.hash(), any_length, 0};
        if (!operation.erases) {
            if (Failure failure = choose_length(operation.value, step.length)) return failure;
            step.bucket = geometry_.bucket(step.hash, step.length);
        }
        steps.push_back(step);
    }
    failed = operations.size();
    order_steps(steps, KeyLen);
    return {};
}

/// One journal entry for all operations. They come in the order of their buckets, so that several new records of one
/// chain come one after the other: only the last link and the records taken over have to be kept in mind.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::apply(const std::vector<Operation>& operations,
                                                           std::size_t& failed) {
    if (is_foreign_process()) return forked();
    if (read_only_) return opened_read_only();
    std::vector<BatchStep> steps;
    if (Failure failure = plan(operations, steps, failed)) return failure;
    {
        const Guard<WriterLock> one_writer(writers_);
        if (Failure failure = before_change()) return failure;
        journal_.begin_staged();
        BatchProgress batch{shared_word(pair_shared::live_end), shared_word(pair_shared::records),
                            shared_word(pair_shared::keys)};
        for (const BatchStep& step : steps)
            if (Failure failure = add_step(operations[step.number], step, batch)) return failure;
        if (journal_.is_empty()) return {};
        journal_.add_word(pair_shared::live_end, batch.live_end);
        journal_.add_word(pair_shared::records, batch.records);
        journal_.add_word(pair_shared::keys, batch.keys);
        const std::uint64_t behind = pair_layout::padded(batch.live_end);
        if (Failure failure = ensure_space(behind + journal_.bytes())) return failure;
        journal_.settle(behind);
        {
            const typename Versions::ChangeOfAll change(versions_);
            journal_.commit();
            journal_.apply();
        }
    }
    return durability_.after_write();
}

/// Adds to the journal's entry what one operation changes. A new record is stored at once, where nothing leads to it.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::add_step(const Operation& operation, const BatchStep& step,
                                                              BatchProgress& batch) {
    const KeyType& key = operation.key;
    Survey where;
    if (Failure failure = survey(key, step.hash, step.length, where)) return failure;
    for (std::size_t i = 0; i < where.elsewhere_count; ++i)
        add_erasure(where.elsewhere[i].place, where.elsewhere[i].view);
    batch.keys = count_keys(batch.keys, 0, where.elsewhere_count, batch.records);
    if (operation.erases) return {};
    if (step.bucket != batch.bucket) {
        batch.bucket = step.bucket;
        batch.last_link = where.link;
        batch.taken.clear();
    }
    const auto is_taken = [&](const Found& found) {
        return std::find(batch.taken.begin(), batch.taken.end(), found.place.record) != batch.taken.end();
    };
    const bool has_live = where.live.place.record != 0;
    Found target = has_live ? where.live : where.own;
    bool takes_over = false;
    if (target.place.record == 0 || is_taken(target)) {
        target = is_taken(where.free) ? Found{} : where.free;
        takes_over = target.place.record != 0;
    }
    Place place = target.place;
    if (place.record == 0) {
        place = {pair_layout::next_record(batch.live_end, KeyLen), step.length};
        if (Failure failure = store_record(key, operation.value, place, batch.last_link, batch.bucket)) return failure;
        use_length(step.length);
        journal_.add_link(batch.last_link, place.record);
        batch.last_link = place.record + pair_layout::link_offset(KeyLen, place.length);
        batch.live_end = place.record + pair_layout::record_bytes(KeyLen, place.length);
        ++batch.records;
    } else {
        unsigned which = 0;
        may_overwrite(target.view, which);
        if (takes_over) journal_.add(place.record, key.padded(), KeyLen);
        if (target.view.state == View::State::damaged) journal_.add_word(slot_at(place, 1 - which), 0);
        add_slot(image_of(place, which, &operation.value, key.words(), next_epoch()));
        batch.taken.push_back(place.record);
    }
    batch.keys = count_keys(batch.keys, has_live ? 0 : 1, 0, batch.records);
    return {};
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::remember(const KeyType& key, std::uint32_t hash,
                                                           const Place& place) noexcept {
    hints_.remember(Hint(place.record, place.length, hash, key.quick_hash(), 0), key.quick_hash());
}

/// Before a record of the length can be reached.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
void PairEngine<KeyLen, Sharing, Form, Platform>::use_length(unsigned length) noexcept {
    const std::uint64_t used = used_lengths() | std::uint64_t{1} << length;
    if (used != shared_word(pair_shared::lengths)) region_.publish_word(pair_shared::lengths, used);
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_CHANGE_HPP
