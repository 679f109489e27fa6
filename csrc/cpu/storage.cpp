#include "cpu/storage.h"

#include <cstdlib>
#include <deque>
#include <mutex>
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

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

/** `length` bytes from a huge page's boundary on; null when the system has none left. */
void* map_block(size_t length) {
  // mmap aligns to small pages only: map more, then give back what lies outside.
  void* address =
      mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(address);
  const size_t head = (kHugePage - reinterpret_cast<uintptr_t>(begin) % kHugePage) % kHugePage;
  if (head > 0) munmap(begin, head);
  if (kHugePage > head) munmap(begin + head + length, kHugePage - head);
  madvise(begin + head, length, MADV_HUGEPAGE);  // a hint: systems without huge pages refuse it
  return begin + head;
}

/**
 * Mapped memory that was freed, the oldest first. A server's calls have the same few sizes again
 * and again.
 */
class KeptBlocks {
 public:
  /** Of the process: environments share it, and it outlives them all. */
  static KeptBlocks& of_process() {
    static KeptBlocks& blocks = *new KeptBlocks;
    return blocks;
  }

  /** The latest block of exactly this length; null when there is none. */
  void* take(size_t length) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (auto block = blocks_.rbegin(); block != blocks_.rend(); ++block) {
      if (block->length != length) continue;
      void* const data = block->data;
      bytes_ -= length;
      blocks_.erase(std::next(block).base());
      return data;
    }
    return nullptr;
  }

  void give(void* data, size_t length) {
    if (length > kKeptBytes) {
      munmap(data, length);
      return;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    blocks_.push_back({data, length});
    bytes_ += length;
    for (; bytes_ > kKeptBytes; blocks_.pop_front()) {
      munmap(blocks_.front().data, blocks_.front().length);
      bytes_ -= blocks_.front().length;
    }
  }

 private:
  struct Block {
    void* data;
    size_t length;
  };
  std::mutex mutex_;
  std::deque<Block> blocks_;
  size_t bytes_ = 0;
};

class MappedStorage final : public Storage {
 public:
  MappedStorage(Stream* stream, size_t bytes) : Storage(stream, bytes) {
    length_ = (bytes + page_size() - 1) / page_size() * page_size();
    data_ = KeptBlocks::of_process().take(length_);
    if (data_ == nullptr) data_ = map_block(length_);
    if (data_ == nullptr) out_of_memory(bytes, "the system has no memory left");
  }
  ~MappedStorage() override { KeptBlocks::of_process().give(data_, length_); }
  void* data() const override { return data_; }
  const void* host_data() const override { return data_; }

 private:
  void* data_ = nullptr;
  size_t length_ = 0;
};

#endif

}  // namespace

void ask_for_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] size_t bytes) {
#if FA_STORAGE_MMAP
  const uintptr_t address = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (address + page_size() - 1) / page_size() * page_size();
  const uintptr_t end = (address + bytes) / page_size() * page_size();
  if (end >= begin + kHugePage) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

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
