// A block's shared memory: bytes that are reached only through the addresses of the shared window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt/location.h"
#include "simt/race_checker.h"

namespace simt {

struct Block;

/** Address of the first byte. Not 0, so that a forgotten base is out of bounds. */
constexpr uint32_t kSharedBase = 1024;
constexpr size_t kMaxStaticSharedBytes = 48 * 1024;

class SharedMemory {
 public:
  /** Bytes of a new block: all of them NaN in every floating type, none of them initialised. */
  void reset(size_t dynamic_bytes, int warps);

  /** Address of the static variable with this tag, placed at its first use, aligned to 16 bytes. */
  uint32_t static_address(const void* tag, size_t bytes, const Location& at);

  /** Offset of [address, address + bytes), or a report if it is out of bounds or misaligned. */
  uint32_t offset(uint32_t address, int bytes, const Location& at) const;

  /** The same for any number of bytes at any address. */
  uint32_t range(uint32_t address, uint32_t bytes, const Location& at) const;

  uint8_t* data() { return bytes_.data(); }
  RaceChecker& checker() { return checker_; }

 private:
  struct Static {
    const void* tag;
    uint32_t address;
  };

  std::vector<uint8_t> bytes_;
  size_t dynamic_bytes_ = 0, static_begin_ = 0, static_end_ = 0;
  std::vector<Static> statics_;
  RaceChecker checker_;
};

uint32_t dynamic_shared_memory();
uint32_t static_shared_memory(const void* tag, size_t bytes, const Location& at = Location::here());

void shared_load(uint32_t address, void* destination, int bytes, const Location& at);
void shared_store(uint32_t address, const void* source, int bytes, const Location& at);

/** Where an atomic operation of the running thread finds its 4 bytes, checked. */
void* shared_atomic_target(uint32_t address, const Location& at);

/** Replaces the T at `address` by `update(old)`; returns the old one. */
template <class T, class Update>
T shared_atomic(uint32_t address, Update update, const Location& at) {
  static_assert(sizeof(T) == 4);
  T* target = static_cast<T*>(shared_atomic_target(address, at));
  const T old = *target;
  *target = update(old);
  return old;
}

}  // namespace simt
