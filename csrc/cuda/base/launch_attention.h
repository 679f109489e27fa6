// Launches of attention kernels, whose tiles take more dynamic shared memory than a kernel has
// unasked.
#pragma once

#include "cuda/base/launch.h"

namespace fa::cuda {

/**
 * Lets `kernel` have `bytes` of dynamic shared memory on the current device. The driver is asked
 * once for each kernel and device, and once more for more. Throws Error{kCuda}.
 */
void allow_shared_memory(const void* kernel, size_t bytes);

/** As launch(). */
template <typename Params>
void launch_attention(void (*kernel)(Params), int64_t blocks, int threads, size_t smem_bytes,
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
