// Parts of a block of scratch memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fa::cpu::FA_ISA {
namespace {

constexpr size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

/** Hands out parts of a block, each from a cache line on. Without a block it only counts. */
class Arena {
 public:
  explicit Arena(char* block) : block_(block) {}

  /** Room for `count` elements; null when only counting. */
  template <typename T>
  T* take(int64_t count) {
    T* const part = counts_only() ? nullptr : reinterpret_cast<T*>(block_ + used_);
    used_ += aligned(static_cast<size_t>(count) * sizeof(T));
    return part;
  }

  bool counts_only() const { return block_ == nullptr; }
  size_t used() const { return used_; }

 private:
  char* block_;
  size_t used_ = 0;
};

}  // namespace
}  // namespace fa::cpu::FA_ISA
