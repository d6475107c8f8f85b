// kvs::guard_bus_errors(): a page of the file that cannot be had is an error and not the end of the process. Each case
// runs in a child, which has a signal handler of its own.
#include <kvs/kvs.hpp>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csetjmp>
#include <csignal>
#include <cstdint>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/files.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::Complaints;
using kvs_test::contents_of;
using kvs_test::in_child;
using kvs_test::TempDir;
using Pairs = kvs::Store<16>;
using PairsOfThreads = kvs::Store<16, kvs::SharedThreads>;
using PairsOfOne = kvs::Store<16, kvs::Unshared>;
using Chains = kvs::Store<16, kvs::ChainIndex>;
using Seed = kvs::SeedStore<16>;
using SeedOfOne = kvs::Store<16, kvs::NoBackup, kvs::ChainIndex, kvs::Unshared>;

const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};
const std::error_code io_error = kvs::make_error_code(kvs::errc::io_error);

void cut(const std::string& path, std::uint64_t bytes) {
    if (::truncate(path.c_str(), static_cast<off_t>(bytes)) != 0) throw std::runtime_error("truncate");
}

/// Cuts a file short at one of the stores to mapped bytes.
struct Cutting : kvs::detail::NativePlatform {
    static inline int countdown = 0;
    static inline std::string path;
    static void on_store(const std::byte*, std::size_t) noexcept {
        if (countdown > 0 && --countdown == 0) cut(path, kvs::detail::pair_layout::records_offset);
    }
};

/// Dies at one of the stores to mapped bytes.
struct Dying : kvs::detail::NativePlatform {
    static inline int countdown = 0;
    static void on_store(const std::byte*, std::size_t) noexcept {
        if (countdown > 0 && --countdown == 0) ::_exit(0);
    }
};

template <class Store>
void fill(Store& store) {
    for (int i = 0; i < 200; ++i) store.set("number" + std::to_string(i), i);
    store.set("text", std::string(5000, 't'));
}

/// Every operation that reads, on a store whose file is gone.
template <class Store>
void expect_reads_fail(const Store& s, Complaints& complaints) {
    std::error_code error;
    const auto expect = [&](const char* what) {
        complaints.unless(error == io_error, std::string(what) + ": " + error.message());
        error.clear();
    };
    complaints.unless(!s.template get<int>("number1", error), "a number is there");
    expect("get of a number");
    complaints.unless(!s.template get<std::string>("text", error), "a text is there");
    expect("get of a text");
    complaints.unless(!s.value("number2", error), "a value is there");
    expect("value");
    complaints.unless(!s.contains("absent", error), "an absent key is there");
    expect("contains");
    complaints.unless(!s.type("text", error), "a type is there");
    expect("type");
    char buffer[6000];
    complaints.unless(!s.get_into("text", std::span<char>(buffer), error), "a text is copied");
    expect("get_into");
    complaints.unless(s.get_or("number3", 7, error) == 7, "no fallback");
    expect("get_or");
    auto it = s.begin(error);
    expect("begin");
    complaints.unless(it == s.end(), "an iteration goes on for ever");
    s.verify(error);
    expect("verify");
    s.stats(error);
    expect("stats");
    std::string thrown;
    try {
        s.template get<int>("number1");
    } catch (const kvs::Error& e) {
        thrown = e.what();
        error = e.code();
    }
    expect("get that throws");
    complaints.unless(thrown.find("cut it short") != std::string::npos, "message: " + thrown);
}

/// Every operation that writes.
template <class Store>
void expect_writes_fail(Store& s, Complaints& complaints) {
    std::error_code error;
    const auto expect = [&](const char* what) {
        complaints.unless(error == io_error, std::string(what) + ": " + error.message());
        error.clear();
    };
    s.set("number1", 1, error);
    expect("set of a number");
    s.set("new", std::string(70, 'n'), error);
    expect("set of a new key");
    complaints.unless(!s.erase("number2", error), "a key is erased");
    expect("erase");
    s.clear(error);
    expect("clear");
    complaints.unless(!s.set_if_absent("another", 1, error), "a key is set");
    expect("set_if_absent");
    complaints.unless(s.read_modify_write(
                          "number4", [](std::optional<int> n) { return n.value_or(0) + 1; }, error) == 0,
                      "a value is modified");
    expect("read_modify_write");
    s.sync(error);
    expect("sync");
}

