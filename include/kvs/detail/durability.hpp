// When stored bytes are brought to the device, and what is promised after that failed.
//
//   pending   something was stored since the last flush began. Set by a writer before its first store and cleared by
//             the flusher, both under the writers' mutex: so no store falls between a flush and its flag, and whoever
//             sees a value and then syncs finds the flag set.
//   failed    a flush failed. The kernel may have dropped the pages and answers the next call with success, so nothing
//             can be promised about this file until it has been closed and opened again: no more writes, no more
//             flushes, the reason kept for the message. Never cleared.
//
// With `sync_every` a thread sleeps until something is pending, waits out the interval and syncs. It is started by the
// first write, so a store that is only read has none. Where other handles write too, one of them may have died before
// its interval was over: so the thread also looks from time to time whether anything is pending.
#ifndef KVS_DETAIL_DURABILITY_HPP
#define KVS_DETAIL_DURABILITY_HPP

#include <atomic>
#include <cstdint>
#include <type_traits>

#include <kvs/detail/version_table.hpp>
#include <kvs/error.hpp>
#include <kvs/options.hpp>

namespace kvs::detail {

/// `Flush` is called without any lock held and flushes the file.
template <class Platform, class WriterMutex>
class Durability {
public:
    using Flush = Failure (*)(void* context);
    /// Whether there is something to sync that another handle wrote. Null: there are no other handles.
    using LookForPending = bool (*)(void* context) noexcept;

    Durability(WriterMutex& writers, Flush flush, LookForPending look, void* context) noexcept
        : writers_(writers), flush_(flush), look_(look), context_(context) {}
    Durability(const Durability&) = delete;
    Durability& operator=(const Durability&) = delete;
    ~Durability() { stop(); }

    void set_policy(SyncPolicy policy) noexcept { policy_ = policy; }

    bool is_each() const noexcept { return policy_.kind() == SyncPolicy::Kind::each; }
    bool is_every() const noexcept { return policy_.kind() == SyncPolicy::Kind::every; }

    /// Before the first store of a write; the caller is a writer. Fails if the store takes no writes.
    Failure before_write() noexcept {
        if (is_begun()) return {};
        return begin_pending();
    }
    /// True if `before_write` has nothing to do.
    bool is_begun() const noexcept {
        return pending_.load(std::memory_order_relaxed) && (has_thread_ || !is_every()) &&
               !failed_.load(std::memory_order_relaxed);
    }

    /// Something is to be synced that this handle did not write: a dead one did. The caller is a writer, or opens.
    void note_pending() noexcept { ignore(begin_pending()); }

    /// The next `sync` looks itself whether there is anything: another handle may have written it.
    void note_unsynced() noexcept { pending_.store(true, std::memory_order_relaxed); }

    /// After a write, without the writers' mutex: with `sync_each`, the write is brought to the device.
    Failure after_write() noexcept {
        if (policy_.kind() == SyncPolicy::Kind::each) return sync();
        // Where writers take no mutex, the thread can have cleared the flag just before the bytes were stored.
        if constexpr (std::is_same_v<WriterMutex, NoMutex>) return before_write();
        return {};
    }

    /// Returns when everything that was stored before the call is on the device.
    Failure sync() noexcept {
        const Guard<Mutex> one_at_a_time(flushing_);
        {
            const Guard<WriterMutex> no_writer(writers_);
            if (failed_.load(std::memory_order_relaxed)) return not_durable();
            if (!pending_.exchange(false, std::memory_order_relaxed)) return {};
        }
        Failure failure = flush_(context_);
        if (failure) {
            const Guard<WriterMutex> no_writer(writers_);
            cause_.store(failure.system, std::memory_order_relaxed);
            failed_.store(true, std::memory_order_release);
        }
        return failure;
    }

    /// Ends the thread; called before the last sync of a close.
    void stop() noexcept {
        if (!has_thread_) return;
        {
            const Guard<Mutex> guard(mutex_);
            stopping_ = true;
            condition_.wake_all();
        }
        thread_.join();
        has_thread_ = false;
    }

    /// In the child of a fork, where the thread does not exist.
    void forget_thread() noexcept {
        has_thread_ = false;
        condition_.abandon();
    }

private:
    using Mutex = typename Platform::Mutex;

    Failure begin_pending() noexcept {
        if (failed_.load(std::memory_order_relaxed)) return not_durable();
        if (policy_.kind() == SyncPolicy::Kind::every) {
            if (Failure failure = start_thread()) return failure;
            const Guard<Mutex> guard(mutex_);
            pending_.store(true, std::memory_order_relaxed);
            if (idle_) condition_.wake_all();  // else the interval goes on
        } else {
            pending_.store(true, std::memory_order_relaxed);
        }
        return {};
    }

    Failure not_durable() const noexcept {
        return {errc::not_durable,
                "an earlier flush failed; close the store and open it again",
                {},
                {},
                cause_.load(std::memory_order_relaxed)};
    }

    Failure start_thread() noexcept {
        if (has_thread_) return {};
        const int e = thread_.start(
            [](void* self) -> void* {
                static_cast<Durability*>(self)->run();
                return nullptr;
            },
            this);
        if (e != 0) return system_failure("the thread that syncs cannot be started", e, true);
        has_thread_ = true;
        return {};
    }

    void run() noexcept {
        mutex_.lock();
        while (!stopping_) {
            if (pending_.load(std::memory_order_relaxed)) {
                condition_.wait_for(mutex_, policy_.nanoseconds());
                if (stopping_) break;  // the close syncs
                mutex_.unlock();
                // A failure is kept in `failed_`, and the next write or sync reports it.
                ignore(sync());
                mutex_.lock();
                if (failed_.load(std::memory_order_relaxed)) break;
            } else {
                idle_ = true;
                sleep_idle();
                idle_ = false;
            }
        }
        mutex_.unlock();
    }

    /// Until something is pending. Of what another handle wrote that died nobody is told, so it is looked for.
    void sleep_idle() noexcept {
        constexpr std::uint64_t shortest = 100'000'000;  // nanoseconds
        if (look_ == nullptr) return condition_.wait(mutex_);
        const std::uint64_t interval = policy_.nanoseconds();
        condition_.wait_for(mutex_, interval < shortest ? shortest : interval);
        if (!stopping_ && look_(context_)) pending_.store(true, std::memory_order_relaxed);
    }

    WriterMutex& writers_;
    Flush flush_;
    LookForPending look_;
    void* context_;
    SyncPolicy policy_ = sync_manual;

    std::atomic<bool> pending_{false};  // writers: under `writers_`; readers: the thread, under `mutex_`
    std::atomic<bool> failed_{false};   // under `writers_`; read anywhere
    std::atomic<int> cause_{0};         // errno of the failure; set before `failed_`

    Mutex flushing_;  // taken before `writers_`
    Mutex mutex_;     // taken after `writers_`; guards the sleep of the thread
    typename Platform::Condition condition_;
    typename Platform::Thread thread_;
    bool has_thread_ = false;  // under `writers_`, and in close
    bool stopping_ = false;    // under `mutex_`
    bool idle_ = false;        // under `mutex_`: nothing is pending, the thread sleeps
};

}  // namespace kvs::detail

#endif  // KVS_DETAIL_DURABILITY_HPP
