// Copies of a store of paired records, made while it is in use. How they get to their names: replacement.hpp.
#ifndef KVS_DETAIL_PAIR_COPY_HPP
#define KVS_DETAIL_PAIR_COPY_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <kvs/detail/pair_engine.hpp>
#include <kvs/detail/replacement.hpp>
#include <kvs/value.hpp>

namespace kvs::detail {

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::copy_to(std::string_view path) {
    if (Failure failure = check_process()) return failure;
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    Replacement<Platform> replacement(path, status);
    if (Failure failure = replacement.reserve()) return failure;
    PlatformFile target;
    if (Failure failure = replacement.open([&](const std::string& name) {
            return target.open(name.c_str(), Platform::Access::write, Platform::Creation::exclusive,
                               status.permissions);
        }))
        return failure;
    if (Failure failure = undisturbed([&] { return write_copy(target); })) return failure;
    if (Failure failure = target.flush()) return failure;
    target.close();
    return replacement.finish();
}

/// The bytes as they are, under a header and superblocks that are right and call them clean: everything in the copy is
/// durable when it gets its name, what was not yet durable here included.
template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::write_copy(PlatformFile& target) const {
    typename PlatformFile::Status source;
    if (Failure failure = file_.status(source)) return failure;
    // A read-only handle can have opened a file that was cut short before, and copies what is left.
    if (!read_only_)
        if (Failure failure = check_size()) return failure;
    const std::uint64_t end = shared_word(pair_shared::live_end);
    const std::uint64_t readable = (std::min)(end, source.bytes);
    // The shared area is NUL: it is of those who have this file open, and they change it while they wait for the lock.
    // The superblocks come last, also those that lie in between.
    if (Failure failure = target.write_mapped(region_.data(), 0, (std::min)(readable, pair_layout::shared_offset)))
        return failure;
    static constexpr std::byte nothing[pair_layout::page_bytes] = {};
    for (std::uint64_t at = pair_layout::shared_offset; at < pair_shared::end; at += sizeof nothing)
        if (Failure failure = target.write(nothing, sizeof nothing, at)) return failure;
    if (Failure failure = target.write_mapped(region_.data(), pair_shared::end, readable)) return failure;
    Superblock superblock;
    unsigned counting = 0;
    if (!Superblocks<const Region>(region_).read_counting(superblock, counting))
        return {errc::corrupt, "neither copy of the superblock is valid any more"};
    superblock.durable_epoch = epoch_to_sync();
    superblock.durable_end = end;
    superblock.records = shared_word(pair_shared::records);
    superblock.keys = shared_word(pair_shared::keys);
    superblock.void_epoch = shared_word(pair_shared::void_epoch);
    superblock.clean = true;
    superblock.lone_slot = superblock.lone_content = 0;
    superblock.place = {};
    for (unsigned copy = 0; copy < pair_layout::superblock_copies; ++copy) {
        ++superblock.generation;
        SuperblockWords words;
        encode(superblock, words);
        std::byte bytes[sizeof words];
        for (unsigned i = 0; i < pair_layout::superblock::words; ++i)
            store_big_endian<8>(bytes + pair_layout::superblock::offset_of(i), words[i]);
        for (unsigned twin = 0; twin < pair_layout::superblock_twins; ++twin)
            if (Failure failure = target.write(bytes, sizeof bytes, pair_layout::superblock_offset(copy, twin)))
                return failure;
    }
    std::byte header[layout::header_bytes];
    encode_header(header, geometry_.weights().header());
    return target.write(header, sizeof header, 0);
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::compact_to(std::string_view path) {
    if (Failure failure = check_process()) return failure;
    typename PlatformFile::Status status;
    if (Failure failure = file_.status(status)) return failure;
    Replacement<Platform> replacement(path, status);
    if (Failure failure = replacement.reserve()) return failure;
    {
        PairEngine target;  // not one of `Unshared`, whose code a program would hold beside this one's
        if (Failure failure = replacement.open([&](const std::string& name) {
                return target.open_alone(name, {.mode = Mode::create_new,
                                                .sync = sync_manual,
                                                .weights = geometry_.weights(),
                                                .permissions = status.permissions});
            }))
            return failure;
        std::vector<OlderCopy> damaged;
        if (Failure failure = undisturbed([&] { return copy_entries(target, damaged); })) return failure;
        for (const OlderCopy& one : damaged) report_damage(KeyType{std::string_view(one.key)}, one.record);
        if (Failure failure = target.close_cleanly()) return failure;
    }
    return replacement.finish();
}

template <std::size_t KeyLen, class Sharing, class Form, class Platform>
Failure PairEngine<KeyLen, Sharing, Form, Platform>::copy_entries(PairEngine& target,
                                                                  std::vector<OlderCopy>& damaged) const {
    if (Failure failure = target.clear()) return failure;  // of what a disturbed attempt left
    damaged.clear();
    Position position;
    Item item;
    Value value;
    Failure failure;
    for (;;) {
        const Presence presence = next_here(position, item, failure);
        if (presence == Presence::failed) return failure;
        if (presence == Presence::absent) return {};
        if (Failure problem = load_item(item, value)) return problem;
        if (item.is_older_copy) damaged.push_back({item.key, position.record});
        if (Failure problem = target.put(KeyType{std::string_view(item.key)}, value.encoded())) return problem;
    }
}

}  // namespace kvs::detail

#endif  // KVS_DETAIL_PAIR_COPY_HPP
