// [writers] [read-only] The protocol by which handles share a store, as a machine small enough that all of its states
// can be visited: lock word, owner bytes, gate, presence, opening stamp, a counter, a journal, and a value of two words
// that a change has to bring from one state to the next as one.
//
// Three processes take single steps in any order: writers that open, write, read and close, and a read-only handle.
// Each can die between any two steps, and another process takes its place. In every state that can be reached:
//
//   - who is in the critical section is alone there, and finds the two words equal and no journal valid;
//   - a read that is believed found the two words equal, and no older than what was acknowledged before it began;
//   - if nobody can take a step, nobody wants to.
//
// Each rule can be left out, and then one of these is violated: that shows that the machine would notice. It is a
// model: what it shows is that the rules of writer_lock.hpp, pair_share.hpp, pair_open.hpp and pair_view.hpp hold
// together.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <iterator>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "../catch.hpp"
#include "../support/campaign.hpp"

namespace {

/// What is left out.
enum class Flaw {
    none,
    takeover_without_journal,
    takeover_leaves_odd,
    evens_by_taking_away,
    no_inheritance,
    count_does_not_rise,
    byte_freed_before_word,
    no_gate,
    no_second_try,
    reader_does_not_look_again,
    view_stamp_not_looked_at,
    view_stamp_noted_late,
    orphan_lock_not_looked_at,
    waiting_view_not_renewed,
    opener_keeps_stamp,
};

enum Pc : std::uint8_t {
    closed,
    // opening
    presence,
    presence_shared,
    presence_again,
    alone_byte,
    alone_stamp,
    alone_x,
    alone_y,
    alone_off,
    alone_word,
    alone_even,
    alone_share,
    attach_byte,
    attach_inherit,
    ungate,
    // in use
    idle,
    lock,
    exchange,
    exchange_dead,
    take_x,
    take_y,
    take_off,
    take_even,
    taken,
    change_odd,
    change_journal,
    change_commit,
    change_x,
    change_y,
    change_off,
    change_even,
    unlock,
    read_note,
    read_x,
    read_y,
    read_check,
    close_gate,
    close_byte,
    close_word,
    // a read-only handle
    view_stamp,
    view_presence,
    view_gate,
    view_late_stamp,
    rest_journal,
    rest_x,
    rest_y,
    rest_even,
    orphan_journal,
    orphan_x,
    orphan_y,
    orphan_even,
    look_note,
    look_x,
    look_y,
    look_check,
    finished,
};

/// What to do with the lock once it is taken.
enum After : std::uint8_t { then_change, then_read, then_ungate };
enum Kind : std::uint8_t { at_rest, live, orphaned };

struct Process {
    std::uint8_t pc = closed;
    std::uint8_t byte = 0;
    std::uint8_t lives = 0;   ///< how often it still opens the file
    std::uint8_t writes = 0;  ///< left in this life
    std::uint8_t reads = 0;
    std::uint8_t after = 0;
    std::uint8_t owner = 0, count = 0;                      ///< the lock word as it was seen
    std::uint8_t floor = 0;                                 ///< the last value acknowledged when a read began
    std::uint8_t counter = 0, x = 0, y = 0;                 ///< what was read
    std::uint8_t stamp = 0, kind = 0;                       ///< of a view
    std::uint8_t owns_x = 0, owns_y = 0, owns_counter = 0;  ///< words of a private mapping that were stored to
    std::uint8_t own_x = 0, own_y = 0, own_counter = 0;
};

constexpr int process_count = 3;
constexpr int byte_count = 4;

struct State {
    std::uint8_t owner = 0, count = 0;
    std::uint8_t holder[byte_count] = {};  ///< of the owner bytes 1, 2, ...: a process, from 1
    std::uint8_t gate = 0;
    std::uint8_t alone = 0;   ///< presence held exclusively
    std::uint8_t shared = 0;  ///< presence held shared, a bit for each process
    std::uint8_t stamp = 0;
    std::uint8_t x = 0, y = 0, counter = 0;
    std::uint8_t journal = 0, valid = 0;
    std::uint8_t acknowledged = 0;  ///< the value of the last change that was completed
    std::uint8_t deaths = 0;        ///< left
    Process processes[process_count];
};
static_assert(sizeof(State) == 13 + byte_count + process_count * sizeof(Process), "no padding: states are compared");

class Explorer {
public:
    explicit Explorer(Flaw flaw) : flaw_(flaw) {}

    std::size_t states() const { return seen_.size(); }
    const std::string& violation() const { return violation_; }

