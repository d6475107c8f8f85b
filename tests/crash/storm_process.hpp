// A process of a storm: what it does to the store until it is killed, or told to leave.
#pragma once

#include <sched.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include "storm.hpp"

namespace kvs_test::storm {

class Process {
public:
    Process(Board& board, unsigned number, std::string path, std::uint64_t seed)
        : board_(board), told_(board.told[number]), number_(number), path_(std::move(path)), random_(seed) {}

    void run() {
        while (!board_.leave) {
            const std::uint64_t alarm = board_.alarm;
            Store store = open();
            if (is_writer()) find_own(store);
            bool first = true;
            for (std::uint64_t left = visit(); left != 0 && !board_.leave; --left) {
                const std::uint64_t heard = first ? alarm : board_.alarm.load();
                first = false;
                if (is_writer())
                    write(store);
                else
                    read(store);
                ++told_.operations;
                if (told_.alarm != heard) {
                    told_.alarm_at = now();
                    told_.alarm = heard;
                }
            }
        }
    }

private:
    using Kind = KeyOperation::Kind;

    bool is_writer() const { return number_ < writer_count; }
    std::uint64_t pick(std::uint64_t below) { return random_() % below; }
    bool one_in(std::uint64_t n) { return pick(n) == 0; }
    void require(bool right, const std::string& what) const {
        if (!right) throw std::logic_error(what);
    }

