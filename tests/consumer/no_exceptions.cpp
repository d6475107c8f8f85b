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

template <class Store>
void use(const char* path, bool abort_wanted) {
    std::remove(path);
    std::error_code error;
    Store store(path, {}, error);
    expect(!error && store.is_open(), "open");
    store.set("name", "Ada", error);
    expect(!error, "set");
    std::remove(path);
    if (abort_wanted) store.template get<int>("name");  // prints the message and aborts
    expect(!store.template get<int>("name", error) && error == kvs::errc::type_mismatch, "get of another type");
    expect(store.template get<std::string>("name", error) == "Ada" && !error, "get");
    Store second("no/such/directory/file", {}, error);
    expect(error == kvs::errc::not_found && !second.is_open(), "open without a directory");
    int entries = 0;
    for (auto it = store.begin(error); it != store.end(); it.increment(error)) entries += error ? 0 : 1;
    expect(entries == 1, "iteration");
    store.sync(error);
    expect(!error, "sync");
}

}  // namespace

int main(int argc, char** argv) {
    const char* abort_wanted = argc > 2 && std::strcmp(argv[1], "abort") == 0 ? argv[2] : nullptr;
    if (abort_wanted == nullptr) {
        use<kvs::Store<32>>("no_exceptions.akvs", false);
        use<kvs::SeedStore<32>>("no_exceptions.akvs", false);
    } else if (std::strcmp(abort_wanted, "pairs") == 0) {
        use<kvs::Store<32>>("no_exceptions_pairs.akvs", true);
    } else {
        use<kvs::SeedStore<32>>("no_exceptions_seed.akvs", true);
    }
    return failures;
}
