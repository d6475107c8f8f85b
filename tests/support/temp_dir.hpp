// A directory for one test, gone when the test ends.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace kvs_test {

class TempDir {
public:
    /// In memory where the system has such a directory: the tests flush often.
    TempDir()
        : TempDir(std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : std::filesystem::temp_directory_path()) {}

    explicit TempDir(const std::filesystem::path& parent) {
        std::string name = (parent / "kvs-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr)
            throw std::runtime_error("no temporary directory below " + parent.string());
        path_ = name;
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    const std::filesystem::path& path() const { return path_; }
    std::string file(const std::string& name = "store.akvs") const { return (path_ / name).string(); }

private:
    std::filesystem::path path_;
};

}  // namespace kvs_test
