// Processes that count together, killed again and again while they do: shared_counter [FILE [DEATHS]]
#include <fmt/core.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <kvs/kvs.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <random>

constexpr unsigned processes = 4;

struct Counts {  // in memory that all see, and that outlives each of them
    std::array<std::atomic<std::uint64_t>, processes> begun{};  // increments that a process has begun
    std::array<std::atomic<std::uint64_t>, processes> done{};   // and those that it was told are done
};

/// Raises the counter again and again, together with the others. Never returns.
void count(const char* file, std::atomic<std::uint64_t>& begun, std::atomic<std::uint64_t>& done) {
    kvs::Store<32> store{file};
    for (;;) {
        ++begun;
        store.read_modify_write("counter", [](std::optional<std::uint64_t> n) { return n.value_or(0) + 1; });
        ++done;
    }
}

/// -1 if no process can be started.
pid_t start(const char* file, Counts& counts, unsigned i) {
    const pid_t child = ::fork();
    if (child == 0) count(file, counts.begun[i], counts.done[i]);
    return child;
}

/// False if there was no process, or it had ended by itself.
bool kill(pid_t child) {
    if (child < 0) return false;  // which to the system would mean: all
    int end = 0;
    ::kill(child, SIGKILL);
    ::waitpid(child, &end, 0);
    return WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL;
}

int main(int argc, char** argv) try {
    const char* file = argc > 1 ? argv[1] : "counter.akvs";
    const int deaths = argc > 2 ? std::atoi(argv[2]) : 200;
    void* memory = ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    Counts& counts = *new (memory) Counts;
    const std::uint64_t first = kvs::Store<32>(file).get_or("counter", std::uint64_t{0});
    std::mt19937 random(std::random_device{}());
    std::array<pid_t, processes> children;
    for (unsigned i = 0; i < processes; ++i) children[i] = start(file, counts, i);
    std::uint64_t in_flight = 0;
    bool all_lived = true;
    const auto kill_one = [&](unsigned i) {  // what it had begun is done or not, nobody can say
        all_lived = kill(children[i]) && all_lived;
        in_flight += counts.begun[i] - counts.done[i];
        counts.begun[i] = counts.done[i].load();
    };
    for (int death = 0; death < deaths && all_lived; ++death) {
        ::usleep(static_cast<useconds_t>(random() % 5000));  // anywhere: opening, counting, syncing
        const unsigned victim = random() % processes;
        kill_one(victim);
        children[victim] = start(file, counts, victim);
    }
    for (unsigned i = 0; i < processes; ++i) kill_one(i);
    if (!all_lived) {
        fmt::print(stderr, "A process could not be started, or ended by itself.\n");
        return 1;
    }

    std::uint64_t acknowledged = 0;
    for (const auto& done : counts.done) acknowledged += done;
    kvs::Store<32> store{file};
    const std::uint64_t counted = store.get_or("counter", std::uint64_t{0}) - first;
    fmt::print("{} processes, {} deaths: {} increments were acknowledged, {} in flight; counted were {}.\n", processes,
               deaths, acknowledged, in_flight, counted);
    const bool right = counted >= acknowledged && counted <= acknowledged + in_flight && store.verify().ok();
    fmt::print("{}\n", right ? "None was lost, and none counted twice." : "That is wrong.");
    return right ? 0 : 1;
} catch (const kvs::Error& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
}
