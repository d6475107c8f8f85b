// Memory that a test shares with the processes that it forks, and that outlives each of them.
#pragma once

#include <sys/mman.h>

#include <new>
#include <stdexcept>

namespace kvs_test {

/// One `T`, made where parent and children see it. What children write is there when they are dead.
template <class T>
class SharedMemory {
public:
    SharedMemory() {
        void* at = ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) throw std::runtime_error("no shared memory");
        object_ = new (at) T;
    }
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;
    ~SharedMemory() { ::munmap(object_, sizeof(T)); }

    T* operator->() const { return object_; }
    T& operator*() const { return *object_; }

private:
    T* object_;
};

}  // namespace kvs_test
