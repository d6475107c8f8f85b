// The signal handler of `kvs::guard_bus_errors()`, POSIX. Part of the platform (platform_posix.hpp).
//
// All it calls may be called in a signal handler. What is not about a mapping of a store goes to who was there before,
// in the way that the system would have called it.
#ifndef KVS_DETAIL_BUS_ERRORS_POSIX_HPP
#define KVS_DETAIL_BUS_ERRORS_POSIX_HPP

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include <kvs/detail/incidents.hpp>
#include <kvs/detail/lost_pages.hpp>

namespace kvs::detail {

class BusErrors {
public:
    /// Installs the handler, once.
    static int install() noexcept {
        ::pthread_mutex_lock(&mutex_);
        const int error = is_installed_ ? 0 : install_locked();
        ::pthread_mutex_unlock(&mutex_);
        return error;
    }

private:
    static int install_locked() noexcept {
        page_bytes_ = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        // Known before the handler can run.
        if (::sigaction(SIGBUS, nullptr, &before_) != 0) return errno;
        struct sigaction action = before_;
        action.sa_sigaction = &handle;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | (before_.sa_flags & (SA_RESTART | SA_NODEFER));
        if (::sigaction(SIGBUS, &action, nullptr) != 0) return errno;
        is_installed_ = true;
        return 0;
    }

    static void handle(int signal, siginfo_t* info, void* context) noexcept {
        const int error = errno;
        if (!is_of_page(*info) || !replace_page(info->si_addr)) pass_on(signal, info, context);
        errno = error;
    }

    /// Not an address that is not aligned, nor a signal that a program sent, which has no address.
    static bool is_of_page(const siginfo_t& info) noexcept {
        if (info.si_code == BUS_ADRERR || info.si_code == BUS_OBJERR) return true;
#if defined(BUS_MCEERR_AR)
        if (info.si_code == BUS_MCEERR_AR) return true;  // the memory that holds the page failed
#endif
        return false;
    }

    /// The note comes before the page: who reads NULs there finds the note.
    static bool replace_page(void* at) noexcept {
        if (!MappingNotes::lose(at)) return false;
        Incidents::note_lost_page();
        auto* page = static_cast<std::byte*>(at) - reinterpret_cast<std::uintptr_t>(at) % page_bytes_;
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        return ::mmap(page, page_bytes_, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED;
    }

    static void pass_on(int signal, siginfo_t* info, void* context) noexcept {
        const bool is_once = (static_cast<unsigned>(before_.sa_flags) & static_cast<unsigned>(SA_RESETHAND)) != 0;
        if (is_once && is_used_up_.exchange(true)) return die(signal, *info);
        if ((before_.sa_flags & SA_SIGINFO) != 0) return before_.sa_sigaction(signal, info, context);
        if (before_.sa_handler == SIG_IGN && !is_fault(*info)) return;
        if (before_.sa_handler == SIG_DFL || before_.sa_handler == SIG_IGN) return die(signal, *info);
        before_.sa_handler(signal);
    }

    static bool is_fault(const siginfo_t& info) noexcept { return info.si_code > 0 && info.si_code != SI_USER; }

    /// By the default action. A fault comes again when the handler returns, at the instruction that it was.
    static void die(int signal, const siginfo_t& info) noexcept {
        struct sigaction action {};
        action.sa_handler = SIG_DFL;
        ::sigaction(signal, &action, nullptr);
        if (!is_fault(info)) ::raise(signal);
    }

    static inline std::atomic<bool> is_used_up_{false};
    static inline struct sigaction before_ {};
    static inline std::uintptr_t page_bytes_ = 0;
    static inline pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
    static inline bool is_installed_ = false;  // under `mutex_`
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_BUS_ERRORS_POSIX_HPP
