// Could this have happened one after the other? A history of operations on one key, each with the time when it was
// called and the time when it returned, is linearizable if every operation can be given a moment between the two such
// that what it found is what the operations before that moment left.
//
// The search is that of Wing and Gong (Testing and verifying concurrent objects, 1993) in the form of Lowe (Testing for
// linearizability, 2017): it goes through the history in the order of time and keeps the set of all states in which the
// key can be, each a value and the operations that are under way and have had their moment. When an operation returns,
// the states in which it has had its moment stay, and those that come from others by giving one operation after the
// other its moment until it is this one's turn. A state is kept once, however many orders lead to it: that is the
// memory that makes the search quick. If no state is left, the history is none of a key.
//
// An operation whose process was killed has happened or not, by its time `returned` if that is known (there is a
// moment from which on a dead process cannot change anything any more), and says nothing about what it found.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace kvs_test {

/// The value of a key; 0 = the key is absent.
using KeyValue = std::uint64_t;

struct KeyOperation {
    enum class Kind : std::uint8_t {
        get,            ///< found `found`
        set,            ///< to `value`
        erase,          ///< `found`: 1 if there was a value
        remove,         ///< an erase that does not say what it found
        set_if_absent,  ///< to `value`; `found`: 1 if there was a value already
        exchange,       ///< found `found` and set it to `value`, and nothing came in between
    };
    static constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

    Kind kind = Kind::get;
    bool killed = false;  ///< its process died in it
    std::uint64_t called = 0;
    std::uint64_t returned = never;
    KeyValue value = 0;
    KeyValue found = 0;
};

inline std::string to_string(const KeyOperation& o) {
    static constexpr const char* names[] = {"get", "set", "erase", "remove", "set_if_absent", "exchange"};
    return std::string(o.killed ? "killed " : "") + names[static_cast<unsigned>(o.kind)] + " value " +
           std::to_string(o.value) + " found " + std::to_string(o.found) + " called " + std::to_string(o.called) +
           " returned " + (o.returned == KeyOperation::never ? "never" : std::to_string(o.returned));
}

/// What the operation leaves of a value; nothing if it cannot have found what it says.
inline std::optional<KeyValue> outcome(const KeyOperation& o, KeyValue before) {
    using Kind = KeyOperation::Kind;
    const auto if_right = [](bool right, KeyValue after) { return right ? std::optional(after) : std::nullopt; };
    const bool told = !o.killed;
    switch (o.kind) {
        case Kind::get: return if_right(!told || before == o.found, before);
        case Kind::set: return o.value;
        case Kind::remove: return KeyValue{0};
        case Kind::erase: return if_right(!told || (before != 0) == (o.found != 0), 0);
        case Kind::set_if_absent:
            return if_right(!told || (before != 0) == (o.found != 0), before != 0 ? before : o.value);
        // It looked before it was killed; what it set depends on that.
        case Kind::exchange: return if_right(before == o.found, o.value);
    }
    return std::nullopt;
}

class HistoryCheck {
public:
    static constexpr std::size_t most_under_way = 64;

    explicit HistoryCheck(const std::vector<KeyOperation>& history, KeyValue initial = 0) : history_(history) {
        states_.insert({0, initial});
        run();
    }

    /// What cannot be; empty if all can.
    const std::string& problem() const { return problem_; }

private:
    /// The operations under way that have had their moment, a bit for each place; and the value.
    using State = std::pair<std::uint64_t, KeyValue>;
    struct Event {
        std::uint64_t time;
        bool is_return;
        std::size_t operation;
        /// At the same time, calls come first: then the two overlap, and nothing is said that is not known.
        bool operator<(const Event& other) const {
            return time != other.time ? time < other.time : is_return < other.is_return;
        }
    };

    void run() {
        std::vector<Event> events;
        for (std::size_t i = 0; i < history_.size(); ++i) {
            const KeyOperation& o = history_[i];
            if (o.killed && o.kind == KeyOperation::Kind::get) continue;
            events.push_back({o.called, false, i});
            if (o.returned != KeyOperation::never) events.push_back({o.returned, true, i});
        }
        std::sort(events.begin(), events.end());
        places_.assign(history_.size(), most_under_way);
        for (const Event& event : events) {
            if (event.is_return)
                finish(event.operation);
            else
                begin(event.operation);
            if (!problem_.empty()) return;
        }
    }

    void begin(std::size_t operation) {
        const auto free = static_cast<std::size_t>(std::countr_one(taken_));
        if (free == most_under_way) {
            problem_ = "more operations are under way at once than can be checked";
            return;
        }
        taken_ |= std::uint64_t{1} << free;
        at_[free] = operation;
        places_[operation] = free;
    }

    void finish(std::size_t operation) {
        const std::size_t place = places_[operation];
        const std::uint64_t bit = std::uint64_t{1} << place;
        std::set<State> left;
        std::set<State> seen = states_;
        std::vector<State> to_do(states_.begin(), states_.end());
        while (!to_do.empty()) {
            const State state = to_do.back();
            to_do.pop_back();
            if ((state.first & bit) != 0) {
                left.insert({state.first & ~bit, state.second});
                continue;
            }
            for (std::uint64_t rest = taken_ & ~state.first; rest != 0; rest &= rest - 1) {
                const auto next = static_cast<std::size_t>(std::countr_zero(rest));
                const auto after = outcome(history_[at_[next]], state.second);
                if (!after) continue;
                const State reached{state.first | std::uint64_t{1} << next, *after};
                if (seen.insert(reached).second) to_do.push_back(reached);
            }
        }
        if (history_[operation].killed) {  // it may not have happened
            for (const State& state : states_)
                if ((state.first & bit) == 0) left.insert(state);
        }
        if (left.empty()) return fail(operation);
        states_ = std::move(left);
        taken_ &= ~bit;
    }

    void fail(std::size_t operation) {
        problem_ = to_string(history_[operation]) + ": no order of the operations explains it. The value was one of";
        std::set<KeyValue> values;
        for (const State& state : states_) values.insert(state.second);
        for (const KeyValue value : values) problem_ += " " + std::to_string(value);
        problem_ += "; under way:";
        for (std::uint64_t rest = taken_; rest != 0; rest &= rest - 1)
            problem_ += "\n  " + to_string(history_[at_[static_cast<std::size_t>(std::countr_zero(rest))]]);
    }

    const std::vector<KeyOperation>& history_;
    std::set<State> states_;
    std::uint64_t taken_ = 0;  ///< places of operations under way
    std::array<std::size_t, most_under_way> at_{};
    std::vector<std::size_t> places_;
    std::string problem_;
};

/// What cannot be in a history of one key; empty if it is one.
inline std::string problem_of(const std::vector<KeyOperation>& history, KeyValue initial = 0) {
    return HistoryCheck(history, initial).problem();
}

}  // namespace kvs_test
