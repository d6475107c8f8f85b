// Being told of changes, whoever makes them.
#ifndef KVS_WATCH_HPP
#define KVS_WATCH_HPP

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <kvs/detail/layout.hpp>
#include <kvs/detail/lookup.hpp>
#include <kvs/detail/pair_layout.hpp>
#include <kvs/detail/version_table.hpp>
#include <kvs/error.hpp>
#include <kvs/value.hpp>

namespace kvs {

/// What a watch tells of a key. Valid during the call.
struct Change {
    std::string_view key;
    const std::optional<Value>& before;  ///< nothing: the key was absent
    const std::optional<Value>& after;   ///< nothing: it is now
};

namespace detail {

/// One watch. Held by its `Watch` and by the thread that serves it, whichever lives longer.
class Subscription {
public:
    Subscription() noexcept = default;
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

    /// When it returns, the callback does not run any more; but for the callback itself, which may call it.
    virtual void cancel() noexcept = 0;

    void share() noexcept { holders_.fetch_add(1, std::memory_order_relaxed); }
    void release() noexcept {
        if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
    }

protected:
    virtual ~Subscription() = default;

private:
    std::atomic<unsigned> holders_{1};
};

}  // namespace detail

/// Keeps a watch going: its end is the end of the watch, and waits for a callback that is running, unless it is called
/// by that callback. May live longer than the store, which calls nobody once it is closed. Moved, not copied.
class [[nodiscard]] Watch {
public:
    Watch() noexcept = default;
    Watch(Watch&& other) noexcept : subscription_(std::exchange(other.subscription_, nullptr)) {}
    Watch& operator=(Watch&& other) noexcept {
        if (this != &other) {
            stop();
            subscription_ = std::exchange(other.subscription_, nullptr);
        }
        return *this;
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { stop(); }

    /// Ends the watch early.
    void stop() noexcept {
        if (subscription_ == nullptr) return;
        subscription_->cancel();
        std::exchange(subscription_, nullptr)->release();
    }

    /// For the library.
    explicit Watch(detail::Subscription* subscription) noexcept : subscription_(subscription) {}

private:
    detail::Subscription* subscription_ = nullptr;
};

namespace detail {

/// The watches of one handle, and the thread that serves them: it sleeps until the store has changed, compares what is
/// watched with what was there before, and calls.
template <class Engine>
class Watchers {
    using Platform = typename Engine::Platform;
    using Mutex = typename Platform::Mutex;
    using KeyType = typename Engine::KeyType;

public:
    explicit Watchers(Engine& engine) noexcept : engine_(engine) {}
    Watchers(const Watchers&) = delete;
    Watchers& operator=(const Watchers&) = delete;
    ~Watchers() { stop(); }

    template <class Callback>
    Failure watch(const KeyType& key, Callback callback, Watch& watch) {
        if (key.problem() != errc{}) return key.failure();
        return add(new OfKey<Callback>(key, std::move(callback)), watch);
    }
    template <class Callback>
    Failure watch_all(Callback callback, Watch& watch) {
        return add(new OfAll<Callback>(std::move(callback)), watch);
    }

    /// Ends the thread. Before the engine is closed.
    void stop() noexcept {
        if (is_abandoned_) return;
        if (runner_.load() == this_thread()) {
            std::fputs("kvs: a store was closed by the callback of a watch of its own\n", stderr);
            std::abort();
        }
        if (has_thread_) {
            stopping_.store(true);
            interrupt();
            thread_.join();
            has_thread_ = false;
        }
        for (Watched* one : watched_) one->release();
        watched_.clear();
    }
    /// In the child of a fork, where the thread does not exist. What it was doing with the watches is half done.
    void forget_thread() noexcept { is_abandoned_ = true; }

private:
    /// A subscription that looks after changes.
    class Watched : public Subscription {
    public:
        /// Compares, and calls if something is different. Damage is no change: what cannot be read counts as it was.
        virtual void look(const Engine& engine, bool may_call) = 0;

