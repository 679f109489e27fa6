// Device memory that one call needs beside its tensors.
#pragma once

#include <cstddef>
#include <vector>

#include "cuda/base/memory.h"

namespace fa::cuda {

/**
 * Memory for the work that is enqueued while this object lives; given back in stream order after
 * it.
 */
class Scratch {
 public:
  explicit Scratch(const Queue& queue) : queue_(queue) {}
  ~Scratch() {
    for (void* memory : taken_) release(memory, queue_);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  /** Uninitialised, aligned to 256 bytes; null for 0 bytes. Throws Error{kOutOfMemory}. */
  void* take(size_t bytes) {
    taken_.reserve(taken_.size() + 1);
    taken_.push_back(allocate(bytes, queue_));
    return taken_.back();
  }

  template <typename T>
  T* take_array(size_t count) {
    return static_cast<T*>(take(count * sizeof(T)));
  }

 private:
  const Queue& queue_;
  std::vector<void*> taken_;
};

}  // namespace fa::cuda
