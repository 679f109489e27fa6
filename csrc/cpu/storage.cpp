#include "cpu/storage.h"

#include <algorithm>
#include <deque>
#include <mutex>
#include <new>
#include <string>

#include "core/system.h"

namespace fa::cpu {

namespace {

// Under AddressSanitizer all memory comes from its allocator, which puts red zones around it.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kKeeps = false;
#else
constexpr bool kKeeps = true;
#endif

/** From here on an allocator maps memory anew, and the system clears every page of it. */
constexpr size_t kKeptFrom = size_t{64} << 10;

constexpr std::align_val_t kAlignment{64};

[[noreturn]] void out_of_memory(size_t bytes, const std::string& why) {
  throw Error(ErrorCode::kOutOfMemory, "",
              "Cannot allocate " + std::to_string(bytes) + " bytes: " + why);
}

class HeapStorage final : public Storage {
 public:
  HeapStorage(Stream* stream, size_t bytes)
      : Storage(stream, bytes), data_(::operator new(bytes, kAlignment, std::nothrow)) {
    if (data_ == nullptr) out_of_memory(bytes, "the system has no memory left");
  }
  ~HeapStorage() override { ::operator delete(data_, kAlignment); }
  void* data() const override { return data_; }
  const void* host_data() const override { return data_; }

 private:
  void* data_;
};

/**
 * What a tensor of `bytes` takes: whole pages, and eighths of a power of two, so that sizes which
 * hardly differ serve each other. Pages that nobody touches take no memory.
 */
size_t block_length(size_t bytes) {
  size_t step = page_size();
  while (step <= bytes / 16) step *= 2;
  return (bytes + step - 1) / step * step;
}

/** `length` is a multiple of the page size. Null when there is no memory left. */
void* allocate_block(size_t length) {
  return length >= kHugePage ? map_pages(length) : ::operator new(length, kAlignment, std::nothrow);
}

void free_block(void* data, size_t length) {
  if (length >= kHugePage)
    unmap_pages(data, length);
  else
    ::operator delete(data, kAlignment);
}

/**
 * Memory that was freed, the oldest first. A server's calls have the same few sizes again and
 * again.
 */
class KeptBlocks {
 public:
  /** Of the process: environments share it, and it outlives them all. */
  static KeptBlocks& of_process() {
    static KeptBlocks& blocks = *new KeptBlocks;
    return blocks;
  }

  /** The latest block of this length; null when there is none. */
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
    if (length > most_kept_bytes() / 4) {
      free_block(data, length);
      return;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    blocks_.push_back({data, length});
    bytes_ += length;
    shrink(most_kept_bytes());
  }

  void give_all_back() {
    std::lock_guard<std::mutex> lock(mutex_);
    shrink(0);
  }

 private:
  struct Block {
    void* data;
    size_t length;
  };

  void shrink(size_t most) {
    for (; bytes_ > most; blocks_.pop_front()) {
      free_block(blocks_.front().data, blocks_.front().length);
      bytes_ -= blocks_.front().length;
    }
  }

  std::mutex mutex_;
  std::deque<Block> blocks_;
  size_t bytes_ = 0;
};

class KeptStorage final : public Storage {
 public:
  KeptStorage(Stream* stream, size_t bytes) : Storage(stream, bytes), length_(block_length(bytes)) {
    KeptBlocks& kept = KeptBlocks::of_process();
    data_ = kept.take(length_);
    if (data_ == nullptr) data_ = allocate_block(length_);
    if (data_ == nullptr) {
      kept.give_all_back();
      data_ = allocate_block(length_);
    }
    if (data_ == nullptr) out_of_memory(bytes, "the system has no memory left");
  }
  ~KeptStorage() override { KeptBlocks::of_process().give(data_, length_); }
  void* data() const override { return data_; }
  const void* host_data() const override { return data_; }

 private:
  const size_t length_;
  void* data_;
};

}  // namespace

size_t most_kept_bytes() {
  static const auto most =
      static_cast<size_t>(std::min<uint64_t>(uint64_t{256} << 20, usable_memory() / 16));
  return most;
}

void expect_possible(size_t bytes) {
  static const uint64_t limit = usable_memory();
  if (bytes > limit) {
    out_of_memory(bytes, "this process can have at most " + std::to_string(limit));
  }
}

std::shared_ptr<Storage> allocate_storage(Stream* stream, size_t bytes) {
  expect_possible(bytes);
  if (kKeeps && bytes >= kKeptFrom) return std::make_shared<KeptStorage>(stream, bytes);
  return std::make_shared<HeapStorage>(stream, bytes);
}

}  // namespace fa::cpu
