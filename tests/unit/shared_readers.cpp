// [readers] A read stores nothing to shared memory: shown by memory that cannot be stored to.
#include <kvs/kvs.hpp>

#include <sys/mman.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../support/child.hpp"
#include "../support/processes.hpp"
#include "../support/temp_dir.hpp"

namespace {

using kvs_test::Complaints;
using kvs_test::in_child;
using kvs_test::Process;
using kvs_test::TempDir;
using Store = kvs::Store<16>;

const kvs::Options manual{.sync = kvs::sync_manual};
const kvs::Options reading{.mode = kvs::Mode::read_only};

struct Mapping {
    std::uintptr_t begin = 0, end = 0;
    std::string access;
};
/// The mappings of a file in this process, as the system lists them; none where it does not.
std::vector<Mapping> mappings_of(const std::string& path) {
    std::vector<Mapping> found;
    std::ifstream list("/proc/self/maps");
    for (std::string line; std::getline(list, line);) {
        if (line.find(path) == std::string::npos) continue;
        Mapping mapping;
        char dash = 0;
        std::istringstream(line) >> std::hex >> mapping.begin >> dash >> mapping.end >> mapping.access;
        found.push_back(mapping);
    }
    return found;
}

template <class S>
void fill(S& s) {
    for (int i = 0; i < 300; ++i) s.set("n" + std::to_string(i), i);
    s.set("text", std::string(3000, 't'));
    s.set("gone", 1);
    s.erase("gone");
    s.sync();
    s.set("n7", 7);
}

/// Every operation that reads, found before and not.
template <class S>
std::string read_everything(const S& s) {
    Complaints complaints;
    for (int twice = 0; twice < 2; ++twice) {
        for (int i = 0; i < 300; ++i)
            complaints.unless(s.template get<int>("n" + std::to_string(i)) == i, "n" + std::to_string(i));
        complaints.unless(s.template get<std::uint64_t>("n1") == 1u, "a number of another type");
        complaints.unless(s.template get<std::string>("text")->size() == 3000, "text");
        complaints.unless(s.value("text").has_value() && s.type("text") == kvs::Type::ascii, "value or type");
        complaints.unless(s.contains("n1") && !s.contains("gone") && !s.contains("absent"), "contains");
        complaints.unless(s.get_or("absent", 3) == 3, "get_or");
        char buffer[4000];
        complaints.unless(s.get_into("text", std::span<char>(buffer)) == 3000u, "get_into");
        complaints.unless(s.size() == 301, "size");
        int entries = 0;
        for (const auto& entry : s) entries += entry.key().empty() ? 0 : 1;
        complaints.unless(entries == 301, "iteration");
        if constexpr (requires {
                          s.version();
                          s.view([](const auto&) { return 0; });
                      }) {
            const auto seen = s.version();
            complaints.unless(s.view([](const auto& v) { return v.get_or("n1", 0) + v.get_or("n2", 0); }) == 3, "view");
            complaints.unless(s.version() == seen, "version");
        }
    }
    return complaints.text();
}

/// Runs `use` while the store's file cannot be stored to by this process; a store would end it.
template <class Use>
std::string without_stores(const std::string& path, Use use) {
    const std::vector<Mapping> all = mappings_of(path);
    for (const Mapping& m : all)
        if (::mprotect(reinterpret_cast<void*>(m.begin), m.end - m.begin, PROT_READ) != 0) return "mprotect";
    std::string problem = use();
    for (const Mapping& m : all) ::mprotect(reinterpret_cast<void*>(m.begin), m.end - m.begin, PROT_READ | PROT_WRITE);
    return all.empty() ? "no mapping was found" : problem;
}

}  // namespace

TEMPLATE_TEST_CASE("reads of a writing handle store nothing", "[shared][readers]", Store,
                   (kvs::Store<16, kvs::SharedThreads>), (kvs::Store<16, kvs::Unshared>),
                   (kvs::Store<16, kvs::ChainIndex>)) {
    TempDir dir;
    const std::string path = dir.file();
    if (mappings_of("/").empty()) return;
    CHECK(in_child([&] {
              TestType s(path, manual);
              fill(s);
              std::string problem = without_stores(path, [&] { return read_everything(s); });
              s.set("after", 1);
              return problem;
          }) == "");
    // That the memory is protected indeed:
    CHECK(in_child([&] {
              TestType s(path, manual);
              s.set("n", 1);
              return without_stores(path, [&] {
                  s.set("n", 2);
                  return std::string("a store went through");
              });
          }) == "it was killed by signal " + std::to_string(SIGSEGV));
}

TEST_CASE("reads of the seed format store nothing", "[shared][readers]") {
    TempDir dir;
    const std::string path = dir.file();
    if (mappings_of("/").empty()) return;
    CHECK(in_child([&] {
              kvs::SeedStore<16> s(path, manual);
              fill(s);
              return without_stores(path, [&] {
                  Complaints complaints;
                  for (int i = 0; i < 600; ++i)
                      complaints.unless(s.get<int>("n" + std::to_string(i % 300)) == i % 300, "n");
                  complaints.unless(s.get<std::string>("text")->size() == 3000 && !s.contains("gone"), "text");
                  int entries = 0;
                  for (const auto& entry : s) entries += entry.key().empty() ? 0 : 1;
                  complaints.unless(entries == 301, "iteration");
                  return complaints.text();
              });
          }) == "");
}

TEST_CASE("a read-only handle beside writers has the file mapped for reading only", "[shared][readers]") {
    TempDir dir;
    const std::string path = dir.file();
    if (mappings_of("/").empty()) return;
    Store s(path, manual);
    fill(s);
    CHECK(in_child([&] {
              const Store r(path, reading);
              std::string problem = read_everything(r);
              const auto all = mappings_of(path);
              if (all.empty()) return std::string("no mapping was found");
              for (const Mapping& m : all)
                  if (m.access.substr(0, 2) != "r-") problem += " mapped " + m.access;
              r.verify();
              r.stats();
              for (int i = 0; i < 3; ++i) r.wait_for_change(r.version(), std::chrono::milliseconds(1));
              return problem;
          }) == "");
    CHECK(s.verify().ok());
}
