// The redo journal: several changes of mapped bytes become one [journal].
//
// A change that is more than one store is written down first: images, each of them the bytes that a place is to have.
// Then `valid` is published; then the images are copied to their places; then `valid` is taken back. Killed before
// `valid`, nothing has happened; killed behind it, whoever opens the file copies the images again, to the same effect.
//
// Only a killed process's journal is applied. After a power cut its pages are a mixture like all others, and it is left
// alone: recovery does without.
//
// In the shared area lies room for any change of one key. A batch that needs more has its images behind the last
// record, where nothing reaches them and the next record is written over them.
//
// An image is a word (offset << 32 | bytes), then its bytes, filled up to whole words.
#ifndef KVS_DETAIL_JOURNAL_HPP
#define KVS_DETAIL_JOURNAL_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include <kvs/detail/pair_layout.hpp>
#include <kvs/error.hpp>

namespace kvs::detail {

template <class Region>
class Journal {
public:
    static constexpr std::uint64_t room = pair_layout::shared::journal_bytes / 8;

    explicit Journal(Region& region) noexcept : region_(region) {}

    /// Begins an entry that is written to the shared area as it comes; it must fit.
    void begin() noexcept {
        words_ = 0;
        place_ = pair_layout::shared::journal;
        staged_ = false;
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
        if (words_ > room) place_ = behind;
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
        for (std::uint64_t at = 0; at < words_;) {
            const std::uint64_t head = word(at);
            const std::uint64_t bytes = head & 0xffffffffu;
            region_.store(head >> 32, bytes_from(at + 1), static_cast<std::size_t>(bytes));
            at += 1 + pair_layout::padded(bytes) / 8;
        }
        region_.publish_word(pair_layout::shared::journal_valid, 0);
        is_found_ = false;
    }

    /// `begin`, `add`, `commit` and `apply` for one image of words that the caller has: the same stores in the same
    /// order, but nothing is read back, which would wait for the stores.
    void replace(std::uint64_t offset, const std::uint64_t* words, std::size_t count) noexcept {
        using namespace pair_layout;
        auto file = region_.mapped();
        file.publish_word(shared::journal, offset << 32 | 8 * count);
        for (std::size_t i = 0; i < count; ++i) file.publish_word(shared::journal + 8 + 8 * i, words[i]);
        file.publish_word(shared::journal_place, shared::journal);
        file.publish_word(shared::journal_words, 1 + count);
        file.publish_word(shared::journal_valid, 1);
        for (std::size_t i = 0; i < count; ++i) file.publish_word(offset + 8 * i, words[i]);
        file.publish_word(shared::journal_valid, 0);
    }

    /// Takes over what a killed process left; `is_sound` says whether it can be one. True if there is anything, which
    /// `is_found` repeats until it is applied.
    bool find(std::uint64_t file_bytes, bool& is_sound) noexcept {
        using namespace pair_layout;
        is_sound = true;
        is_found_ = region_.load_word(shared::journal_valid) == 1;
        if (!is_found_) return false;
        place_ = region_.load_word(shared::journal_place);
        words_ = region_.load_word(shared::journal_words);
        staged_ = false;
        const bool inside = place_ == shared::journal && words_ <= room;
        const bool behind =
            place_ >= records_offset && place_ % 8 == 0 && place_ <= file_bytes && words_ <= (file_bytes - place_) / 8;
        is_sound = inside || behind;
        return true;
    }
    bool is_found() const noexcept { return is_found_; }

    /// For who has no right to the file: a copy of what was found. Others may finish it, and write theirs there or cut
    /// the file behind it, between a look at it and its use. By a system call, which says so where a load from the
    /// mapping would be a bus error.
    template <class File>
    Failure capture(const File& file) {
        staging_.resize(static_cast<std::size_t>(words_));
        std::size_t total = 0;
        if (Failure failure = file.read(staging_.data(), 8 * staging_.size(), place_, total)) return failure;
        if (total != 8 * staging_.size()) return {errc::in_use, "another process has finished the journal meanwhile"};
        staged_ = true;
        return {};
    }

    /// Where images that go to records have to end, so that copying one cannot change another.
    std::uint64_t place() const noexcept { return place_; }

    /// The entry is so many words; one of them.
    std::uint64_t word(std::uint64_t number) const noexcept {
        return staged_ ? staging_[static_cast<std::size_t>(number)] : region_.load_word(place_ + 8 * number);
    }

    /// Shows every image of what `find` found: `see(offset, bytes, number of its first word)`. False if the entry is
    /// not made of whole images.
    template <class See>
    bool for_each(const See& see) const {
        for (std::uint64_t at = 0; at < words_;) {
            const std::uint64_t head = word(at);
            const std::uint64_t bytes = head & 0xffffffffu;
            if (bytes == 0 || pair_layout::padded(bytes) / 8 > words_ - at - 1) return false;
            see(head >> 32, bytes, at + 1);
            at += 1 + pair_layout::padded(bytes) / 8;
        }
        return true;
    }

private:
    const std::byte* bytes_from(std::uint64_t number) const noexcept {
        if (staged_) return reinterpret_cast<const std::byte*>(staging_.data() + number);
        return region_.data() + place_ + 8 * number;
    }
    void put(std::uint64_t word) {
        if (staged_)
            staging_.push_back(word);
        else
            region_.publish_word(place_ + 8 * words_, word);
        ++words_;
    }

    Region& region_;
    std::uint64_t place_ = pair_layout::shared::journal;
    std::uint64_t words_ = 0;
    bool staged_ = false;    // the entry is in `staging_`
    bool is_found_ = false;  // and it is somebody else's
    std::vector<std::uint64_t> staging_;
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_JOURNAL_HPP
