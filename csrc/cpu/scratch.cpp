#include "cpu/scratch.h"

#include <atomic>

#include "cpu/storage.h"

namespace fa::cpu {

namespace {

constexpr size_t kLittle = size_t{2} << 20;

std::atomic<size_t> in_use{0};

}  // namespace

Scratch::Scratch(Arena& kept, size_t bytes) : bytes_(bytes) {
  if (bytes <= kLittle) {
    data_ = kept.reserve(bytes);
  } else {
    storage_ = allocate_storage(nullptr, bytes);
    data_ = static_cast<char*>(storage_->data());
  }
  in_use.fetch_add(bytes_, std::memory_order_relaxed);
}

Scratch::~Scratch() { in_use.fetch_sub(bytes_, std::memory_order_relaxed); }

size_t scratch_in_use() { return in_use.load(std::memory_order_relaxed); }

}  // namespace fa::cpu
