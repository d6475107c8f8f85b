// [writers] Storms: eight processes share a store, four of them write; some are killed by SIGKILL at any instant, again
// and again, and others take their places at once. What was acknowledged stays, what was under way happened or not, for
// everybody alike; the others go on; and no read ever fails.
//
// Each storm ends with all processes killed at once, or told to leave, and what is left is judged: the histories of the
// keys that all have written (linearizability.hpp), the file, and what the next open says of it.
#include <kvs/kvs.hpp>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../catch.hpp"
#include "../support/campaign.hpp"
#include "../support/child.hpp"
#include "../support/shared_memory.hpp"
#include "../support/temp_dir.hpp"
#include "linearizability.hpp"
#include "storm.hpp"
#include "storm_process.hpp"

namespace {

using kvs_test::KeyOperation;
using kvs_test::TempDir;
using namespace kvs_test::storm;

/// Times until every other process had done something that it began after a death, or after a moment without one.
class Delays {
public:
    void add(std::uint64_t nanoseconds) { all_.push_back(nanoseconds); }
    std::size_t count() const { return all_.size(); }
    std::string text() {
        if (all_.empty()) return "none";
        std::sort(all_.begin(), all_.end());
        const auto part = [&](double p) {
            return ms(all_[std::min(all_.size() - 1, static_cast<std::size_t>(p * static_cast<double>(all_.size())))]);
        };
        const auto quick = std::upper_bound(all_.begin(), all_.end(), 100'000'000u) - all_.begin();
        return "median " + part(0.5) + ", 99 % " + part(0.99) + ", 99.9 % " + part(0.999) + ", slowest " +
               ms(all_.back()) + "; within 100 ms: " + std::to_string(quick) + " of " + std::to_string(all_.size());
    }

private:
    static std::string ms(std::uint64_t nanoseconds) {
        return std::to_string(nanoseconds / 1'000'000) + "." + std::to_string(nanoseconds / 100'000 % 10) + " ms";
    }
    std::vector<std::uint64_t> all_;
};

/// The processes of a storm, in the eyes of the one that starts and kills them.
class Storm {
public:
    Storm(kvs_test::Campaign& campaign, std::string path) : campaign_(campaign), path_(std::move(path)) {
        const Store created(path_);
    }
    Storm(const Storm&) = delete;
    Storm& operator=(const Storm&) = delete;
    ~Storm() { kill_all(); }

    Board& board() { return *board_; }
    std::uint64_t deaths() const { return deaths_; }

    void start(unsigned process) {
        const std::uint64_t seed = campaign_.random()();
        pids_[process] = ::fork();
        if (pids_[process] < 0) throw std::runtime_error("fork failed");
        if (pids_[process] == 0) live(process, seed);
    }
    void start_all(unsigned count = process_count) {
        for (unsigned i = 0; i < count; ++i) start(i);
    }
    void stop(unsigned process) {
        ::kill(pids_[process], SIGSTOP);
        int status = 0;
        while (::waitpid(pids_[process], &status, WUNTRACED) < 0 && errno == EINTR) {
        }
        if (WIFSTOPPED(status)) return;
        pids_[process] = 0;
        board_->complain(process, "it ended by itself");
    }
    void go_on(unsigned process) {
        if (pids_[process] > 0) ::kill(pids_[process], SIGCONT);
    }

    void kill(unsigned process) {
        if (pids_[process] > 0) ::kill(pids_[process], SIGKILL);
    }
    /// Waits for the end, and notes what the process was doing.
    void bury(unsigned process) {
        const std::string end = kvs_test::end_of(pids_[process]);
        pids_[process] = 0;
        if (end != "it was killed by signal " + std::to_string(SIGKILL))
            board_->complain(process, "instead of being killed, " + (end.empty() ? "it ended" : end));
        ++deaths_;
        const Told& told = board_->told[process];
        if (told.logged != 0 && told.log[told.logged - 1].returned == 0)
            dead_ends_.push_back({process, told.logged - 1, board_->tick()});
    }
    void kill_all() {
        for (unsigned i = 0; i < process_count; ++i)
            if (pids_[i] != 0) kill(i);
        for (unsigned i = 0; i < process_count; ++i)
            if (pids_[i] != 0) bury(i);
    }
    void dismiss_all() {
        board_->leave = true;
        for (unsigned i = 0; i < process_count; ++i) {
            const std::string end = kvs_test::end_of(std::exchange(pids_[i], 0));
            if (!end.empty()) board_->complain(i, end);
        }
    }

