// Takes a snapshot of the system's parameters, each with its type, and tells what changed since the last one.
//
//   parameters.hpp   reads them, from /proc/sys or the environment
//   compare.hpp      brings the store up to date, and finds what differs
//   print.hpp        shows it
#include <fmt/core.h>

#include <chrono>
#include <exception>
#include <filesystem>
#include <kvs/format.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "compare.hpp"
#include "parameters.hpp"
#include "print.hpp"

namespace {

constexpr const char* usage =
    "usage: system_snapshot [FILE] [ROOT]\n"
    "\n"
    "Stores every readable value below the folder ROOT (/proc/sys) in FILE (system.akvs) and\n"
    "tells what changed since the last time. With \"-\" as ROOT, and by default where there is\n"
    "no /proc/sys, the parameters are the environment variables.\n";

/// Microseconds since it was last asked, or made.
class Stopwatch {
public:
    double lap() {
        const Clock::time_point before = std::exchange(start_, Clock::now());
        return std::chrono::duration<double, std::micro>(start_ - before).count();
    }

private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point start_ = Clock::now();
};

void print_time(std::string_view step, double microseconds, std::size_t parameters) {
    fmt::print("{:<24}{:>10.0f} µs", step, microseconds);
    if (parameters != 0) fmt::print("{:>10.2f} µs per parameter", microseconds / static_cast<double>(parameters));
    fmt::print("\n");
}

/// True if the file is whole.
bool print_check(const Snapshot& snapshot) {
    const kvs::Stats stats = snapshot.stats();
    fmt::print("\nfile: {} bytes, of them {} in use\n", stats.file_bytes, stats.live_bytes);
    const kvs::Report report = snapshot.verify();
    fmt::print("verified: {} keys, {} problems\n", report.keys, report.problem_count);
    if (!report.ok()) fmt::print("{}\n", report);
    return report.ok();
}

bool take_snapshot(const std::string& file, const std::string& root) {
    Stopwatch stopwatch;
    // All is stored at once, so there is nothing to do for a thread that syncs every second.
    Snapshot snapshot(file, {.sync = kvs::sync_manual});
    const double opening_time = stopwatch.lap();
    const Reading reading = root.empty() ? read_environment() : read_tree(root);
    const double reading_time = stopwatch.lap();
    const Differences differences = bring_up_to_date(snapshot, reading);
    const double storing_time = stopwatch.lap();
    snapshot.sync();
    const double sync_time = stopwatch.lap();

    print_opening(snapshot);
    print_reading(root.empty() ? "the environment" : root, reading);
    print_differences(differences, snapshot.recovery().keys == 0);
    print_table(snapshot);
    fmt::print("\n");
    print_time("opening the file", opening_time, 0);
    print_time("reading", reading_time, reading.parameters.size());
    print_time("comparing and storing", storing_time, reading.parameters.size());
    print_time("sync to the device", sync_time, 0);
    return print_check(snapshot);
}

/// Empty for the environment.
std::string choose_root(int argc, char** argv) {
    const std::string root = argc > 2 ? argv[2] : "/proc/sys";
    if (root == "-") return {};
    if (std::filesystem::is_directory(root)) return root;
    if (argc > 2) throw std::runtime_error(root + ": not a folder");
    return {};
}

}  // namespace

int main(int argc, char** argv) try {
    if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
        fmt::print(stderr, "{}", usage);
        return 2;
    }
    // A wrong root is found before there is a file.
    const std::string root = choose_root(argc, argv);
    return take_snapshot(argc > 1 ? argv[1] : "system.akvs", root) ? 0 : 1;
} catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
}