/// What only stores of pairs have.
template <class Store>
void expect_all_of_pairs_fail(Store& s, Complaints& complaints) {
    std::error_code error;
    s.batch([](auto& b) { b.set("x", 1); }, error);
    complaints.unless(error == io_error, "batch: " + error.message());
    s.repair(error);
    complaints.unless(error == io_error, "repair: " + error.message());
    for (int what = 0; what < 3; ++what) {
        error.clear();
        try {
            if (what == 0) s.version();
            if (what == 1) s.wait_for_change(0, std::chrono::seconds(0));
            if (what == 2) s.view([](const auto& v) { return v.template get<int>("number1"); });
        } catch (const kvs::Error& e) {
            error = e.code();
        }
        complaints.unless(error == io_error, std::string("version, wait or view: ") + error.message());
    }
}

template <class Store>
constexpr bool is_seed = std::is_same_v<Store, Seed> || std::is_same_v<Store, SeedOfOne>;
/// Where the records of a new store begin, on a page of their own but for the seed.
template <class Store>
constexpr std::uint64_t records = is_seed<Store> ? std::uint64_t{266240} : kvs::detail::pair_layout::records_offset;

sigjmp_buf jump;
std::atomic<int> handled{0};
std::atomic<void*> handled_at{nullptr};
void note_signal(int, siginfo_t* info, void*) {
    handled_at = info->si_addr;
    ++handled;
    if (info->si_code == BUS_ADRERR) ::siglongjmp(jump, 1);
}

/// A page of a mapping that is none of a store's, behind the end of its file.
volatile char* foreign_page(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ::close(file);
    return static_cast<volatile char*>(page);
}

const std::string killed_by_bus_error = "it was killed by signal " + std::to_string(SIGBUS);

}  // namespace

TEMPLATE_TEST_CASE("without the guard, a file cut short ends the process", "[shared][guard]", Pairs, Seed) {
    TempDir dir;
    CHECK(in_child([&]() -> std::string {
              TestType s(dir.file(), manual);
              fill(s);
              cut(dir.file(), 0);
              return s.template get<std::string>("text") ? "there is a text" : "there is no text";
          }) == killed_by_bus_error);
}

TEMPLATE_TEST_CASE("with the guard, every operation on a file cut to nothing fails, and goes on failing",
                   "[shared][guard]", Pairs, PairsOfThreads, PairsOfOne, Chains, Seed, SeedOfOne) {
    TempDir dir;
    for (const bool before : {false, true})
        for (const bool read_only : {false, true}) {
            const std::string path = dir.file("store" + std::to_string(before) + std::to_string(read_only));
            INFO("guarded before: " << before << ", read-only: " << read_only);
            CHECK(in_child([&] {
                      Complaints complaints;
                      if (before) kvs::guard_bus_errors();
                      {
                          TestType s(path, manual);
                          fill(s);
                      }
                      {
                          TestType s(path, read_only ? reading : manual);
                          s.template get<int>("number1");
                          kvs::guard_bus_errors();
                          kvs::guard_bus_errors();
                          cut(path, 0);
                          for (int i = 0; i < 2; ++i) {
                              expect_reads_fail(s, complaints);
                              if (!read_only) expect_writes_fail(s, complaints);
                              if constexpr (!is_seed<TestType>)
                                  if (!read_only) expect_all_of_pairs_fail(s, complaints);
                          }
                      }
                      complaints.unless(contents_of(path).empty(), "the close wrote something");
                      return complaints.text();
                  }) == "");
        }
}

