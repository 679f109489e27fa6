// The memory pool of a device, and how much of what was freed stays with this process.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace fa::cuda {

/**
 * Sets the release threshold of the device's default pool. CUDA counts memory in use too: at a
 * synchronisation a pool that holds more than its threshold gives all back that is free. So the
 * threshold follows what tensors hold; a fixed one below a KV cache would have every step ask the
 * driver for its memory anew.
 */
class PoolLimit {
 public:
  /**
   * `total` is the device's memory. Throws Error{kOption} for a value of
   * FLASH_ATTENTION_CUDA_POOL_BYTES that is no number of bytes, Error{kCuda} when the driver fails.
   */
  PoolLimit(int ordinal, uint64_t total);

  /** Tensors hold so many bytes more, or fewer. Calls the driver when they have moved far. */
  void hold(int64_t bytes) noexcept;

  uint64_t limit() const { return limit_; }
  /** Bytes that the pool has, and that of them are in use. Throws Error{kCuda}. */
  uint64_t reserved() const { return attribute(cudaMemPoolAttrReservedMemCurrent); }
  uint64_t used() const { return attribute(cudaMemPoolAttrUsedMemCurrent); }

 private:
  uint64_t attribute(cudaMemPoolAttr which) const;

  cudaMemPool_t pool_;
  uint64_t limit_;          // bytes that may stay unused
  uint64_t held_ = 0;       // by tensors
  uint64_t threshold_ = 0;  // between held_ + limit_ / 2 and held_ + limit_
};

}  // namespace fa::cuda