    void run(const State& first) {
        visit(first);
        while (!waiting_.empty() && violation_.empty()) {
            const State state = waiting_.front();
            waiting_.pop_front();
            expand(state);
        }
    }

private:
    void visit(const State& state) {
        if (seen_.emplace(reinterpret_cast<const char*>(&state), sizeof state).second) waiting_.push_back(state);
    }

    void expand(const State& state) {
        bool stuck = true;
        for (int i = 0; i < process_count; ++i) {
            const auto before = seen_.size();
            moved_ = false;
            step(state, i);
            stuck = stuck && !moved_;
            if (before != seen_.size()) stuck = false;
        }
        for (int i = 0; i < process_count; ++i) die(state, i);
        bool all_done = true;
        for (const Process& p : state.processes) all_done = all_done && is_done(p);
        if (stuck && !all_done) violated("nobody can go on");
    }
    static bool is_done(const Process& p) { return p.pc == finished || (p.pc == closed && p.lives == 0); }
    void violated(std::string_view what) {
        if (violation_.empty()) violation_ = what;
    }

    // ---- death -----------------------------------------------------------------------------------------------------

    void die(const State& state, int i) {
        if (state.deaths == 0 || is_done(state.processes[i])) return;
        if (state.processes[i].pc == closed) return;
        State next = state;
        --next.deaths;
        release(next, i);
        next.processes[i] = begin_life(state.processes[i]);
        visit(next);
    }
    static void release(State& s, int i) {
        const auto me = static_cast<std::uint8_t>(i + 1);
        if (s.gate == me) s.gate = 0;
        if (s.alone == me) s.alone = 0;
        s.shared = static_cast<std::uint8_t>(s.shared & ~(1u << i));
        for (std::uint8_t& holder : s.holder)
            if (holder == me) holder = 0;
    }
    /// Another process, or the same one again.
    static Process begin_life(const Process& p) {
        Process next;
        const bool reads_only = p.pc >= view_stamp;
        next.lives = static_cast<std::uint8_t>(p.lives - (p.lives != 0 ? 1 : 0));
        next.writes = 1;
        next.reads = 1;
        if (reads_only) next.pc = p.lives != 0 ? view_stamp : finished;
        return next;
    }

    // ---- steps -----------------------------------------------------------------------------------------------------

    void step(const State& state, int i) {
        State s = state;
        Process& p = s.processes[i];
        const auto me = static_cast<std::uint8_t>(i + 1);
        if (p.pc <= ungate)
            open_step(s, p, me);
        else if (p.pc >= view_stamp)
            view_step(s, p);
        else
            use_step(s, p, me);
    }
    void go(const State& s) {
        moved_ = true;
        visit(s);
    }
    void go(State& s, Process& p, Pc pc) {
        p.pc = pc;
        go(s);
    }

    static std::uint8_t free_byte(const State& s) {
        for (std::uint8_t i = 0; i < byte_count; ++i)
            if (s.holder[i] == 0) return static_cast<std::uint8_t>(i + 1);
        return 0;
    }
    static bool is_dead(const State& s, std::uint8_t byte) { return s.holder[byte - 1] == 0; }

    void open_step(State& s, Process& p, std::uint8_t me) {
        const auto bit = static_cast<std::uint8_t>(1u << (me - 1));
        switch (p.pc) {
            case closed:
                if (p.lives == 0) return;
                if (flaw_ != Flaw::no_gate) {
                    if (s.gate != 0) return;
                    s.gate = me;
                }
                return go(s, p, presence);
            case presence:
                if (s.alone != 0) return;  // without a gate: refused, and tried again
                if (s.shared == 0) {
                    s.alone = me;
                    return go(s, p, alone_byte);
                }
                return go(s, p, presence_shared);
            case presence_shared:
                if (s.alone != 0) return;
                s.shared |= bit;
                return go(s, p, presence_again);
            case presence_again:
                if (s.shared != bit || s.alone != 0 || flaw_ == Flaw::no_second_try) return go(s, p, attach_byte);
                s.shared = 0;
                s.alone = me;
                return go(s, p, alone_byte);
            case alone_byte:
                p.byte = free_byte(s);
                s.holder[p.byte - 1] = me;
                return go(s, p, flaw_ == Flaw::opener_keeps_stamp ? alone_x : alone_stamp);
            case alone_stamp: ++s.stamp; return go(s, p, alone_x);
            case alone_x:
                if (s.valid == 0) return go(s, p, alone_word);
                s.x = s.journal;
                return go(s, p, alone_y);
            case alone_y: s.y = s.journal; return go(s, p, alone_off);
            case alone_off: s.valid = 0; return go(s, p, alone_word);
            case alone_word: s.owner = 0; return go(s, p, alone_even);
            case alone_even: s.counter = even(s.counter); return go(s, p, alone_share);
            case alone_share:
                s.alone = 0;
                s.shared |= bit;
                return go(s, p, ungate);
            case attach_byte:
                p.byte = free_byte(s);
                s.holder[p.byte - 1] = me;
                return go(s, p, attach_inherit);
            case attach_inherit:
                if (s.owner != p.byte || flaw_ == Flaw::no_inheritance) return go(s, p, ungate);
                p.after = then_ungate;
                raise(s);
                return go(s, p, take_x);
            case ungate:
                if (s.gate == me) s.gate = 0;
                return go(s, p, idle);
            default: return;
        }
    }