        void cancel() noexcept override {
            // In the child of a fork, a callback that was running never ends.
            if (caller_.load() == this_thread() || fork_generation_ != Platform::fork_generation()) {
                is_active_.store(false);
                return;
            }
            const Guard<Mutex> not_running(running_);
            is_active_.store(false);
        }
        bool is_active() const noexcept { return is_active_.load(); }
        void serve(const Engine& engine) {
            const Guard<Mutex> running(running_);
            caller_.store(this_thread());
            if (is_active()) look_if_there_is_memory(engine);
            caller_.store(nullptr);
        }

    protected:
        /// What leaves the callback ends the program, be it a want of memory.
        template <class Callback>
        static void call(Callback& callback, const Change& change) noexcept {
            callback(change);
        }
        /// The value of a key now; false if it cannot be read.
        static bool read(const Engine& engine, const KeyType& key, std::optional<Value>& value) {
            Failure failure;
            value.emplace();
            const Presence presence =
                engine.read(key, any_length, failure, [&](const auto& stored) { return value->load(stored); });
            if (presence == Presence::absent) value.reset();
            return presence != Presence::failed;
        }

    private:
        /// Without memory nothing is told now, and what has changed is told later.
        void look_if_there_is_memory(const Engine& engine) {
#if KVS_EXCEPTIONS
            try {
                look(engine, true);
            } catch (const std::bad_alloc&) {
            }
#else
            look(engine, true);
#endif
        }
        Mutex running_;
        unsigned fork_generation_ = Platform::fork_generation();
        std::atomic<bool> is_active_{true};
        std::atomic<const void*> caller_{nullptr};
    };

    template <class Callback>
    class OfKey final : public Watched {
    public:
        OfKey(const KeyType& key, Callback callback) : key_(key), callback_(std::move(callback)) {}
        void look(const Engine& engine, bool may_call) override {
            std::optional<Value> now;
            if (!this->read(engine, key_, now) || now == known_) return;
            std::swap(known_, now);
            if (may_call) this->call(callback_, Change{key_.view(), now, known_});
        }

    private:
        KeyType key_;
        Callback callback_;
        std::optional<Value> known_;
    };

    /// Keeps all values, in groups of buckets that share a version counter: a group is looked at if its counter
    /// changed.
    ///
    /// The buckets of a group are read one after the other, and a value can move from one to another meanwhile, so that
    /// its key is found twice or not at all. Therefore what is different from before is read once more, by its key,
    /// before it is told. What changes behind that raises the counter again.
    template <class Callback>
    class OfAll final : public Watched {
    public:
        explicit OfAll(Callback callback) : callback_(std::move(callback)) { noted_.fill(unknown); }
        void look(const Engine& engine, bool may_call) override {
            const std::uint64_t view = engine.view_number();
            if (view != view_) noted_.fill(unknown);
            view_ = view;
            for (std::uint32_t group = 0; group < groups && this->is_active(); ++group) {
                const std::uint32_t noted = engine.note_buckets(group);
                if (noted == noted_[group]) continue;
                std::vector<Pair> found;
                if (!load(engine, group, found)) continue;
                compare(engine, known_[group], found, may_call);
                noted_[group] = noted;
            }
        }

    private:
        struct Pair {
            std::string key;
            std::optional<Value> value;
        };
        static constexpr std::uint32_t groups = pair_layout::shared::counter_count;
        static constexpr std::uint64_t unknown = ~std::uint64_t{0};  // no counter's
        static bool by_key(const Pair& a, const Pair& b) { return a.key < b.key; }

        /// The entries of a group that can be read, sorted; false if there is no looking at it now.
        static bool load(const Engine& engine, std::uint32_t group, std::vector<Pair>& all) {
            Item item;
            Failure failure;
            for (std::uint32_t bucket = group; bucket < layout::bucket_count; bucket += groups) {
                for (Position position{bucket, 0, 0, 0}; position.bucket == bucket;) {
                    const std::uint64_t record = position.record;
                    const Presence presence = engine.next_of_bucket(position, item, failure);
                    if (presence == Presence::absent) break;
                    if (presence == Presence::failed) {  // damage, which the position is behind, or no view
                        if (position.bucket == bucket && position.record == record) return false;
                        continue;
                    }
                    Pair pair{item.key, Value()};
                    if (!load_item(item, *pair.value)) all.push_back(std::move(pair));
                }
            }
            std::sort(all.begin(), all.end(), by_key);
            return true;
        }

