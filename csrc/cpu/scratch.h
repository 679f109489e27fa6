// Memory that a call needs beside its tensors, and gives back when it ends.
#pragma once

#include <cstddef>
#include <memory>

#include "core/storage.h"
#include "cpu/arena.h"

namespace fa::cpu {

class Scratch {
 public:
  /**
   * `bytes` of memory, 64-byte aligned. A little comes out of `kept`, which lives on, so that calls
   * like the last one allocate nothing. Throws Error{kOutOfMemory}.
   */
  Scratch(Arena& kept, size_t bytes);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  float* floats() const { return reinterpret_cast<float*>(data_); }

 private:
  size_t bytes_;
  std::shared_ptr<Storage> storage_;  // of more than a little
  char* data_;
};

/** Bytes that running calls of this process hold. */
size_t scratch_in_use();

}  // namespace fa::cpu