    /// From here on it counts what a process begins.
    void ring() {
        rung_ = now();
        ++board_->alarm;
    }
    /// Returns when the process has done something that it began after the ring, and the time that took. One that never
    /// does is told by name.
    std::uint64_t wait_for(unsigned process) {
        constexpr std::uint64_t for_ever = 60'000'000'000;
        const Told& told = board_->told[process];
        while (told.alarm < board_->alarm && board_->complaints == 0) {
            ::usleep(200);
            look_for_ends();
            if (now() - rung_ > for_ever) board_->complain(process, "it does not go on");
        }
        return told.alarm_at - rung_;
    }

    /// Kills, replaces at once, and waits until every process has gone on.
    void kill_and_wait(const std::vector<unsigned>& killed, Delays& delays) {
        rung_ = now();
        for (const unsigned process : killed) kill(process);
        ++board_->alarm;
        for (const unsigned process : killed) bury(process);
        for (const unsigned process : killed) start(process);
        for (unsigned i = 0; i < process_count; ++i) {
            const std::uint64_t delay = wait_for(i);
            const bool is_survivor = std::find(killed.begin(), killed.end(), i) == killed.end();
            if (is_survivor && i < writer_count) delays.add(delay);
        }
    }

    bool has_complaint() const { return board_->complaints != 0; }
    std::string complaint() const {
        while (board_->complaints == 1) ::usleep(100);
        return board_->complaint;
    }

    /// The logs, key by key. An operation in which its process died can have happened until somebody has written who
    /// began after that: he held the lock, and finished it or not.
    std::map<unsigned, std::vector<KeyOperation>> histories() const {
        std::map<unsigned, std::vector<KeyOperation>> all;
        for (unsigned process = 0; process < process_count; ++process)
            for (std::uint32_t i = 0; i < board_->told[process].logged; ++i) {
                const Logged& entry = board_->told[process].log[i];
                KeyOperation operation{entry.kind,     entry.returned == 0, entry.called,
                                       entry.returned, entry.value,         entry.found};
                if (operation.killed) operation.returned = last_moment(process, i);
                const bool is_idle = operation.kind == KeyOperation::Kind::exchange && operation.value == 0;
                if (!is_idle) all[entry.key].push_back(operation);
            }
        return all;
    }

private:
    struct DeadEnd {
        unsigned process;
        std::uint32_t entry;
        std::uint64_t time;
    };

    [[noreturn]] void live(unsigned process, std::uint64_t seed) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM, SIGINT}) ::signal(signal, SIG_DFL);
        try {
            Process(*board_, process, path_, seed).run();
        } catch (const std::exception& e) {
            board_->complain(process, e.what());
        }
        ::_exit(0);
    }

    void look_for_ends() {
        for (unsigned i = 0; i < process_count; ++i) {
            siginfo_t ended{};
            if (pids_[i] == 0 || ::waitid(P_PID, static_cast<id_t>(pids_[i]), &ended, WEXITED | WNOHANG | WNOWAIT) != 0)
                continue;
            if (ended.si_pid == 0) continue;
            const std::string end = kvs_test::end_of(std::exchange(pids_[i], 0));
            board_->complain(i, "it ended by itself" + (end.empty() ? end : ": " + end));
        }
    }

    std::uint64_t last_moment(unsigned process, std::uint32_t entry) const {
        std::uint64_t death = KeyOperation::never;
        for (const DeadEnd& one : dead_ends_)
            if (one.process == process && one.entry == entry) death = one.time;
        std::uint64_t moment = KeyOperation::never;
        for (unsigned writer = 0; writer < writer_count; ++writer)
            for (std::uint32_t i = 0; i < board_->told[writer].logged; ++i) {
                const Logged& other = board_->told[writer].log[i];
                const bool writes = other.kind == KeyOperation::Kind::set || other.kind == KeyOperation::Kind::remove;
                if (writes && other.returned != 0 && other.called > death)
                    moment = std::min(moment, other.returned.load());
            }
        return moment;
    }

    kvs_test::Campaign& campaign_;
    std::string path_;
    kvs_test::SharedMemory<Board> board_;
    std::array<pid_t, process_count> pids_{};
    std::vector<DeadEnd> dead_ends_;
    std::uint64_t deaths_ = 0;
    std::uint64_t rung_ = 0;
};

