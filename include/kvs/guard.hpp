// Errors of the device, and files cut short by other programs, as errors and not as the signal SIGBUS.
#ifndef KVS_GUARD_HPP
#define KVS_GUARD_HPP

#include <system_error>

#include <kvs/detail/platform.hpp>
#include <kvs/error.hpp>

namespace kvs {

namespace detail {

inline Failure catch_bus_errors() noexcept {
    const int e = NativePlatform::catch_bus_errors();
    return e != 0 ? system_failure("the handler of bus errors cannot be installed", e, false) : Failure{};
}

}  // namespace detail

/// Makes an `io_error` of what else ends the process: a page of a store's file that the device does not read back, or
/// that another program cut off. The system tells of it by the signal SIGBUS, and a signal handler is the program's
/// business: so this is the program's choice. For all stores of the process, also those that are open already.
///
/// * An operation that meets such a page fails with `io_error`, and so does every later one on that handle; a write
///   that met one is never acknowledged. The handle makes nothing durable any more and does not close the file cleanly:
///   the others who have it open get `not_durable`, and once all have closed it, the next open goes back to the last
///   completed sync, as far as the file still has it. Other handles and other stores go on.
/// * The handler acts on addresses inside a store's mapping only, which nobody but the library touches. Every other
///   SIGBUS goes to the handler that was installed before, or has the default action. A handler that is installed later
///   has to pass on what is not its own in the same way.
/// * A thread that blocks SIGBUS is not protected: for it, the system ends the process without asking the handler.
/// * Once is enough; more calls do nothing. May be called from any thread. Costs a store nothing until a page is lost.
///
/// Fails with `io_error` if the system does not let it install the handler.
inline void guard_bus_errors() {
    if (const detail::Failure failure = detail::catch_bus_errors()) detail::raise(failure, {});
}
inline void guard_bus_errors(std::error_code& error) noexcept {
    detail::guarded(error, [] { return detail::catch_bus_errors(); });
}

}  // namespace kvs

#endif  // KVS_GUARD_HPP
