// Processes that take turns: a child that runs its part, tells how far it is and waits until it may go on.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <string>
#include <system_error>

#include "child.hpp"

namespace kvs_test {

/// A child process. Its body gets this object; `tell` and `wait` are for both sides. Killed at the end if it is still
/// there.
class Process {
public:
    template <class Body>
    explicit Process(Body body) {
        pid_ = ::fork();
        if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
        if (pid_ != 0) {
            to_child_.close_reading();
            to_parent_.close_writing();
            problems_.close_writing();
            return;
        }
        is_child_ = true;
        for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTERM, SIGINT}) ::signal(signal, SIG_DFL);
        to_child_.close_writing();
        to_parent_.close_reading();
        problems_.close_reading();
        std::string problem;
        try {
            problem = body(*this);
        } catch (const std::exception& e) {
            problem = std::string("exception: ") + e.what();
        }
        problems_.write(problem);
        ::_exit(0);
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        if (pid_ > 0) kill();
    }

    /// One step further.
    void tell() const { (is_child_ ? to_parent_ : to_child_).write("."); }
    /// Until the other side is; false if it has ended.
    bool wait() const { return (is_child_ ? to_child_ : to_parent_).wait(); }

    /// Until the child has stopped itself (SIGSTOP); false if it ended.
    bool wait_for_stop() const {
        int status = 0;
        while (::waitpid(pid_, &status, WUNTRACED) < 0)
            if (errno != EINTR) return false;
        return WIFSTOPPED(status);
    }
    void send(int signal) const { ::kill(pid_, signal); }
    /// Without any chance to tidy up.
    void kill() {
        ::kill(pid_, SIGKILL);
        end_of(std::exchange(pid_, 0));
    }
    /// Waits for the child's end and says what was wrong in it, "" for nothing.
    std::string end() {
        to_child_.close_writing();
        std::string problem = problems_.read_all();
        const std::string end = end_of(std::exchange(pid_, 0));
        if (!end.empty()) problem += (problem.empty() ? "" : "; ") + end;
        return problem;
    }

private:
    Pipe to_child_, to_parent_, problems_;
    pid_t pid_ = 0;
    bool is_child_ = false;
};

}  // namespace kvs_test
