// The redo journal: several changes of mapped bytes become one [journal].
//
// A change that is more than one store is written down first: images, each of them the bytes that a place is to have.
// Then `valid` is published; then the images are copied to their places; then `valid` is taken back. Killed before
// `valid`, nothing has happened; killed behind it, whoever opens the file copies the images again, to the same effect.
//
// Only a killed process's journal is applied. After a power cut its pages are a mixture like all others, and it is left
// alone: recovery does without.
//
// In the shared area lies room for any change of one key: for most of them on the page of the other shared words, which
// every change dirties anyway, so that the device has no page more to write. What comes to need more moves to the
// larger room before it counts. A batch that needs more than that has its images behind the last record, where nothing
// reaches them and the next record is written over them.
//
// An image is a word (offset << 32 | bytes), then its bytes, filled up to whole words.
#ifndef KVS_DETAIL_JOURNAL_HPP
#define KVS_DETAIL_JOURNAL_HPP

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <kvs/detail/pair_layout.hpp>
#include <kvs/error.hpp>

namespace kvs::detail {

template <class Region, class File>
class Journal {
public:
    static constexpr std::uint64_t small_room = pair_layout::shared::small_journal_bytes / 8;
    static constexpr std::uint64_t room = pair_layout::shared::journal_bytes / 8;

    Journal(Region& region, const File& file) noexcept : region_(region), file_(file) {}

    /// Begins an entry that is written to the shared area as it comes; it must fit.
    void begin() noexcept {
        words_ = 0;
        place_ = pair_layout::shared::small_journal;
        staged_ = false;
        by_calls_ = false;
        is_found_ = false;
    }
    /// Begins an entry of any size, kept in memory until `settle`.
    void begin_staged() noexcept {
        begin();
        staged_ = true;
        staging_.clear();
    }

    /// The bytes that a place of the file is to have. Allocates if the entry is staged.
    void add(std::uint64_t offset, const void* from, std::size_t bytes) {
        put(offset << 32 | bytes);
        const auto* at = static_cast<const std::byte*>(from);
        for (; bytes >= 8; at += 8, bytes -= 8) put(local_word(at, 8));
        if (bytes != 0) put(local_word(at, bytes));
    }
    /// The same for a word of the shared area.
    void add_word(std::uint64_t offset, std::uint64_t value) { add(offset, &value, sizeof value); }
    /// The same for a link.
    void add_link(std::uint64_t offset, std::uint64_t target) {
        std::byte bytes[layout::link_bytes];
        store_big_endian<layout::link_bytes>(bytes, target);
        add(offset, bytes, sizeof bytes);
    }

    bool is_empty() const noexcept { return words_ == 0; }
    std::uint64_t bytes() const noexcept { return 8 * words_; }

    /// Brings a staged entry to where a journal is: to the shared area if it fits, else to `behind`, where there must
    /// be space.
    void settle(std::uint64_t behind) noexcept {
        if (words_ > small_room) place_ = words_ > room ? behind : pair_layout::shared::journal;
        region_.store(place_, reinterpret_cast<const std::byte*>(staging_.data()), 8 * words_);
    }

    /// From here on the entry has happened.
    void commit() noexcept {
        using namespace pair_layout;
        region_.publish_word(shared::journal_place, place_);
        region_.publish_word(shared::journal_words, words_);
        region_.publish_word(shared::journal_valid, 1);
    }

    /// Copies the images to their places.
    void apply() noexcept {
        apply_while([](std::uint64_t, std::uint64_t) { return true; });
    }
    /// The same, up to an image that is not whole or of which `may(offset, bytes)` says no.
    template <class May>
    void apply_while(const May& may) noexcept {
        for (std::uint64_t at = 0; at < words_;) {
            const std::uint64_t head = word(at);
            const std::uint64_t bytes = head & 0xffffffffu;
            if (!is_whole(at, bytes) || !may(head >> 32, bytes)) break;
            copy(head >> 32, at + 1, bytes);
            at += 1 + pair_layout::padded(bytes) / 8;
        }
        region_.publish_word(pair_layout::shared::journal_valid, 0);
        is_found_ = false;
    }

    /// `begin`, `add`, `commit` and `apply` for one image of a few words that the caller has: the same stores in the
    /// same order, but nothing is read back, which would wait for the stores.
    void replace(std::uint64_t offset, const std::uint64_t* words, std::size_t count) noexcept {
        using namespace pair_layout;
        auto file = region_.mapped();
        file.publish_word(shared::small_journal, offset << 32 | 8 * count);
        for (std::size_t i = 0; i < count; ++i) file.publish_word(shared::small_journal + 8 + 8 * i, words[i]);
        file.publish_word(shared::journal_place, shared::small_journal);
        file.publish_word(shared::journal_words, 1 + count);
        file.publish_word(shared::journal_valid, 1);
        for (std::size_t i = 0; i < count; ++i) file.publish_word(offset + 8 * i, words[i]);
        file.publish_word(shared::journal_valid, 0);
    }

