// [writers] The lock word, step by step: what others do between two steps of a handle is played here, where a storm of
// processes (crash/shared_storm.cpp) meets it once in a million.
#include <kvs/detail/writer_lock.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "../catch.hpp"

namespace {

namespace shared = kvs::detail::pair_layout::shared;

/// Words in place of a file.
struct Words {
    std::uint64_t watch_word(std::uint64_t at) const { return words.at(at); }
    bool exchange_word(std::uint64_t at, std::uint64_t expected, std::uint64_t desired) {
        if (before_exchange) std::exchange(before_exchange, nullptr)();
        if (words.at(at) != expected) return false;
        words.at(at) = desired;
        return true;
    }
    void publish_word(std::uint64_t at, std::uint64_t value) { words.at(at) = value; }
    void publish_word_first(std::uint64_t at, std::uint64_t value) { words.at(at) = value; }
    std::uint64_t set_bits(std::uint64_t at, std::uint64_t bits) { return words.at(at) |= bits; }
    void clear_bits(std::uint64_t at, std::uint64_t bits) { words.at(at) &= ~bits; }
    void sleep_on(std::uint64_t, std::uint64_t, std::uint64_t) {
        ++sleeps;
        if (during_sleep) during_sleep();
    }
    void wake(std::uint64_t at) { ++wakes[at]; }

    std::map<std::uint64_t, std::uint64_t> words{{shared::lock, 0}, {shared::sleepers, 0}};
    std::map<std::uint64_t, int> wakes;
    int sleeps = 0;
    std::function<void()> before_exchange;
    std::function<void()> during_sleep;
};

struct Platform {
    static void relax() noexcept {}
    static void yield() noexcept {}
    static bool has_lost_pages() noexcept { return false; }
};

using Lock = kvs::detail::WriterLock<Words, Platform>;

/// A handle, and what it is told of others.
struct Handle {
    explicit Handle(Words& words, unsigned byte)
        : lock(words, {[](void* self, unsigned owner) noexcept { return static_cast<Handle*>(self)->is_dead(owner); },
                       [](void* self) noexcept { ++static_cast<Handle*>(self)->takeovers; }, [](void*) noexcept {},
                       [](void*) noexcept { return false; }, this}) {
        lock.set_byte(byte);
    }
    bool is_dead(unsigned owner) {
        const bool answer = owner == dead;
        if (when_asked) std::exchange(when_asked, nullptr)();
        return answer;
    }

    unsigned dead = 0;  ///< nobody holds this byte
    int takeovers = 0;
    std::function<void()> when_asked;
    Lock lock;
};

unsigned owner(const Words& words) { return Lock::owner_of(words.words.at(shared::lock)); }

}  // namespace

TEST_CASE("the lock word names its owner, and another word every time", "[writer_lock]") {
    Words words;
    Handle one(words, 5);
    one.lock.lock();
    CHECK(owner(words) == 5);
    const std::uint64_t first = words.words[shared::lock];
    one.lock.unlock();
    CHECK(owner(words) == 0);
    one.lock.lock();
    CHECK(words.words[shared::lock] != first);
    one.lock.unlock();
    CHECK(one.takeovers == 0);
}

TEST_CASE("of two that find the lock free, one gets it", "[writer_lock]") {
    Words words;
    Handle one(words, 5), other(words, 6);
    words.before_exchange = [&] { other.lock.lock(); };
    words.during_sleep = [&] {
        CHECK(owner(words) == 6);
        other.lock.unlock();
    };
    one.lock.lock();
    CHECK(words.sleeps == 1);
    CHECK(owner(words) == 5);
}

TEST_CASE("who gives the lock back wakes who sleeps on it", "[writer_lock]") {
    Words words;
    Handle one(words, 5), other(words, 6);
    other.lock.lock();
    words.during_sleep = [&] { other.lock.unlock(); };
    one.lock.lock();
    CHECK(words.wakes[shared::sleepers] == 1);
    one.lock.unlock();
    CHECK(words.wakes[shared::sleepers] == 1);  // nobody sleeps any more
}

TEST_CASE("a dead owner is followed once, and its work is finished first", "[writer_lock]") {
    Words words;
    Handle dead(words, 5), one(words, 6);
    dead.lock.lock();
    one.dead = 5;
    one.lock.lock();
    CHECK(one.takeovers == 1);
    CHECK(owner(words) == 6);
    one.lock.unlock();
    one.lock.lock();
    CHECK(one.takeovers == 1);
}

TEST_CASE("who finds the owner dead and is late does not follow the next one who has its byte", "[writer_lock]") {
    Words words;
    Handle dead(words, 5), one(words, 6), quick(words, 7), next(words, 5);
    dead.lock.lock();
    quick.dead = one.dead = 5;
    // The answer was right when it was given. Before the exchange another follows the dead one, and a new handle is
    // given the byte.
    one.when_asked = [&] {
        quick.lock.lock();
        quick.lock.unlock();
        next.lock.lock();
        one.dead = 0;
    };
    words.during_sleep = [&] {
        CHECK(owner(words) == 5);
        next.lock.unlock();
    };
    one.lock.lock();
    CHECK(quick.takeovers == 1);
    CHECK(one.takeovers == 0);
    CHECK(words.sleeps == 1);
    CHECK(owner(words) == 6);
}

TEST_CASE("who is given the byte of a dead owner finishes its work", "[writer_lock]") {
    Words words;
    Handle dead(words, 5), heir(words, 5), other(words, 6);
    dead.lock.lock();
    heir.lock.inherit();
    CHECK(heir.takeovers == 1);
    CHECK(owner(words) == 0);
    heir.lock.inherit();
    other.lock.lock();
    heir.lock.inherit();  // it is another's
    CHECK(heir.takeovers == 1);
    CHECK(owner(words) == 6);
}