    std::uint8_t even(std::uint8_t counter) const {
        if (counter % 2 == 0) return counter;
        return static_cast<std::uint8_t>(flaw_ == Flaw::evens_by_taking_away ? counter - 1 : counter + 1);
    }
    void raise(State& s) const {
        if (flaw_ != Flaw::count_does_not_rise) ++s.count;
    }

    void use_step(State& s, Process& p, std::uint8_t me) {
        const auto bit = static_cast<std::uint8_t>(1u << (me - 1));
        switch (p.pc) {
            case idle: return idle_step(s, p);
            case lock:
                p.owner = s.owner;
                p.count = s.count;
                if (s.owner == 0) return go(s, p, exchange);
                if (s.owner != p.byte && is_dead(s, s.owner)) return go(s, p, exchange_dead);
                return;  // waits
            case exchange:
            case exchange_dead: {
                const bool dead = p.pc == exchange_dead;
                if (s.owner != p.owner || s.count != p.count) return go(s, p, lock);
                s.owner = p.byte;
                raise(s);
                p.owner = p.count = 0;
                return go(s, p, dead ? take_x : taken);
            }
            case take_x:
                check_alone(s);
                if (s.valid == 0 || flaw_ == Flaw::takeover_without_journal) return go(s, p, take_even);
                s.x = s.journal;
                return go(s, p, take_y);
            case take_y: s.y = s.journal; return go(s, p, take_off);
            case take_off: s.valid = 0; return go(s, p, take_even);
            case take_even:
                if (flaw_ != Flaw::takeover_leaves_odd) s.counter = even(s.counter);
                return go(s, p, taken);
            case taken:
                check_alone(s);
                // Who only helps a reader evens under the lock what it finds odd.
                if (p.after == then_read && flaw_ != Flaw::takeover_leaves_odd) s.counter = even(s.counter);
                return go(s, p, p.after == then_change ? change_odd : unlock);
            case change_odd:
                check_alone(s);
                if (s.x != s.y || s.valid != 0) violated("a change begins on half of another");
                ++s.counter;
                return go(s, p, change_journal);
            case change_journal: s.journal = static_cast<std::uint8_t>(s.x + 1); return go(s, p, change_commit);
            case change_commit: s.valid = 1; return go(s, p, change_x);
            case change_x: s.x = s.journal; return go(s, p, change_y);
            case change_y: s.y = s.journal; return go(s, p, change_off);
            case change_off: s.valid = 0; return go(s, p, change_even);
            case change_even:
                ++s.counter;
                s.acknowledged = s.x;
                return go(s, p, unlock);
            case unlock: {
                if (flaw_ != Flaw::byte_freed_before_word || p.after == then_ungate) s.owner = 0;
                const auto after = p.after;
                p.after = 0;
                return go(s, p, after == then_ungate ? ungate : idle);
            }
            case read_note:
                p.counter = s.counter;
                p.floor = s.acknowledged;
                if (s.counter % 2 == 0) return go(s, p, read_x);
                if (s.owner != 0 && (s.owner == p.byte || !is_dead(s, s.owner))) return;  // waits
                p.counter = 0;
                p.after = then_read;
                return go(s, p, lock);
            case read_x: p.x = s.x; return go(s, p, read_y);
            case read_y: p.y = s.y; return go(s, p, read_check);
            case read_check: {
                const bool good = p.counter == s.counter || flaw_ == Flaw::reader_does_not_look_again;
                if (good) check_read(p);
                p.counter = p.x = p.y = p.floor = 0;
                if (good) --p.reads;
                return go(s, p, good ? idle : read_note);
            }
            case close_gate:
                if (flaw_ != Flaw::no_gate) {
                    if (s.gate != 0) return;
                    s.gate = me;
                }
                return go(s, p, close_byte);
            case close_byte:
                s.holder[p.byte - 1] = 0;
                s.shared = static_cast<std::uint8_t>(s.shared & ~bit);
                if (s.gate == me) s.gate = 0;
                if (flaw_ == Flaw::byte_freed_before_word) return go(s, p, close_word);
                p = begin_life(p);
                return go(s);
            case close_word:
                if (s.owner == p.byte) s.owner = 0;
                p = begin_life(p);
                return go(s);
            default: return;
        }
    }

