// LMDB as quick as it gets while it keeps what a killed process wrote, which is also what kvs with `sync_manual` keeps:
// MDB_NOSYNC | MDB_WRITEMAP.
//
// It reads in transactions. `txn_each` renews and resets one for each `get` and so sees the newest value, as a `get` of
// kvs does; `one_txn` keeps one open for all of them and sees a snapshot, which is less work.
#include <lmdb.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "contenders.hpp"
#include "measure.hpp"

namespace kvs_bench {

namespace {

void check(int error) {
    if (error != MDB_SUCCESS) throw std::runtime_error(std::string("LMDB: ") + mdb_strerror(error));
}

MDB_val as_val(const std::string& key) { return {key.size(), const_cast<char*>(key.data())}; }

/// A transaction; gives up if it is not committed.
class Txn {
public:
    Txn(MDB_env* env, unsigned flags) { check(mdb_txn_begin(env, nullptr, flags, &txn_)); }
    Txn(const Txn&) = delete;
    Txn& operator=(const Txn&) = delete;
    ~Txn() {
        if (txn_ != nullptr) mdb_txn_abort(txn_);
    }
    void commit() { check(mdb_txn_commit(std::exchange(txn_, nullptr))); }

    bool get(MDB_dbi dbi, const std::string& key, std::uint64_t& value) const {
        MDB_val name = as_val(key);
        MDB_val found{};
        const int error = mdb_get(txn_, dbi, &name, &found);
        if (error == MDB_NOTFOUND) return false;
        check(error);
        require(found.mv_size == sizeof value, "LMDB: a value of another size");
        std::memcpy(&value, found.mv_data, sizeof value);
        return true;
    }
    void put(MDB_dbi dbi, const std::string& key, std::uint64_t value) {
        MDB_val name = as_val(key);
        MDB_val data{sizeof value, &value};
        check(mdb_put(txn_, dbi, &name, &data, 0));
    }
    MDB_txn* handle() const { return txn_; }

private:
    MDB_txn* txn_ = nullptr;
};

class Lmdb {
public:
    explicit Lmdb(const std::filesystem::path& dir) {
        MDB_env* env = nullptr;
        check(mdb_env_create(&env));
        env_.reset(env);
        check(mdb_env_set_mapsize(env, std::size_t{16} << 20));
        check(mdb_env_open(env, dir.c_str(), MDB_NOSYNC | MDB_WRITEMAP, 0600));
        Txn txn(env, 0);
        check(mdb_dbi_open(txn.handle(), nullptr, 0, &dbi_));
        txn.commit();
    }

    void load(const std::vector<Pair>& pairs) {
        Txn txn(env_.get(), 0);
        for (const auto& [key, value] : pairs) txn.put(dbi_, key, value);
        txn.commit();
    }
    void set(const std::string& key, std::uint64_t value) {
        Txn txn(env_.get(), 0);
        txn.put(dbi_, key, value);
        txn.commit();
    }

    class OneTxnReader {
    public:
        explicit OneTxnReader(const Lmdb& lmdb) : txn_(lmdb.env_.get(), MDB_RDONLY), dbi_(lmdb.dbi_) {}
        bool get(const std::string& key, std::uint64_t& value) const { return txn_.get(dbi_, key, value); }

    private:
        Txn txn_;
        MDB_dbi dbi_;
    };

    class Reader {
    public:
        explicit Reader(const Lmdb& lmdb) : txn_(lmdb.env_.get(), MDB_RDONLY), dbi_(lmdb.dbi_) {
            mdb_txn_reset(txn_.handle());
        }
        bool get(const std::string& key, std::uint64_t& value) const {
            check(mdb_txn_renew(txn_.handle()));
            const bool found = txn_.get(dbi_, key, value);
            mdb_txn_reset(txn_.handle());
            return found;
        }

    private:
        Txn txn_;
        MDB_dbi dbi_;
    };

private:
    struct Close {
        void operator()(MDB_env* env) const { mdb_env_close(env); }
    };
    std::unique_ptr<MDB_env, Close> env_;
    MDB_dbi dbi_ = 0;
};

}  // namespace

void add_lmdb() {
    add_get<Lmdb>("get_string/LMDB_txn_each");
    add_get<Lmdb, Lmdb::OneTxnReader>("get_string/LMDB_one_txn");
    add_set<Lmdb>("set_string/LMDB_txn_each");
    add_load<Lmdb>("load/LMDB_txn_each", load_one_by_one<Lmdb>);
    add_load<Lmdb>("load/LMDB_one_txn", load_at_once<Lmdb>);
}

}  // namespace kvs_bench
