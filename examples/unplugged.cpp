// Kills a process two hundred times while it saves, and looks at what is left: unplugged [FILE [DEATHS]]
#include <fmt/core.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <kvs/kvs.hpp>

#include <atomic>
#include <cstdlib>
#include <new>
#include <random>
#include <string>

using Saves = std::atomic<unsigned>;  // what the child says that it has saved, in memory that both see

/// Saves a game again and again: its number, and everything that has to fit to it. Never returns.
void play(const char* file, Saves& saved) {
    kvs::Store<32> game{file};
    for (unsigned number = saved + 1;; ++number) {
        game.batch([&](auto& save) {  // all of it, or nothing
            save.set("number", number);
            save.set("level", fmt::format("level {}", number % 50));
            save.set("inventory", std::string(number % 2000, 'i'));
            if (number % 3 == 0)
                save.erase("boss");
            else
                save.set("boss", number);
        });
        saved = number;
    }
}

/// What is wrong with a game that was found; empty if nothing is.
std::string look_at(const kvs::Store<32>& game, unsigned acknowledged) {
    const unsigned number = game.get_or("number", 0u);
    if (number != acknowledged && number != acknowledged + 1)
        return fmt::format("save {} was acknowledged, save {} is there", acknowledged, number);
    if (!game.verify().ok()) return "verify() finds damage";
    if (number == 0) return game.empty() ? "" : "half a first save";
    const bool fits = game.get<std::string>("level") == fmt::format("level {}", number % 50) &&
                      game.get<std::string>("inventory") == std::string(number % 2000, 'i') &&
                      game.get<unsigned>("boss").value_or(0) == (number % 3 == 0 ? 0 : number);
    return fits ? "" : fmt::format("save {} is mixed with another", number);
}

/// Says what is wrong, for `main` to return.
int complain(const std::string& problem) {
    fmt::print(stderr, "{}\n", problem);
    return 1;
}

int main(int argc, char** argv) try {
    const char* file = argc > 1 ? argv[1] : "unplugged.akvs";
    const int deaths = argc > 2 ? std::atoi(argv[2]) : 200;
    void* memory = ::mmap(nullptr, sizeof(Saves), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return complain("there is no memory to share");
    Saves& saved = *new (memory) Saves(kvs::Store<32>(file).get_or("number", 0u));
    std::mt19937 random(std::random_device{}());
    unsigned in_flight = 0, killed = 0;
    const unsigned first = saved;
    for (int death = 0; death < deaths; ++death) {
        const pid_t child = ::fork();
        if (child < 0) return complain("a process cannot be started");
        if (child == 0) play(file, saved);
        ::usleep(static_cast<useconds_t>(random() % 5000));  // anywhere: opening, saving, syncing
        ::kill(child, SIGKILL);
        int end = 0;
        ::waitpid(child, &end, 0);
        if (!WIFSIGNALED(end) || WTERMSIG(end) != SIGKILL) return complain("the process ended by itself");

        const kvs::Store<32> game{file};
        if (const std::string problem = look_at(game, saved); !problem.empty())
            return complain(fmt::format("death {}: {}", death, problem));
        killed += game.recovery().outcome == kvs::Recovery::Outcome::killed ? 1 : 0;
        in_flight += game.get_or("number", 0u) != saved ? 1 : 0;
        saved = game.get_or("number", 0u);
    }
    fmt::print("{} deaths, {} of them with the file in use; {} saves. None was lost, none is half there;\n", deaths,
               killed, saved - first);
    fmt::print("{} were complete although the process died before it could say so.\n", in_flight);
} catch (const kvs::Error& error) {
    return complain(error.what());
}
