// What `verify`, `stats` and `recovery` tell.
#ifndef KVS_REPORT_HPP
#define KVS_REPORT_HPP

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace kvs {

/// One thing that is wrong with a file.
struct Problem {
    std::uint64_t offset = 0;  ///< where in the file, in bytes
    std::uint32_t bucket = 0;  ///< in whose chain, 0 to 65535; 65536 if that is not known
    std::string text;          ///< what is wrong there, with what was wanted and found
};

/// The result of `verify()` and `repair()`.
struct Report {
    std::uint64_t records = 0;          ///< records reached, with deleted ones
    std::uint64_t keys = 0;             ///< of them, records that hold a key
    std::uint64_t deleted_records = 0;  ///< of them, free for reuse
    /// Of them, what a process left that was killed while it wrote or erased a key: of no use, and no damage.
    std::uint64_t abandoned_records = 0;
    std::uint64_t problem_count = 0;  ///< all that was found, also what `problems` has no room for
    std::vector<Problem> problems;    ///< the first 100

    /// True if nothing is wrong.
    bool ok() const noexcept { return problem_count == 0; }
};

/// Figures of a store, from `stats()`. All counts of records and keys are of one moment.
struct Stats {
    /// The records of one value length.
    struct Length {
        std::uint32_t value_bytes = 0;
        std::uint32_t groups = 0;  ///< groups of 4,096 buckets that hold values of this length
        std::uint64_t keys = 0;
        std::uint64_t deleted_records = 0;
        std::uint64_t record_bytes = 0;  ///< of one record, key and link included
    };

    std::uint64_t keys = 0;
    std::uint64_t deleted_records = 0;  ///< free for reuse, until `compact_to`
    std::uint64_t file_bytes = 0;       ///< the size of the file, with what was got in advance
    std::uint64_t live_bytes = 0;       ///< header, index and all records
    std::uint64_t limit_bytes = 0;      ///< what the format allows
    std::uint64_t buckets_used = 0;     ///< of 65,536
    std::uint64_t longest_chain = 0;    ///< records, deleted ones included
    std::vector<Length> lengths;        ///< the lengths that this store has, shortest first
};

/// What opening the file found and did.
struct Recovery {
    enum class Outcome : std::uint8_t {
        created,     ///< there was no file, or one whose creation had not been finished
        clean,       ///< the file was closed properly
        killed,      ///< the last process that wrote to it died with the file open
        power_loss,  ///< so did the machine; or it looks like that: a flush failed, or the file is a copy of one in
                     ///< use, was cut short, was reached through another mount, or had to be salvaged
    };

    Outcome outcome = Outcome::clean;
    std::uint64_t records = 0;  ///< records reached, with deleted ones
    std::uint64_t keys = 0;
    /// Chains with a link that cannot be followed, or that leads into a record of another. What is in them is read as
    /// far as that goes; new keys of theirs are refused. `verify()` lists them.
    std::uint64_t damaged_chains = 0;
    std::uint64_t duplicate_keys = 0;  ///< keys with records in two value lengths, as the original program leaves them

    // The following is told by stores with `AbBackup` only.
    std::uint64_t rolled_back = 0;      ///< values that were not yet durable when the machine died, and are gone; or
                                        ///< the one that `sync_each` wrote last, if a bit of it flipped. Those in
                                        ///< records made since the last sync are gone too, and not counted
    std::uint64_t mended_records = 0;   ///< records with a copy that was torn in between, and emptied
    std::uint64_t damaged_records = 0;  ///< records with a damaged copy, or damaged altogether
    std::uint64_t lost_records = 0;     ///< records that should be there and are not reached
    std::uint64_t lost_bytes = 0;       ///< that the file is shorter than it should be
    unsigned damaged_superblocks = 0;   ///< of four pages, where no death explains it
    unsigned mended_superblocks = 0;    ///< pages that were being written when a process died, and were written anew
    bool attached = false;              ///< other handles had the file open: it is as they have it
    bool header_damaged = false;        ///< the superblock's copy of the header is used
    bool salvaged = false;              ///< both superblocks were damaged, and `Options::salvage` was set

    /// True if anything is damaged or lost that no death of a process or the machine explains, as far as the open has
    /// looked: records of a store with `AbBackup` only after a power cut. `verify()` looks at everything.
    bool damaged() const noexcept {
        return damaged_chains + damaged_records + lost_records + lost_bytes + damaged_superblocks != 0 ||
               header_damaged || salvaged;
    }
};

/// The name of an outcome, as written in the enumeration.
constexpr const char* to_string(Recovery::Outcome outcome) noexcept {
    switch (outcome) {
        case Recovery::Outcome::created: return "created";
        case Recovery::Outcome::clean: return "clean";
        case Recovery::Outcome::killed: return "killed";
        case Recovery::Outcome::power_loss: return "power_loss";
    }
    return "unknown";
}

}  // namespace kvs

#endif  // KVS_REPORT_HPP