TEMPLATE_TEST_CASE("a write that meets a lost page is not acknowledged, nor is anything behind it", "[shared][guard]",
                   Pairs, PairsOfThreads, Chains, Seed) {
    TempDir dir;
    const std::string path = dir.file();
    CHECK(in_child([&] {
              Complaints complaints;
              kvs::guard_bus_errors();
              {
                  TestType s(path, manual);
                  fill(s);
                  s.sync();
                  cut(path, records<TestType>);
                  std::error_code error;
                  s.set("text", std::string(5000, 'u'), error);
                  complaints.unless(error == io_error, "set: " + error.message());
                  s.sync(error);
                  complaints.unless(error == io_error, "sync: " + error.message());
              }
              complaints.unless(contents_of(path).size() == records<TestType>, "the close changed the length");
              return complaints.text();
          }) == "");
    if constexpr (!is_seed<TestType>) {
        TestType s(path, manual);
        CHECK(s.recovery().outcome == kvs::Recovery::Outcome::power_loss);
        CHECK(s.recovery().lost_bytes > 0);
    } else {
        std::error_code error;
        TestType s(path, manual, error);
        CHECK((!error || error == kvs::make_error_code(kvs::errc::corrupt)));
    }
}

// The short way of a change looks for lost pages behind it, as nobody else does; and not at all in a process that has
// lost one before.
TEST_CASE("a number is not acknowledged whose page is lost while it is written", "[shared][guard]") {
    int refused = 0;
    for (int store = 1; store < 20; ++store) {
        TempDir dir;
        const std::string answer = in_child([&]() -> std::string {
            kvs::guard_bus_errors();
            kvs::Store<16, Cutting> s(dir.file(), manual);
            fill(s);
            s.set("number1", 5);
            Cutting::path = dir.file();
            Cutting::countdown = store;
            std::error_code error;
            s.set("number1", 6, error);
            Cutting::countdown = 0;
            const bool is_lost = kvs::detail::Incidents::has_lost_pages();
            if (is_lost != bool(error)) return is_lost ? "it was acknowledged" : error.message();
            return is_lost ? "refused" : "";
        });
        INFO("cut at store " << store << ": " << answer);
        CHECK((answer.empty() || answer == "refused"));
        if (answer == "refused") ++refused;
    }
    CHECK(refused > 3);
}

// A lost page is NUL, and so is the header of a slot that was never written.
TEST_CASE("a number whose newer slot is in a lost page is not answered by the older one", "[shared][guard]") {
    const bool throws = GENERATE(false, true);
    TempDir dir;
    const std::string path = dir.file();
    CHECK(in_child([&]() -> std::string {
              kvs::guard_bus_errors();
              Pairs s(path, manual);
              const auto set_all = [&](int value) {
                  for (int i = 0; i < 2000; ++i) s.set("number" + std::to_string(i), value);
                  s.sync();
              };
              set_all(1);
              set_all(2);
              // The one whose second slot begins a page.
              const std::string file = contents_of(path);
              const std::uint64_t second = kvs::detail::pair_layout::slot_offset(16, 2, 1);
              for (int i = 0; i < 2000; ++i) {
                  const std::string key = "number" + std::to_string(i);
                  const std::uint64_t record = file.find(key + '\0', kvs::detail::pair_layout::records_offset);
                  if ((record + second) % 4096 != 0) continue;
                  if (s.get<int>(key) != 2) return "the newer one is not there";
                  cut(path, record + second);
                  std::error_code error;
                  std::optional<int> read;
                  try {
                      read = throws ? s.get<int>(key) : s.get<int>(key, error);
                  } catch (const kvs::Error& e) {
                      error = e.code();
                  }
                  return read ? "it is " + std::to_string(*read) : error == io_error ? "refused" : error.message();
              }
              return "there is none";
          }) == "refused");
}

