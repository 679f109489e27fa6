#include "cpu/storage.h"

#include <cstdlib>
#include <string>

#include "cpu/system.h"

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

// Under AddressSanitizer all memory comes from its allocator, which puts red zones around it.
#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__)
#define FA_STORAGE_MMAP 1
#else
#define FA_STORAGE_MMAP 0
#endif

namespace fa::cpu {

namespace {

constexpr size_t kAlignment = 64;

[[noreturn]] void out_of_memory(size_t bytes, const std::string& why) {
  throw Error(ErrorCode::kOutOfMemory, "",
              "Cannot allocate " + std::to_string(bytes) + " bytes: " + why);
}

class HeapStorage final : public Storage {
 public:
  HeapStorage(Stream* stream, size_t bytes) : Storage(stream, bytes) {
    if (posix_memalign(&data_, kAlignment, bytes > 0 ? bytes : 1) != 0) {
      out_of_memory(bytes, "the system has no memory left");
    }
  }
  ~HeapStorage() override { std::free(data_); }
  void* data() const override { return data_; }
  const void* host_data() const override { return data_; }

 private:
  void* data_ = nullptr;
};

#if FA_STORAGE_MMAP

constexpr size_t kHugePage = size_t{2} << 20;

class MappedStorage final : public Storage {
 public:
  MappedStorage(Stream* stream, size_t bytes) : Storage(stream, bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    length_ = (bytes + page - 1) / page * page;
    // mmap aligns to small pages only: map more, then give back what lies outside.
    const size_t mapped = length_ + kHugePage;
    void* address =
        mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) out_of_memory(bytes, "the system has no memory left");
    char* const begin = static_cast<char*>(address);
    const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
    data_ = begin + head;
    if (head > 0) munmap(begin, head);
    if (kHugePage > head) munmap(begin + head + length_, kHugePage - head);
    madvise(data_, length_, MADV_HUGEPAGE);  // a hint: systems without huge pages refuse it
  }
  ~MappedStorage() override { munmap(data_, length_); }
  void* data() const override { return data_; }
  const void* host_data() const override { return data_; }

 private:
  void* data_ = nullptr;
  size_t length_ = 0;
};

#endif

}  // namespace

void expect_possible(size_t bytes) {
  static const uint64_t limit = usable_memory();
  if (bytes > limit) {
    out_of_memory(bytes, "this process can have at most " + std::to_string(limit));
  }
}

std::shared_ptr<Storage> allocate_storage(Stream* stream, size_t bytes) {
  expect_possible(bytes);
#if FA_STORAGE_MMAP
  if (bytes >= kHugePage) return std::make_shared<MappedStorage>(stream, bytes);
#endif
  return std::make_shared<HeapStorage>(stream, bytes);
}

}  // namespace fa::cpu