    /// How many operations until it closes the store and opens it again.
    std::uint64_t visit() {
        if (board_.steady) return ~std::uint64_t{0};
        return board_.restless ? 1 + pick(20) : 1 + pick(is_writer() ? 5000 : 20'000);
    }

    // ---- opening ---------------------------------------------------------------------------------------------------

    Store open() {
        kvs::Options options;
        const bool only_reads = !is_writer() && (board_.only_readers || one_in(2));
        options.mode = only_reads ? kvs::Mode::read_only : kvs::Mode::open_existing;
        const kvs::SyncPolicy policies[] = {kvs::sync_manual, kvs::sync_each,
                                            kvs::sync_every(std::chrono::milliseconds(1)),
                                            kvs::sync_every(std::chrono::milliseconds(1))};
        options.sync = policies[pick(4)];
        is_read_only_ = options.mode == kvs::Mode::read_only;
        is_manual_ = options.sync.kind() == kvs::SyncPolicy::Kind::manual;
        options.on_damage = [this](const kvs::Damage& damage) {
            board_.complain(
                number_, std::string(is_read_only_ ? "read-only: " : "") + "damage of key " + std::string(damage.key));
        };
        Store store(path_, options);
        ++told_.opens;
        const kvs::Recovery& found = store.recovery();
        require(!found.damaged(), "the open found damage");
        require(found.attached || found.outcome == kvs::Recovery::Outcome::clean ||
                    found.outcome == kvs::Recovery::Outcome::killed,
                std::string("the open found ") + kvs::to_string(found.outcome));
        if (!found.attached && found.outcome == kvs::Recovery::Outcome::killed) ++told_.resumed;
        return store;
    }

    /// What the process before left in the own key: all that it acknowledged, and the operation under way done or not.
    void find_own(Store& store) {
        const auto found = store.value(own_of(number_));
        const std::uint64_t done = told_.acknowledged, intended = told_.intended;
        const bool is_done = found == own_state(done), is_intended = found == own_state(intended);
        require(is_done || is_intended,
                "the own key is neither in state " + std::to_string(done) + " nor in " + std::to_string(intended));
        const std::uint64_t state = is_done ? done : intended;
        require(state >= told_.seen, "a state of the own key was seen and is gone");
        told_.intended = state;
        told_.acknowledged = state;
    }

    // ---- writing ---------------------------------------------------------------------------------------------------

    void write(Store& store) {
        const std::uint64_t choice = pick(64);
        if (choice < 6 && may_log())
            change_register(store, static_cast<unsigned>(pick(register_count)));
        else if (choice < 8 && told_.new_keys < most_new && one_in(2))
            add_key(store);
        else if (choice == 8 && is_manual_)
            store.sync();
        else if (choice == 9 && one_in(40))
            check(store);
        else if (choice == 9 && one_in(4))
            read(store);
        change_own(store);
    }

    void change_own(Store& store) {
        const std::uint64_t next = told_.acknowledged + 1;
        told_.intended = next;
        if (const auto value = own_state(next))
            store.set(own_of(number_), *value);
        else
            store.erase(own_of(number_));
        told_.acknowledged = next;
    }

    void add_key(Store& store) {
        const std::uint64_t n = told_.new_keys;
        store.set(new_key(number_, n), value_of(n));
        told_.new_keys = n + 1;
    }

    void check(const Store& store) {
        std::error_code error;
        const kvs::Report report = store.verify(error);
        if (error == kvs::errc::in_use && is_read_only_) return;  // others write all the time
        require(!error, "verify: " + error.message());
        if (!report.ok()) require(false, "verify: " + report.problems.front().text);
    }

    // ---- logged operations -----------------------------------------------------------------------------------------

    bool may_log() const { return told_.logged < std::min(board_.allowance.load(), most_logged); }

    std::uint64_t new_id() { return (std::uint64_t{number_} + 1) << 32 | ++told_.ids; }

    Logged& call(Kind kind, unsigned key, std::uint64_t value) {
        const std::uint32_t at = told_.logged;
        Logged& entry = told_.log[at];
        entry.kind = kind;
        entry.key = key;
        entry.value = value;
        entry.found = 0;
        entry.returned = 0;
        entry.called = board_.tick();
        told_.logged = at + 1;
        return entry;
    }
    void finish(Logged& entry, std::uint64_t found) {
        entry.found = found;
        entry.returned = board_.tick();
    }

    void change_register(Store& store, unsigned key) {
        if (is_pair(key)) return change_pair(store, key);
        const std::string name = name_of(key);
        const std::uint64_t id = new_id();
        const kvs::Value value = is_number(key) ? kvs::Value(id) : value_of(id);
        switch (pick(is_number(key) ? 6 : 4)) {
            case 0: {
                Logged& entry = call(Kind::erase, key, 0);
                finish(entry, store.erase(name) ? 1 : 0);
                break;
            }
            case 1: {
                Logged& entry = call(Kind::set_if_absent, key, id);
                finish(entry, store.set_if_absent(name, value) ? 0 : 1);
                break;
            }
            case 2: {
                Logged& entry = call(Kind::set, key, id);
                store.set(name, value);
                finish(entry, 0);
                break;
            }
            case 3: look(store, key); break;
            default: exchange(store, key, id); break;
        }
    }

    /// What it found is noted before it is used; a value of 0 stands for "has not set anything yet".
    void exchange(Store& store, unsigned key, std::uint64_t id) {
        Logged& entry = call(Kind::exchange, key, 0);
        std::uint64_t found = 0;
        store.read_modify_write(name_of(key), [&](std::optional<std::uint64_t> before) {
            entry.value = 0;
            entry.found = found = before.value_or(0);
            entry.value = id;
            return id;
        });
        finish(entry, found);
    }

    void change_pair(Store& store, unsigned key) {
        const std::uint64_t id = new_id();
        if (one_in(4)) {
            Logged& entry = call(Kind::remove, key, 0);
            store.batch([&](auto& batch) {
                batch.erase(left_of(key));
                batch.erase(right_of(key));
            });
            return finish(entry, 0);
        }
        Logged& entry = call(Kind::set, key, id);
        store.batch([&](auto& batch) {
            batch.set(left_of(key), value_of(id));
            batch.set(right_of(key), value_of(id));
        });
        finish(entry, 0);
    }

    // ---- reading ---------------------------------------------------------------------------------------------------

    void read(Store& store) {
        switch (pick(16)) {
            case 0:
            case 1:
            case 2:
                if (may_log()) look(store, static_cast<unsigned>(pick(register_count)));
                break;
            case 3: read_new(store); break;
            case 4:
                if (one_in(200)) iterate(store);
                if (one_in(400)) check(store);
                break;
            default: read_own(store, static_cast<unsigned>(pick(writer_count))); break;
        }
    }

    void look(const Store& store, unsigned key) {
        Logged& entry = call(Kind::get, key, 0);
        finish(entry, find(store, key));
    }
    std::uint64_t find(const Store& store, unsigned key) {
        if (is_number(key)) return store.get<std::uint64_t>(name_of(key)).value_or(0);
        if (!is_pair(key)) return read_id(store.value(name_of(key)), key);
        const auto [left, right] =
            store.view([&](const Store& s) { return std::pair(s.value(left_of(key)), s.value(right_of(key))); });
        require(left == right, "half a batch is seen in pair " + std::to_string(key));
        return read_id(left, key);
    }
    std::uint64_t read_id(const std::optional<kvs::Value>& value, unsigned key) const {
        if (!value) return 0;
        const auto id = id_in(key, *value);
        require(id.has_value(), "register " + std::to_string(key) + " holds what nobody wrote");
        return *id;
    }

    /// The state that is read lies between the one that was acknowledged, or seen, before and the one intended behind.
    void read_own(Store& store, unsigned process) {
        Told& owner = board_.told[process];
        const std::uint64_t from = std::max(owner.acknowledged.load(), owner.seen.load());
        const auto value = store.value(own_of(process));
        const std::uint64_t to = owner.intended;
        const std::string between =
            " of own key " + std::to_string(process) + ", not in " + std::to_string(from) + " to " + std::to_string(to);
        if (!value) return require(from % 7 == 0 || from / 7 != to / 7, "it is absent: no state" + between);
        const auto state = id_of(*value);
        require(state.has_value(), "own key " + std::to_string(process) + " holds what nobody wrote");
        require(*state >= from && *state <= to, "state " + std::to_string(*state) + between);
        for (std::uint64_t seen = owner.seen; seen < *state && !owner.seen.compare_exchange_weak(seen, *state);) {
        }
    }

    void read_new(const Store& store) {
        const auto process = static_cast<unsigned>(pick(writer_count));
        const std::uint64_t count = board_.told[process].new_keys;
        if (count == 0) return;
        const std::uint64_t n = one_in(2) ? count - 1 : pick(count);
        require(store.value(new_key(process, n)) == value_of(n), "new key " + std::to_string(n) + " is not right");
    }

    void iterate(const Store& store) const {
        for (const auto& entry : store) {
            const bool is_register = entry.key().substr(0, 8) == "register";
            const bool is_right = is_register && entry.type() == kvs::Type::u64 ? entry.get<std::uint64_t>() >> 32 != 0
                                                                                : id_of(entry.value()).has_value();
            require(is_right, "an entry holds what nobody wrote: " + std::string(entry.key()));
        }
    }

    Board& board_;
    Told& told_;
    unsigned number_;
    std::string path_;
    std::mt19937_64 random_;
    bool is_manual_ = false;
    bool is_read_only_ = false;
};

}  // namespace kvs_test::storm
