// Kernel launches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "core/error.h"
#include "cuda/base/error.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/** Dynamic shared memory that a kernel may use without having asked for more. */
constexpr size_t kDefaultDynamicSharedMemory = 48 * 1024;

/** Blocks of one launch: numbers of blocks are ints. */
constexpr int64_t kMostBlocks = std::numeric_limits<int32_t>::max();

/**
 * Lets `kernel` have `bytes` of dynamic shared memory on the current device. The driver is asked
 * once for each kernel and device, and once more for more. Throws Error{kCuda}.
 */
void allow_shared_memory(const void* kernel, size_t bytes);

/**
 * Enqueues `blocks` blocks of `kernel` with a copy of `params`. `smem_bytes` of dynamic shared
 * memory, up to what the device allows on request. Throws Error{kCuda}, and Error{kShape} for more
 * blocks than a launch can have.
 */
template <typename Params>
void launch(void (*kernel)(Params), int64_t blocks, int threads, size_t smem_bytes,
            const Queue& queue, const Params& params) {
  if (blocks == 0) return;
  if (blocks > kMostBlocks)
    throw Error(ErrorCode::kShape, "",
                "Expected tensors of at most " + std::to_string(kMostBlocks) +
                    " blocks of work but received " + std::to_string(blocks) + " blocks");
  if (smem_bytes > kDefaultDynamicSharedMemory)
    allow_shared_memory(reinterpret_cast<const void*>(kernel), smem_bytes);
  void* arguments[] = {const_cast<Params*>(&params)};  // CUDA copies them
  FA_CUDA(cudaLaunchKernel, kernel, dim3(static_cast<unsigned>(blocks)),
          dim3(static_cast<unsigned>(threads)), arguments, smem_bytes, queue.stream);
}

}  // namespace fa::cuda