/// One to three processes, at times all writers, at times everybody.
std::vector<unsigned> victims(kvs_test::Campaign& campaign) {
    std::vector<unsigned> all;
    const std::uint64_t kind = campaign.pick(12);
    const unsigned among = kind == 0 ? process_count : kind < 3 ? writer_count : 0;
    for (unsigned i = 0; i < among; ++i) all.push_back(i);
    for (std::uint64_t n = 1 + campaign.pick(3); among == 0 && n != 0; --n) {
        const auto one =
            static_cast<unsigned>(campaign.one_in(4) ? campaign.pick(process_count) : campaign.pick(writer_count));
        if (std::find(all.begin(), all.end(), one) == all.end()) all.push_back(one);
    }
    return all;
}

/// The end of a storm: what the file holds is read like by one more process, and closes each history.
void judge(Storm& storm, const std::string& path, bool all_killed, std::uint64_t& judged) {
    Board& board = storm.board();
    {
        const Store before(path, {.mode = kvs::Mode::read_only});
        CHECK_FALSE(before.recovery().damaged());
        CHECK(before.verify().ok());
    }
    Store store(path, {.sync = kvs::sync_manual});
    const auto expected = all_killed ? kvs::Recovery::Outcome::killed : kvs::Recovery::Outcome::clean;
    CHECK(store.recovery().outcome == expected);
    CHECK_FALSE(store.recovery().attached);
    CHECK_FALSE(store.recovery().damaged());
    const kvs::Report report = store.verify();
    for (const kvs::Problem& problem : report.problems) UNSCOPED_INFO(problem.text);
    CHECK(report.ok());

    for (unsigned i = 0; i < writer_count; ++i) {
        const Told& told = board.told[i];
        const auto own = store.value(own_of(i));
        CHECK((own == own_state(told.acknowledged) || own == own_state(told.intended)));
        for (std::uint64_t n = 0; n < told.new_keys; ++n) CHECK(store.value(new_key(i, n)) == value_of(n));
    }
    for (auto& [key, history] : storm.histories()) {
        INFO("register " << key);
        const std::string name = is_pair(key) ? left_of(key) : name_of(key);
        const auto value = store.value(name);
        if (is_pair(key)) CHECK(value == store.value(right_of(key)));
        KeyOperation last{KeyOperation::Kind::get, false, board.tick(), 0, 0, value ? id_in(key, *value).value() : 0};
        last.returned = board.tick();
        history.push_back(last);
        const std::string problem = kvs_test::problem_of(history);
        INFO(problem);
        CHECK(problem.empty());
        judged += history.size();
    }
}

}  // namespace

