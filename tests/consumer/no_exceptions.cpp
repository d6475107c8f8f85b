// The store in a program that is compiled without exceptions: the twins work as ever.
#include <cstdio>
#include <cstring>
#include <kvs/kvs.hpp>

namespace {

int failures = 0;

void expect(bool good, const char* what) {
    if (good) return;
    std::printf("failed: %s\n", what);
    ++failures;
}

}  // namespace

int main(int argc, char** argv) {
    const bool abort_wanted = argc > 1 && std::strcmp(argv[1], "abort") == 0;
    const char* path = abort_wanted ? "no_exceptions_abort.akvs" : "no_exceptions.akvs";
    std::remove(path);
    std::error_code error;
    kvs::SeedStore<32> store(path, {}, error);
    expect(!error && store.is_open(), "open");
    store.set("name", "Ada", error);
    expect(!error, "set");
    std::remove(path);
    if (abort_wanted) {
        store.get<int>("name");  // prints the message and aborts
        return 0;
    }
    expect(!store.get<int>("name", error) && error == kvs::errc::type_mismatch, "get of another type");
    expect(store.get<std::string>("name", error) == "Ada" && !error, "get");
    kvs::SeedStore<32> second("no/such/directory/file", {}, error);
    expect(error == kvs::errc::not_found && !second.is_open(), "open without a directory");
    int entries = 0;
    for (auto it = store.begin(error); it != store.end(); it.increment(error)) entries += error ? 0 : 1;
    expect(entries == 1, "iteration");
    return failures;
}