        /// Goes through both, keys in order; `known` becomes what is so now.
        void compare(const Engine& engine, std::vector<Pair>& known, std::vector<Pair>& found, bool may_call) {
            std::vector<Pair> now;
            auto a = known.begin();
            auto b = found.begin();
            while (a != known.end() || b != found.end()) {
                const bool only_known = b == found.end() || (a != known.end() && by_key(*a, *b));
                const bool only_found = !only_known && (a == known.end() || by_key(*b, *a));
                Pair pair{only_known ? a->key : b->key, {}};
                std::optional<Value> before;
                if (!only_found) before = (a++)->value;
                const bool is_same = !only_known && !only_found && before == b->value;
                while (b != found.end() && b->key == pair.key) ++b;
                if (is_same || !this->read(engine, KeyType{std::string_view(pair.key)}, pair.value))
                    pair.value = before;
                if (may_call && this->is_active() && pair.value != before)
                    this->call(callback_, Change{pair.key, before, pair.value});
                if (pair.value) now.push_back(std::move(pair));
            }
            known = std::move(now);
        }

        Callback callback_;
        std::array<std::uint64_t, groups> noted_;
        std::uint64_t view_ = 0;
        std::array<std::vector<Pair>, groups> known_;
    };

    Failure add(Watched* one, Watch& watch) {
        watch = Watch(one);
        // Not under the lock: damage that this meets is told to a handler, which may watch something too.
        const std::uint64_t version = engine_.version();
        one->look(engine_, false);
        const Guard<Mutex> guard(mutex_);
        watched_.push_back(one);
        one->share();
        if (has_thread_) {
            if (engine_.version() != version) interrupt();  // the others may have been told of that already
            return {};
        }
        seen_ = version;
        const int e = thread_.start(
            [](void* self) -> void* {
                static_cast<Watchers*>(self)->run();
                return nullptr;
            },
            this);
        if (e != 0) return system_failure("the thread that watches cannot be started", e, true);
        has_thread_ = true;
        return {};
    }

    void run() noexcept {
        runner_.store(this_thread());
        while (!stopping_.load()) {
            const std::uint64_t version = engine_.wait_for_change(seen_, ~std::uint64_t{0}, is_interrupted_);
            if (!is_interrupted_.exchange(false) && version == seen_) continue;
            seen_ = version;
            for (std::size_t i = 0; Watched* one = at(i); ++i) {
                one->serve(engine_);
                one->release();
            }
            drop_inactive();
        }
    }

    /// Lets the thread look, whether there was a change or not.
    void interrupt() noexcept {
        is_interrupted_.store(true);
        engine_.wake_waiting();
    }

    /// The i-th watch, held; null behind the last one. New ones come behind.
    Watched* at(std::size_t i) noexcept {
        const Guard<Mutex> guard(mutex_);
        if (i >= watched_.size() || stopping_.load()) return nullptr;
        watched_[i]->share();
        return watched_[i];
    }
    void drop_inactive() noexcept {
        const Guard<Mutex> guard(mutex_);
        std::erase_if(watched_, [](Watched* one) {
            if (one->is_active()) return false;
            one->release();
            return true;
        });
    }

    Engine& engine_;
    Mutex mutex_;  // guards `watched_`
    std::vector<Watched*> watched_;
    std::uint64_t seen_ = 0;  // of the thread
    typename Platform::Thread thread_;
    std::atomic<bool> stopping_{false};
    std::atomic<bool> is_interrupted_{false};
    std::atomic<const void*> runner_{nullptr};
    bool has_thread_ = false;  // under `mutex_`, and in close
    bool is_abandoned_ = false;
};

}  // namespace detail
}  // namespace kvs

#endif  // KVS_WATCH_HPP