TEST_CASE("handles that did not lose a page say that nothing is durable, until all have closed", "[shared][guard]") {
    TempDir dir;
    const std::string path = dir.file();
    CHECK(in_child([&] {
              Complaints complaints;
              kvs::guard_bus_errors();
              const kvs::Key<16> text("text");
              std::error_code error;
              {
                  Pairs other(path, manual);
                  other.set("a", 1);
                  other.sync();
                  {
                      Pairs s(path, manual);
                      fill(s);
                      s.sync();
                      cut(path, kvs::detail::pair_layout::records_offset);
                      s.set(text, std::string(5000, 'u'), error);
                      complaints.unless(error == io_error, "set: " + error.message());
                  }
                  other.set("a", 2, error);
                  complaints.unless(error == kvs::make_error_code(kvs::errc::not_durable), "set: " + error.message());
                  other.sync(error);
                  complaints.unless(error == kvs::make_error_code(kvs::errc::not_durable), "sync: " + error.message());
              }
              Pairs s(path, manual);
              complaints.unless(s.recovery().lost_bytes > 0, "nothing is said to be lost");
              s.sync();
              return complaints.text();
          }) == "");
}

TEST_CASE("a read of a handle that lost a page leaves a dead writer to others", "[shared][guard]") {
    TempDir dir;
    const std::string path = dir.file();
    CHECK(in_child([&] {
              Complaints complaints;
              kvs::guard_bus_errors();
              Pairs sound(path, manual);
              fill(sound);
              sound.sync();
              const Pairs unlucky(path, manual);
              std::error_code error;
              // Gone for as long as one of them looks.
              const std::string whole = contents_of(path);
              cut(path, kvs::detail::pair_layout::records_offset);
              unlucky.get<int>("number1", error);
              complaints.unless(error == io_error, "the page is not lost: " + error.message());
              const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
              const std::size_t from = kvs::detail::pair_layout::records_offset;
              if (::pwrite(file, whole.data() + from, whole.size() - from, static_cast<off_t>(from)) < 0)
                  return std::string("pwrite");
              ::close(file);
              const std::string died = in_child([&] {
                  kvs::Store<16, Dying> s(path, manual);
                  s.set("number1", 5);
                  Dying::countdown = 3;
                  s.set("number1", 6);
                  return std::string("it did not die");
              });
              complaints.unless(died.empty(), died);
              unlucky.get<int>("number1", error);
              complaints.unless(error == io_error, "the read: " + error.message());
              sound.set("number2", 7, error);
              complaints.unless(!error, "the others: " + error.message());
              sound.sync(error);
              complaints.unless(!error, "the sync of the others: " + error.message());
              const int value = sound.get<int>("number1").value_or(0);
              complaints.unless(value == 5 || value == 6, "the value of the dead one");
              return complaints.text();
          }) == "");
}

TEST_CASE("a store whose file is sound does not notice that another one's is not", "[shared][guard]") {
    TempDir dir;
    CHECK(in_child([&] {
              Complaints complaints;
              kvs::guard_bus_errors();
              Pairs good(dir.file("good"), manual);
              Seed good_seed(dir.file("seed"), manual);
              std::vector<Pairs> more;  // more than the notes that there are at first
              for (int i = 0; i < 100; ++i) more.emplace_back(dir.file("more" + std::to_string(i)), manual);
              Pairs bad(dir.file("bad"), manual);
              fill(bad);
              fill(good);
              fill(good_seed);
              cut(dir.file("bad"), 0);
              std::error_code error;
              bad.get<int>("number1", error);
              complaints.unless(error == io_error, "the bad one: " + error.message());
              for (int i = 0; i < 200; ++i) {
                  const std::string key = "number" + std::to_string(i);
                  for (int twice = 0; twice < 2; ++twice) {
                      complaints.unless(good.get<int>(key) == i, key);
                      complaints.unless(good_seed.get<int>(key) == i, key + " of the seed");
                  }
              }
              good.set("more", 1);
              good.sync();
              good_seed.set("more", 1);
              good_seed.sync();
              for (Pairs& one : more) one.set("k", 1);
              // The note of a mapping is used again, and says nothing of the next one.
              bad = Pairs(dir.file("new"), manual);
              fill(bad);
              bad.sync();
              complaints.unless(bad.get<int>("number7") == 7, "a store opened later");
              cut(dir.file("more77"), 0);
              more[77].get<int>("k", error);
              complaints.unless(error == io_error, "the 77th: " + error.message());
              more[78].get<int>("k", error);
              complaints.unless(!error, "the 78th: " + error.message());
              return complaints.text();
          }) == "");
}