    void idle_step(const State& state, const Process& process) {
        const auto index = &process - state.processes;
        const auto begin = [&](Pc pc, After after) {
            State s = state;
            Process& p = s.processes[index];
            p.after = after;
            if (pc == lock) --p.writes;
            go(s, p, pc);
        };
        if (process.writes != 0) begin(lock, then_change);
        if (process.reads != 0) begin(read_note, then_change);
        if (process.writes == 0) begin(close_gate, then_change);
    }

    void check_read(const Process& p) {
        if (p.x != p.y) violated("a read is believed that saw half a change");
        if (p.x < p.floor) violated("a read is older than what was acknowledged before it began");
    }
    void check_alone(const State& s) {
        int inside = 0;
        for (const Process& p : s.processes)
            inside += (p.pc >= take_x && p.pc <= unlock) || (p.pc >= alone_x && p.pc <= alone_even) ? 1 : 0;
        if (inside > 1) violated("two are in the critical section");
    }

    // ---- the read-only handle --------------------------------------------------------------------------------------

    static std::uint8_t counter_of(const State& s, const Process& p) {
        return p.owns_counter != 0 ? p.own_counter : s.counter;
    }
    void begin_view(State& s, Process& p) {
        Process fresh;
        fresh.pc = view_stamp;
        fresh.lives = p.lives;
        fresh.reads = p.reads;
        p = fresh;
        go(s);
    }

    void view_step(State& s, Process& p) {
        const bool late = flaw_ == Flaw::view_stamp_noted_late;
        switch (p.pc) {
            case view_stamp:
                if (!late) p.stamp = s.stamp;
                return go(s, p, view_presence);
            case view_presence:
                if (s.alone != 0) return go(s, p, view_gate);
                p.kind = s.shared != 0 ? live : at_rest;
                return go(s, p, p.kind == live ? view_late_stamp : rest_journal);
            case view_gate:
                if (s.gate == 0 && s.alone != 0) violated("a handle that shares seems not to");
                return begin_view(s, p);
            case rest_journal: return go(s, p, s.valid != 0 ? rest_x : rest_even);
            case rest_x:
                p.owns_x = 1;
                p.own_x = s.journal;
                return go(s, p, rest_y);
            case rest_y:
                p.owns_y = 1;
                p.own_y = s.journal;
                return go(s, p, rest_even);
            case rest_even:
            case orphan_even:
                if (s.counter % 2 != 0) {
                    p.owns_counter = 1;
                    p.own_counter = even(s.counter);
                }
                return go(s, p, p.pc == rest_even ? view_late_stamp : look_note);
            case view_late_stamp:
                if (late) p.stamp = s.stamp;
                return go(s, p, look_note);
            case orphan_journal: return go(s, p, s.valid != 0 ? orphan_x : orphan_even);
            case orphan_x:
                p.owns_x = 1;
                p.own_x = s.journal;
                return go(s, p, orphan_y);
            case orphan_y:
                p.owns_y = 1;
                p.own_y = s.journal;
                return go(s, p, orphan_even);
            case look_note: return look_note_step(s, p);
            case look_x: p.x = p.owns_x != 0 ? p.own_x : s.x; return go(s, p, look_y);
            case look_y: p.y = p.owns_y != 0 ? p.own_y : s.y; return go(s, p, look_check);
            case look_check: return look_check_step(s, p);
            default: return;
        }
    }

    void look_note_step(State& s, Process& p) {
        p.counter = counter_of(s, p);
        p.floor = s.acknowledged;
        if (p.counter % 2 == 0) return go(s, p, look_x);
        p.counter = 0;
        const bool is_over = s.stamp != p.stamp || (p.kind == orphaned && (s.owner != p.owner || s.count != p.count));
        if (is_over && flaw_ != Flaw::waiting_view_not_renewed) return begin_view(s, p);
        if (p.kind != live || s.owner == 0 || !is_dead(s, s.owner)) return;  // waits
        p.kind = orphaned;
        p.owner = s.owner;
        p.count = s.count;
        return go(s, p, orphan_journal);
    }

