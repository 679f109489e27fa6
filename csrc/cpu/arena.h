// Scratch that a thread keeps: grown to the largest request, so steady-state calls allocate nothing.
#pragma once

#include <cstdlib>
#include <new>

namespace fa::cpu {

class Arena {
 public:
  ~Arena() { std::free(data_); }

  /** 64-byte aligned; the contents of earlier calls are lost. */
  char* reserve(size_t bytes) {
    if (bytes > capacity_) {
      std::free(data_);
      capacity_ = 0;
      data_ = static_cast<char*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
      if (data_ == nullptr) throw std::bad_alloc();
      capacity_ = bytes;
    }
    return data_;
  }

 private:
  char* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace fa::cpu