// ThreadSanitizer takes the handler's mmap for a store to the whole page, by the thread that met it.
#if !defined(__SANITIZE_THREAD__)
TEMPLATE_TEST_CASE("threads that read, write, sync and watch while the file is cut short", "[shared][guard][threads]",
                   Pairs, Seed) {
    TempDir dir;
    // To nothing; in the index or, of pairs, between the lock word and the counters; in front of the records.
    const std::uint64_t inside = is_seed<TestType> ? 200000 : kvs::detail::pair_layout::shared::counters;
    for (const std::uint64_t left : {std::uint64_t{0}, inside, records<TestType>}) {
        INFO("cut to " << left);
        const std::string path = dir.file(std::to_string(left));
        CHECK(in_child([&] {
                  kvs::guard_bus_errors();
                  TestType s(path, {.sync = kvs::sync_every(std::chrono::microseconds(200))});
                  fill(s);
                  if constexpr (!is_seed<TestType>) {
                      static kvs::Watch all, one;
                      all = s.watch_all([](const kvs::Change&) {});
                      one = s.watch("number1", [](const kvs::Change&) {});
                  }
                  std::atomic<int> failed{0};
                  std::atomic<bool> wrong{false};
                  std::vector<std::thread> threads;
                  for (int t = 0; t < 4; ++t)
                      threads.emplace_back([&, t] {
                          std::error_code error;
                          for (int i = 0; !error; i = (i + 1) % 200) {
                              const std::string key = "number" + std::to_string(i);
                              if (t < 2) {
                                  const auto n = s.template get<int>(key, error);
                                  if (!error && n != i && n != i + 1000) wrong = true;
                              } else {
                                  s.set(key, i + 1000, error);
                              }
                          }
                          // The sync thread may have seen the length first.
                          if (error != io_error && error != kvs::make_error_code(kvs::errc::not_durable)) wrong = true;
                          ++failed;
                      });
                  std::this_thread::sleep_for(std::chrono::milliseconds(2));
                  cut(path, left);
                  for (std::thread& thread : threads) thread.join();
                  std::error_code error;
                  s.sync(error);
                  return std::string(wrong         ? "a wrong value or error"
                                     : failed != 4 ? "a thread is missing"
                                                   : "") +
                         (error ? "" : "a sync went well");
              }) == "");
    }
}
#endif

TEST_CASE("what is no bus error of a store goes to the handler that was there", "[shared][guard]") {
    TempDir dir;
    CHECK(in_child([&] {
              Complaints complaints;
              struct sigaction mine {};
              mine.sa_sigaction = &note_signal;
              mine.sa_flags = SA_SIGINFO;
              ::sigaction(SIGBUS, &mine, nullptr);
              kvs::guard_bus_errors();
              ::raise(SIGBUS);
              complaints.unless(handled == 1, "a signal that was sent");
              Pairs s(dir.file(), manual);
              fill(s);
              volatile char* page = foreign_page(dir.file("foreign"));
              if (sigsetjmp(jump, 1) == 0) *page = 1;
              complaints.unless(handled == 2 && handled_at == const_cast<char*>(page), "a fault somewhere else");
              cut(dir.file(), 0);
              std::error_code error;
              s.get<int>("number1", error);
              complaints.unless(error == io_error && handled == 2, "a fault in the store's mapping");
              return complaints.text();
          }) == "");
}

