// Device memory: allocations of the host heap that are known here, so that every access of a kernel
// can be checked against them.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/location.h"

namespace simt {

/** Bytes 0xff (NaN in every floating type), aligned to 256; null if the host has no memory. */
void* allocate_global(size_t bytes);
/** False if no allocation begins at `memory`. */
bool free_global(void* memory);
/** Whether [pointer, pointer + bytes) lies within one allocation. */
bool is_global(const void* pointer, size_t bytes);
/** Bytes of all allocations. */
size_t allocated_global_bytes();

/** Forgets which allocations it saw last; between two grids others may have taken their place. */
void begin_global_accesses();

/** Counts a read of 1, 2, 4, 8 or 16 bytes, or reports that it is out of bounds or misaligned. */
void check_global_read(const void* pointer, int bytes, const Location& at);

enum class GlobalUse { kRead, kWrite, kUpdate };
/** Counts and checks what an engine does with any number of bytes. */
void check_global_range(const void* pointer, uint32_t bytes, GlobalUse use, const Location& at);
/** Adds the floats in `bytes` bytes at `values`. */
void add_floats(float* pointer, const uint8_t* values, uint32_t bytes);

void global_load(const void* pointer, void* destination, int bytes, const Location& at);
void global_store(void* pointer, const void* source, int bytes, const Location& at);
void global_prefetch(const void* pointer, const Location& at);

/** Adds `count` floats one by one. */
void global_reduce(float* pointer, const float* values, int count, const Location& at);
int global_acquire(const int* pointer, const Location& at);
void global_release(int* pointer, int value, const Location& at);

/** Counts and checks an atomic operation on 4 bytes. */
void check_global_atomic(const void* pointer, int bytes, const Location& at);

/** Replaces the value by `update(old)`; returns the old one. */
template <class T, class Update>
T global_atomic(T* pointer, Update update, const Location& at) {
  static_assert(sizeof(T) == 4);
  check_global_atomic(pointer, sizeof(T), at);
  const T old = *pointer;
  *pointer = update(old);
  return old;
}

}  // namespace simt
