// Scratch that a thread keeps: grown to the largest request, so steady-state calls allocate
// nothing.
#pragma once

#include <cstddef>
#include <new>

namespace fa::cpu {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { release(); }

  /** 64-byte aligned; the contents of earlier calls are lost. */
  char* reserve(size_t bytes) {
    if (bytes > capacity_) {
      release();
      data_ = static_cast<char*>(::operator new(bytes, kAlignment));
      capacity_ = bytes;
    }
    return data_;
  }

 private:
  static constexpr std::align_val_t kAlignment{64};

  void release() {
    ::operator delete(data_, kAlignment);
    data_ = nullptr;
    capacity_ = 0;
  }

  char* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace fa::cpu