TEST_CASE("a handler of the plain kind is called, an ignored signal ignored", "[shared][guard]") {
    CHECK(in_child([&]() -> std::string {
              ::signal(SIGBUS, [](int) { ++handled; });
              kvs::guard_bus_errors();
              ::raise(SIGBUS);
              ::raise(SIGBUS);
              return handled == 2 ? "" : "not called";
          }) == "");
    CHECK(in_child([&]() -> std::string {
              ::signal(SIGBUS, SIG_IGN);
              kvs::guard_bus_errors();
              ::raise(SIGBUS);
              return "";
          }) == "");
    // A handler for one time, as `sigaction` has it.
    CHECK(in_child([&]() -> std::string {
              struct sigaction once {};
              once.sa_handler = [](int) { ++handled; };
              once.sa_flags = static_cast<int>(SA_RESETHAND);
              ::sigaction(SIGBUS, &once, nullptr);
              kvs::guard_bus_errors();
              ::raise(SIGBUS);
              if (handled != 1) return "not called";
              ::raise(SIGBUS);
              return "still alive";
          }) == killed_by_bus_error);
}

TEST_CASE("where there was no handler, other bus errors end the process as ever", "[shared][guard]") {
    TempDir dir;
    CHECK(in_child([&]() -> std::string {
              kvs::guard_bus_errors();
              ::raise(SIGBUS);
              return "still alive";
          }) == killed_by_bus_error);
    CHECK(in_child([&]() -> std::string {
              kvs::guard_bus_errors();
              *foreign_page(dir.file("foreign")) = 1;
              return "still alive";
          }) == killed_by_bus_error);
    CHECK(in_child([&]() -> std::string {
              ::signal(SIGBUS, SIG_IGN);
              kvs::guard_bus_errors();
              *foreign_page(dir.file("foreign")) = 1;
              return "still alive";
          }) == killed_by_bus_error);
}

TEST_CASE("many threads install the guard at once, and its twin says that it is there", "[shared][guard][threads]") {
    CHECK(in_child([&]() -> std::string {
              std::atomic<bool> failed{false};
              std::vector<std::thread> threads;
              for (int i = 0; i < 8; ++i)
                  threads.emplace_back([&] {
                      std::error_code error = io_error;
                      kvs::guard_bus_errors(error);
                      if (error) failed = true;
                  });
              for (std::thread& thread : threads) thread.join();
              return failed ? "it could not be installed" : "";
          }) == "");
}

TEMPLATE_TEST_CASE("a copy of a store that lost a page does not replace a good file", "[shared][guard]", Pairs, Seed) {
    TempDir dir;
    const std::string path = dir.file(), copy = dir.file("copy");
    CHECK(in_child([&] {
              Complaints complaints;
              kvs::guard_bus_errors();
              TestType s(path, manual);
              fill(s);
              s.copy_to(copy);
              const std::string before = contents_of(copy);
              cut(path, records<TestType> + 4096);
              std::error_code error;
              s.copy_to(copy, error);
              complaints.unless(error == io_error, "copy_to: " + error.message());
              s.compact_to(copy, error);
              complaints.unless(error == io_error, "compact_to: " + error.message());
              complaints.unless(contents_of(copy) == before, "the copy was replaced");
              return complaints.text();
          }) == "");
}

TEST_CASE("a read-only handle beside a writer meets a lost page, and the writer too", "[shared][guard]") {
    TempDir dir;
    CHECK(in_child([&] {
              Complaints complaints;
              kvs::guard_bus_errors();
              Pairs s(dir.file(), manual);
              fill(s);
              const Pairs reader(dir.file(), reading);
              complaints.unless(reader.get<int>("number1") == 1, "it cannot read");
              cut(dir.file(), 0);
              expect_reads_fail(reader, complaints);
              expect_reads_fail(s, complaints);
              std::error_code error;
              const Pairs another(dir.file(), reading, error);
              complaints.unless(bool(error), "an empty file is a store");
              return complaints.text();
          }) == "");
}
