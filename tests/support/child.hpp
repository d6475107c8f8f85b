// Things that are only safe, or only possible, in a process of their own.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <system_error>

namespace kvs_test {

/// Both ends of a pipe, for bytes that processes tell each other.
class Pipe {
public:
    Pipe() {
        if (::pipe(ends_) != 0) throw std::system_error(errno, std::generic_category(), "pipe");
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe() {
        close_reading();
        close_writing();
    }

    int reading() const { return ends_[0]; }
    int writing() const { return ends_[1]; }
    void close_reading() { close_end(0); }
    void close_writing() { close_end(1); }

    void write(std::string_view bytes) const {
        while (!bytes.empty()) {
            const ssize_t done = ::write(ends_[1], bytes.data(), bytes.size());
            if (done < 0 && errno != EINTR) return;
            if (done > 0) bytes.remove_prefix(static_cast<std::size_t>(done));
        }
    }
    /// Waits for one byte; false if the other end was closed.
    bool wait() const {
        char byte;
        ssize_t done;
        do done = ::read(ends_[0], &byte, 1);
        while (done < 0 && errno == EINTR);
        return done == 1;
    }
    /// Everything until the other end is closed.
    std::string read_all() const {
        std::string text;
        char piece[4096];
        for (;;) {
            const ssize_t done = ::read(ends_[0], piece, sizeof piece);
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0) return text;
            text.append(piece, static_cast<std::size_t>(done));
        }
    }

private:
    void close_end(int end) {
        if (ends_[end] >= 0) ::close(ends_[end]);
        ends_[end] = -1;
    }
    int ends_[2] = {-1, -1};
};

/// What a child does that never returns; it ends if that throws, and does not go on in its copy of the test.
template <class Work>
[[noreturn]] void or_die(const Work& work) {
    try {
        work();
    } catch (const std::exception& error) {
        std::fprintf(stderr, "a child: %s\n", error.what());
    }
    ::_exit(1);
}

/// True of a child that nobody has waited for yet, and that is no more.
inline bool has_ended(pid_t child) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == child;
}

/// Waits for a child and says how it ended: "" for a normal end with status 0.
inline std::string end_of(pid_t child) {
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return "it cannot be waited for";
    if (WIFSIGNALED(status)) return "it was killed by signal " + std::to_string(WTERMSIG(status));
    return WEXITSTATUS(status) == 0 ? "" : "it ended with status " + std::to_string(WEXITSTATUS(status));
}

/// Runs `body` in a child. It returns what is wrong, "" for nothing; so does this function, and it also tells of an
/// exception, a signal, or an end before the end. The child writes no output and runs no destructor of the parent's.
template <class Body>
std::string in_child(Body body) {
    Pipe pipe;
    const pid_t child = ::fork();
    if (child < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (child == 0) {
        // The test framework reports fatal signals in its own way; here the end itself is the report.
        for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM, SIGINT}) ::signal(signal, SIG_DFL);
        pipe.close_reading();
        std::string problem;
        try {
            problem = body();
        } catch (const std::exception& e) {
            problem = std::string("exception: ") + e.what();
        } catch (...) {
            problem = "unknown exception";
        }
        pipe.write(problem);
        ::_exit(0);
    }
    pipe.close_writing();
    std::string problem = pipe.read_all();
    const std::string end = end_of(child);
    if (!end.empty()) problem += (problem.empty() ? "" : "; ") + end;
    return problem;
}

/// Collects what is wrong, for bodies that run where the macros of the test framework must not be used.
class Complaints {
public:
    /// `what` is added, with a separator, if `right` is false.
    void unless(bool right, const std::string& what) {
        if (right || text_.size() > 2000) return;
        text_ += (text_.empty() ? "" : "; ") + what;
    }
    const std::string& text() const { return text_; }

private:
    std::string text_;
};

}  // namespace kvs_test
