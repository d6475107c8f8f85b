// SQLite at its quickest for this use: prepared statements, no waiting for the device, the file locked once for the
// whole time, as kvs locks it, and no journal. With a write-ahead log a `set` takes twice as long; without, a process
// killed in the middle of one can leave a broken file, so this promises less than kvs does.
//
// `txn_each` leaves every statement to be a transaction of its own; `one_txn` puts one around all of them.
#include <sqlite3.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "contenders.hpp"
#include "measure.hpp"

namespace kvs_bench {

namespace {

class Database {
public:
    explicit Database(const std::string& path) {
        const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
        sqlite3* db = nullptr;
        const int result = sqlite3_open_v2(path.c_str(), &db, flags, nullptr);
        db_.reset(db);
        if (result != SQLITE_OK) fail();
    }

    void run(const char* sql) {
        if (sqlite3_exec(handle(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail();
    }
    [[noreturn]] void fail() const { throw std::runtime_error(std::string("SQLite: ") + sqlite3_errmsg(handle())); }
    sqlite3* handle() const { return db_.get(); }

private:
    struct Close {
        void operator()(sqlite3* db) const { sqlite3_close(db); }
    };
    std::unique_ptr<sqlite3, Close> db_;
};

class Statement {
public:
    Statement(Database& db, const char* sql) : db_(db) {
        if (sqlite3_prepare_v3(db.handle(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr) != SQLITE_OK)
            db.fail();
    }
    Statement(const Statement&) = delete;
    Statement& operator=(const Statement&) = delete;
    ~Statement() { sqlite3_finalize(statement_); }

    void bind(int place, const std::string& text) {
        check(sqlite3_bind_text(statement_, place, text.data(), static_cast<int>(text.size()), SQLITE_STATIC));
    }
    void bind(int place, std::uint64_t number) {
        check(sqlite3_bind_int64(statement_, place, static_cast<sqlite3_int64>(number)));
    }
    /// True if there is a row.
    bool step() {
        const int result = sqlite3_step(statement_);
        if (result != SQLITE_ROW && result != SQLITE_DONE) db_.fail();
        return result == SQLITE_ROW;
    }
    std::uint64_t number() const { return static_cast<std::uint64_t>(sqlite3_column_int64(statement_, 0)); }
    void reset() { check(sqlite3_reset(statement_)); }

private:
    void check(int result) const {
        if (result != SQLITE_OK) db_.fail();
    }

    Database& db_;
    sqlite3_stmt* statement_ = nullptr;
};

class Sqlite {
public:
    explicit Sqlite(const std::filesystem::path& dir) : db_((dir / "entries.sqlite").string()) {
        db_.run("PRAGMA locking_mode = EXCLUSIVE");
        db_.run("PRAGMA journal_mode = OFF");
        db_.run("PRAGMA synchronous = OFF");
        db_.run("CREATE TABLE entries (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID");
        upsert_.emplace(db_,
                        "INSERT INTO entries VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value");
        select_.emplace(db_, "SELECT value FROM entries WHERE key = ?1");
    }

    void load(const std::vector<Pair>& pairs) {
        db_.run("BEGIN");
        for (const auto& [key, value] : pairs) set(key, value);
        db_.run("COMMIT");
    }
    void set(const std::string& key, std::uint64_t value) {
        upsert_->bind(1, key);
        upsert_->bind(2, value);
        upsert_->step();
        upsert_->reset();
    }

    class Reader {
    public:
        explicit Reader(Sqlite& sqlite) : select_(*sqlite.select_) {}
        bool get(const std::string& key, std::uint64_t& value) const {
            select_.bind(1, key);
            const bool found = select_.step();
            if (found) value = select_.number();
            select_.reset();
            return found;
        }

    private:
        Statement& select_;
    };

    class OneTxnReader : public Reader {
    public:
        explicit OneTxnReader(Sqlite& sqlite) : Reader(sqlite), db_(sqlite.db_) { db_.run("BEGIN"); }
        ~OneTxnReader() { sqlite3_exec(db_.handle(), "COMMIT", nullptr, nullptr, nullptr); }

    private:
        Database& db_;
    };

private:
    Database db_;
    std::optional<Statement> upsert_;
    std::optional<Statement> select_;
};

}  // namespace

void add_sqlite() {
    add_get<Sqlite>("get_string/SQLite_txn_each");
    add_get<Sqlite, Sqlite::OneTxnReader>("get_string/SQLite_one_txn");
    add_set<Sqlite>("set_string/SQLite_txn_each");
    add_load<Sqlite>("load/SQLite_txn_each", load_one_by_one<Sqlite>);
    add_load<Sqlite>("load/SQLite_one_txn", load_at_once<Sqlite>);
}

}  // namespace kvs_bench
