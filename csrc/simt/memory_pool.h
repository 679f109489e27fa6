// The memory pool of a device: memory that was given back stays reserved until the next
// synchronisation, and from then on up to the release threshold, as CUDA's stream-ordered allocator
// has it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simt {

struct PoolUse {
  uint64_t reserved, used;  // bytes
};

void pool_took(int device, const void* memory, size_t bytes);
/** Nothing happens to memory that came from no pool. */
void pool_gave_back(const void* memory);
/** Somebody waits for work of the device. */
void pool_synchronized(int device);
void set_release_threshold(int device, uint64_t bytes);
uint64_t release_threshold(int device);
PoolUse pool_use(int device);

}  // namespace simt