    /// Takes over what a killed process left; `is_sound` says whether it can be one. True if there is anything, which
    /// `is_found` repeats until it is applied.
    ///
    /// `by_calls` is for who has no right to the file: others may finish the journal, and write theirs there or cut the
    /// file behind it, at any time. So it is read by system calls, which say so where a load from the mapping would be
    /// a bus error, and each word that was looked at is looked at again when it is used.
    bool find(std::uint64_t file_bytes, bool& is_sound, bool by_calls = false) noexcept {
        using namespace pair_layout;
        is_sound = true;
        is_found_ = region_.load_word(shared::journal_valid) == 1;
        if (!is_found_) return false;
        place_ = region_.load_word(shared::journal_place);
        words_ = region_.load_word(shared::journal_words);
        staged_ = false;
        by_calls_ = by_calls;
        window_words_ = 0;
        failure_ = {};
        const bool inside =
            (place_ == shared::small_journal && words_ <= small_room) || (place_ == shared::journal && words_ <= room);
        const bool behind =
            place_ >= records_offset && place_ % 8 == 0 && place_ <= file_bytes && words_ <= (file_bytes - place_) / 8;
        is_sound = inside || behind;
        return true;
    }
    bool is_found() const noexcept { return is_found_; }
    /// Of the system calls, since `find`; what could not be read is NUL, and no image.
    const Failure& failure() const noexcept { return failure_; }

    /// Where images that go to records have to end, so that copying one cannot change another.
    std::uint64_t place() const noexcept { return place_; }

    /// A word of what `find` found.
    std::uint64_t word(std::uint64_t number) const noexcept {
        if (!by_calls_) return region_.load_word(place_ + 8 * number);
        if (number - window_begin_ >= window_words_) fill_window(number);
        return number - window_begin_ < window_words_ ? window_[static_cast<std::size_t>(number - window_begin_)] : 0;
    }

    /// Shows every image of what `find` found: `see(offset, bytes, number of its first word)`. False if the entry is
    /// not made of whole images.
    template <class See>
    bool for_each(const See& see) const {
        for (std::uint64_t at = 0; at < words_;) {
            const std::uint64_t head = word(at);
            const std::uint64_t bytes = head & 0xffffffffu;
            if (!is_whole(at, bytes)) return false;
            see(head >> 32, bytes, at + 1);
            at += 1 + pair_layout::padded(bytes) / 8;
        }
        return true;
    }

private:
    bool is_whole(std::uint64_t at, std::uint64_t bytes) const noexcept {
        return bytes != 0 && pair_layout::padded(bytes) / 8 <= words_ - at - 1;
    }
    void copy(std::uint64_t to, std::uint64_t number, std::uint64_t bytes) noexcept {
        if (!by_calls_) return region_.store(to, region_.data() + place_ + 8 * number, static_cast<std::size_t>(bytes));
        for (std::uint64_t done = 0; done < bytes; done += 8, ++number) {
            const std::uint64_t piece = word(number);
            region_.store(to + done, reinterpret_cast<const std::byte*>(&piece),
                          static_cast<std::size_t>(std::min<std::uint64_t>(bytes - done, 8)));
        }
    }
    void fill_window(std::uint64_t number) const noexcept {
        window_begin_ = number;
        const auto bytes = static_cast<std::size_t>(8 * std::min<std::uint64_t>(words_ - number, window_.size()));
        std::size_t total = 0;
        const Failure failure = file_.read(window_.data(), bytes, place_ + 8 * number, total);
        window_words_ = failure ? 0 : total / 8;
        if (failure)
            failure_ = failure;
        else if (total != bytes)
            failure_ = {errc::io_error, "another program has cut the file short", Fact::at_least(place_ + 8 * words_),
                        Fact::of_bytes(place_ + 8 * number + total)};
    }
    void put(std::uint64_t word) {
        if (staged_) {
            staging_.push_back(word);
        } else {
            if (words_ == small_room && place_ == pair_layout::shared::small_journal) move_to_large_room();
            region_.publish_word(place_ + 8 * words_, word);
        }
        ++words_;
    }
    void move_to_large_room() noexcept {
        for (std::uint64_t i = 0; i < words_; ++i)
            region_.publish_word(pair_layout::shared::journal + 8 * i, region_.load_word(place_ + 8 * i));
        place_ = pair_layout::shared::journal;
    }

    Region& region_;
    const File& file_;
    std::uint64_t place_ = pair_layout::shared::small_journal;
    std::uint64_t words_ = 0;
    bool staged_ = false;    // the entry is in `staging_`
    bool is_found_ = false;  // it is somebody else's, and not applied yet
    std::vector<std::uint64_t> staging_;

    bool by_calls_ = false;
    mutable std::array<std::uint64_t, 512> window_;  // of what is read by calls
    mutable std::uint64_t window_begin_ = 0;         // number of its first word
    mutable std::uint64_t window_words_ = 0;
    mutable Failure failure_;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_JOURNAL_HPP