TEST_CASE("processes that share a store are killed at any instant, and the others go on", "[shared_storm]") {
    kvs_test::Campaign campaign(97);
    INFO(campaign.replay());
    const std::uint64_t wanted = kvs_test::rounds(520, 50'000);
    constexpr std::uint64_t deaths_of_a_storm = 130;
    Delays with, without;
    std::uint64_t deaths = 0, judged = 0, operations = 0, opens = 0, resumed = 0, storms = 0;
    while (deaths < wanted) {
        TempDir dir;
        const std::string path = dir.file();
        Storm storm(campaign, path);
        INFO("storm " << storms);
        ++storms;
        const std::uint64_t end = std::min(deaths_of_a_storm, wanted - deaths);
        storm.board().only_readers = storms % 2 == 0;
        storm.start_all();
        storm.kill_and_wait({}, without);
        storm.kill_and_wait({0, 1, 2, 3, 4, 5, 6, 7}, with);
        while (storm.deaths() < end && !storm.has_complaint()) {
            storm.board().allowance =
                static_cast<std::uint32_t>(most_logged * (storm.deaths() + 1) / deaths_of_a_storm);
            storm.board().restless = campaign.one_in(5);
            ::usleep(static_cast<useconds_t>(campaign.pick(15'000)));
            if (campaign.one_in(4))
                storm.kill_and_wait({}, without);
            else
                storm.kill_and_wait(victims(campaign), with);
        }
        INFO(storm.complaint());
        REQUIRE_FALSE(storm.has_complaint());
        const bool all_killed = campaign.one_in(2);
        if (all_killed)
            storm.kill_all();
        else
            storm.dismiss_all();
        INFO(storm.complaint());
        REQUIRE_FALSE(storm.has_complaint());
        judge(storm, path, all_killed, judged);
        deaths += storm.deaths();
        for (const Told& told : storm.board().told) {
            operations += told.operations;
            opens += told.opens;
            resumed += told.resumed;
        }
    }
    WARN(deaths
         << " deaths in " << storms << " storms; " << operations << " operations, " << judged
         << " of them judged for their order; " << opens << " opens, " << resumed
         << " of them of a file that was left by killed processes.\nUntil each surviving writer's next write that "
         << "it began after a death:\n  " << with.text() << "\nthe same from moments without a death:\n  "
         << without.text());
    CHECK(judged > deaths);
    CHECK(resumed > 0);
}

namespace {

/// True if the lock word names a handle that is gone.
bool is_lock_orphaned(const std::string& path) {
    namespace layout = kvs::detail::pair_layout;
    const int file = ::open(path.c_str(), O_RDONLY);
    std::uint64_t word = 0;
    const bool is_read = ::pread(file, &word, sizeof word, static_cast<off_t>(layout::shared::lock)) == sizeof word;
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(layout::owner_locks + (word & 0xff));
    lock.l_len = 1;
    const bool is_asked = ::fcntl(file, F_OFD_GETLK, &lock) == 0;
    ::close(file);
    return is_read && is_asked && (word & 0xff) != 0 && lock.l_type == F_UNLCK;
}

}  // namespace

TEST_CASE("a writer that dies with the lock in its hand is followed by whoever comes", "[shared_storm]") {
    kvs_test::Campaign campaign(101);
    INFO(campaign.replay());
    const std::uint64_t wanted = kvs_test::rounds(64, 4000);
    TempDir dir;
    const std::string path = dir.file();
    constexpr unsigned readers = 2, all = writer_count + readers;
    Storm storm(campaign, path);
    storm.board().steady = true;
    storm.start_all(all);
    Delays writers, heirs, alone;
    std::uint64_t judged = 0;
    for (std::uint64_t held = 0; held < wanted && !storm.has_complaint();) {
        storm.board().allowance = static_cast<std::uint32_t>(most_logged * (held + 1) / wanted);
        storm.ring();
        for (unsigned i = 0; i < all; ++i) storm.wait_for(i);
        ::usleep(static_cast<useconds_t>(campaign.pick(2000)));
        for (unsigned i = 0; i < writer_count && !storm.has_complaint(); ++i) storm.stop(i);
        const auto victim = static_cast<unsigned>(campaign.pick(writer_count));
        storm.kill(victim);
        storm.bury(victim);
        const bool is_orphaned = is_lock_orphaned(path);
        held += is_orphaned ? 1 : 0;
        const std::uint64_t kind = is_orphaned ? campaign.pick(3) : 3;
        if (kind == 0) {  // readers find nobody who could help them
            storm.ring();
            for (unsigned i = writer_count; i < all; ++i) alone.add(storm.wait_for(i));
        } else if (kind == 1) {  // the next handle is given the byte of the dead one
            storm.ring();
            storm.start(victim);
            heirs.add(storm.wait_for(victim));
        }
        storm.ring();
        for (unsigned i = 0; i < writer_count; ++i) storm.go_on(i);
        for (unsigned i = 0; i < writer_count; ++i) {
            const std::uint64_t delay = i == victim && kind != 1 ? 0 : storm.wait_for(i);
            if (kind == 2 && i != victim) writers.add(delay);
        }
        if (kind != 1) storm.start(victim);
    }
    INFO(storm.complaint());
    REQUIRE_FALSE(storm.has_complaint());
    storm.kill_all();
    judge(storm, path, true, judged);
    WARN(storm.deaths() << " deaths, " << wanted << " of them with the lock.\nUntil the next write of each writer:\n  "
                        << writers.text() << "\nuntil the first write of the next process:\n  " << heirs.text()
                        << "\nuntil the next read, while no writer runs:\n  " << alone.text());
}