    void look_check_step(State& s, Process& p) {
        const bool same_view = s.stamp == p.stamp || flaw_ == Flaw::view_stamp_not_looked_at;
        const bool same_lock = p.kind != orphaned || flaw_ == Flaw::orphan_lock_not_looked_at ||
                               (s.owner == p.owner && s.count == p.count);
        if (p.counter != counter_of(s, p)) {
            p.counter = p.x = p.y = p.floor = 0;
            return go(s, p, look_note);
        }
        if (!same_view || !same_lock) return begin_view(s, p);
        check_read(p);
        p.counter = p.x = p.y = p.floor = 0;
        if (--p.reads == 0) {
            p = Process{};
            p.pc = finished;
            return go(s);
        }
        go(s, p, look_note);
    }

    Flaw flaw_;
    std::unordered_set<std::string> seen_;
    std::deque<State> waiting_;
    std::string violation_;
    bool moved_ = false;
};

Process writer(std::uint8_t lives, std::uint8_t writes, std::uint8_t reads) {
    Process p;
    p.lives = lives;
    p.writes = writes;
    p.reads = reads;
    return p;
}
Process viewer(std::uint8_t reads) {
    Process p;
    p.pc = view_stamp;
    p.lives = 1;
    p.reads = reads;
    return p;
}

struct Scene {
    const char* name;
    Process processes[process_count];
    std::uint8_t deaths;
};
const Scene scenes[] = {
    {"a writer that dies and comes again, and a read-only handle", {writer(3, 1, 0), writer(0, 0, 0), viewer(1)}, 2},
    {"two writers, of which one reads", {writer(2, 1, 0), writer(1, 1, 1), writer(0, 0, 0)}, 2},
    {"two writers and a read-only handle", {writer(1, 1, 0), writer(1, 1, 0), viewer(1)}, 1},
};
/// Some forty million states.
const Scene large_scenes[] = {
    {"three writers", {writer(2, 1, 0), writer(1, 1, 0), writer(1, 1, 0)}, 1},
    {"three writers, two deaths", {writer(2, 1, 0), writer(1, 1, 1), writer(1, 1, 0)}, 2},
    {"two writers and a read-only handle, two deaths", {writer(2, 1, 0), writer(1, 1, 0), viewer(2)}, 2},
};

/// What goes wrong; empty if nothing does.
std::string explore(const Scene& scene, Flaw flaw, std::size_t& states) {
    State first;
    first.deaths = scene.deaths;
    std::copy(std::begin(scene.processes), std::end(scene.processes), first.processes);
    Explorer explorer(flaw);
    explorer.run(first);
    states += explorer.states();
    return explorer.violation().empty() ? std::string() : std::string(scene.name) + ": " + explorer.violation();
}
std::string explore(Flaw flaw, std::size_t& states) {
    for (const Scene& scene : scenes)
        if (std::string problem = explore(scene, flaw, states); !problem.empty()) return problem;
    return {};
}

}  // namespace

TEST_CASE("the protocol of sharing: every state of a small machine", "[sharing_model]") {
    std::size_t states = 0;
    CHECK(explore(Flaw::none, states) == "");
    if (kvs_test::is_long())
        for (const Scene& scene : large_scenes) CHECK(explore(scene, Flaw::none, states) == "");
    CHECK(states > 100000);
    std::printf("sharing: %zu states\n", states);
}

TEST_CASE("the protocol of sharing: without any of its rules something goes wrong", "[sharing_model]") {
    const std::pair<Flaw, const char*> flaws[] = {
        {Flaw::takeover_without_journal, "takeover without the journal"},
        {Flaw::takeover_leaves_odd, "takeover leaves counters odd"},
        {Flaw::evens_by_taking_away, "counters are evened by taking one away"},
        {Flaw::no_inheritance, "a dead owner's byte is not inherited"},
        {Flaw::count_does_not_rise, "the count of the lock word does not rise"},
        {Flaw::byte_freed_before_word, "the owner byte is freed before the lock word is cleared"},
        {Flaw::no_gate, "no gate"},
        {Flaw::no_second_try, "who is refused and finds nobody then joins all the same"},
        {Flaw::reader_does_not_look_again, "a reader does not look at the counter again"},
        {Flaw::view_stamp_not_looked_at, "a read-only handle does not look at the opening stamp"},
        {Flaw::view_stamp_noted_late, "it notes the stamp after it has made its view"},
        {Flaw::orphan_lock_not_looked_at, "it does not look at the dead owner's lock word again"},
        {Flaw::waiting_view_not_renewed, "it waits in a view that is over"},
        {Flaw::opener_keeps_stamp, "an opener does not change the stamp"},
    };
    for (const auto& [flaw, name] : flaws) {
        std::size_t states = 0;
        INFO(name);
        CHECK(explore(flaw, states) != "");
    }
}
