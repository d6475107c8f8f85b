// A durable write: `set` under `sync_each` beside a commit of LMDB that waits for the device. On the file system of the
// current directory, not in memory, and by the clock on the wall, for what takes the time is the device. They take
// turns with every single write, and so does a program that only stores to the same pages and flushes them: what is
// above that is ours.
#include <fcntl.h>
#include <fmt/format.h>
#include <lmdb.h>
#include <sys/mman.h>
#include <unistd.h>
#include <kvs/kvs.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "contenders.hpp"
#include "measure.hpp"

namespace kvs_bench {

namespace {

namespace layout = kvs::detail::pair_layout;

void check(int error) {
    if (error != MDB_SUCCESS) throw std::runtime_error(std::string("LMDB: ") + mdb_strerror(error));
}

/// With LMDB's own defaults: two writes and a flush for a commit.
class DurableLmdb {
public:
    explicit DurableLmdb(const std::filesystem::path& dir) {
        check(mdb_env_create(&env_));
        check(mdb_env_set_mapsize(env_, std::size_t{16} << 20));
        check(mdb_env_open(env_, dir.c_str(), 0, 0600));
        MDB_txn* txn = nullptr;
        check(mdb_txn_begin(env_, nullptr, 0, &txn));
        check(mdb_dbi_open(txn, nullptr, 0, &dbi_));
        for (const auto& [key, value] : workload().inserted) put(txn, key, value);
        check(mdb_txn_commit(txn));
    }
    DurableLmdb(const DurableLmdb&) = delete;
    DurableLmdb& operator=(const DurableLmdb&) = delete;
    ~DurableLmdb() { mdb_env_close(env_); }

    void set(const std::string& key, std::uint64_t value) {
        MDB_txn* txn = nullptr;
        check(mdb_txn_begin(env_, nullptr, 0, &txn));
        put(txn, key, value);
        check(mdb_txn_commit(txn));
    }

private:
    void put(MDB_txn* txn, const std::string& key, std::uint64_t value) {
        MDB_val name{key.size(), const_cast<char*>(key.data())};
        MDB_val data{sizeof value, &value};
        check(mdb_put(txn, dbi_, &name, &data, 0));
    }

    MDB_env* env_ = nullptr;
    MDB_dbi dbi_ = 0;
};

/// Stores to the pages that a `set` changes, and flushes.
class BareSystem {
public:
    explicit BareSystem(const std::filesystem::path& dir)
        : file_(::open((dir / "bare").c_str(), O_RDWR | O_CREAT | O_EXCL, 0600)) {
        // Page by page: what was written as a whole Linux also brings to the device as a whole.
        const std::vector<char> page(layout::page_bytes);
        for (std::size_t at = 0; at < bytes; at += page.size())
            require(::pwrite(file_, page.data(), page.size(), static_cast<off_t>(at)) == std::ssize(page), "no file");
        void* const base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file_, 0);
        require(base != MAP_FAILED, "no mapping");
        base_ = static_cast<std::byte*>(base);
        flush();
    }
    BareSystem(const BareSystem&) = delete;
    BareSystem& operator=(const BareSystem&) = delete;
    ~BareSystem() {
        ::munmap(base_, bytes);
        ::close(file_);
    }

    void set_in_place() {
        store(layout::records_offset);
        store(layout::shared_offset);
        store_superblock();
        flush();
    }
    void set_new() {
        store(0);  // the index
        store(layout::records_offset);
        store(layout::shared_offset);
        flush();
        store_superblock();
        flush();
    }

private:
    static constexpr std::size_t bytes = layout::records_offset + layout::page_bytes;

    void store_superblock() {
        copy_ = 1 - copy_;
        for (unsigned twin = 0; twin < layout::superblock_twins; ++twin) store(layout::superblock_offset(copy_, twin));
    }
    void store(std::size_t offset) {
        ++value_;
        std::memcpy(base_ + offset, &value_, sizeof value_);
    }
    void flush() const { require(kvs::detail::PosixPlatform::flush(file_) == 0, "no flush"); }

    int file_;
    std::byte* base_ = nullptr;
    std::uint64_t value_ = 0;
    unsigned copy_ = 0;
};

template <class Write>
double microseconds_of(const Write& write) {
    const auto start = std::chrono::steady_clock::now();
    write();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

double median_of(std::vector<double> times) {
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

/// What one `set` takes.
template <class Bare>
void compare(const char* what, double goal, const std::string& prefix, kvs::Store<32>& store, DurableLmdb& lmdb,
             const Bare& bare, std::size_t count) {
    std::vector<double> ours, theirs, least;
    for (std::size_t i = 0; i < count; ++i) {
        const std::string key = prefix + workload().used[i];
        const std::uint64_t value = i + 1;
        ours.push_back(microseconds_of([&] { store.set(key, value); }));
        theirs.push_back(microseconds_of([&] { lmdb.set(key, value); }));
        least.push_back(microseconds_of(bare));
        require(store.get<std::uint64_t>(key) == value, "the value set is not there");
    }
    const double ratio = median_of(ours) / median_of(theirs);
    fmt::print("a durable {}: {:.0f} µs; LMDB: {:.0f} µs; ratio {:.3f}, goal {:.2f}  {}; the bare system: {:.0f} µs\n",
               what, median_of(ours), median_of(theirs), ratio, goal, ratio <= goal ? "met" : "NOT MET",
               median_of(least));
}

}  // namespace

void compare_durable(bool quick) try {
    const kvs_test::TempDir dir(std::filesystem::current_path());
    {
        kvs::Store<32> filled(dir.file(), {.sync = kvs::sync_manual});
        for (const auto& [key, value] : workload().inserted) filled.set(key, value);
    }
    kvs::Store<32> store(dir.file(), {.sync = kvs::sync_each});
    DurableLmdb lmdb(dir.path());
    BareSystem bare(dir.path());
    const std::size_t count = quick ? 5 : 400;
    fmt::print("\non the file system of {}:\n", std::filesystem::current_path().string());
    const auto bare_in_place = [&] { bare.set_in_place(); };
    const auto bare_new = [&] { bare.set_new(); };
    compare("set in place, of one flush", 0.6, "", store, lmdb, bare_in_place, count);
    compare("set of a new key, of two", 1.0, "new.", store, lmdb, bare_new, count);
} catch (const std::exception& error) {
    fmt::print("\ndurable writes could not be measured: {}\n", error.what());
}

}  // namespace kvs_bench
