// Kernel launches.
#pragma once

#include <cstddef>

#include "cuda/runtime/error.h"
#include "cuda/runtime/queue.h"

namespace fa::cuda {

/** Dynamic shared memory that a kernel may use without having asked for more. */
constexpr size_t kDefaultDynamicSharedMemory = 48 * 1024;

/**
 * Enqueues `kernel` with a copy of `params`. `smem_bytes` of dynamic shared memory, up to what the
 * device allows on request. A grid without blocks is no work. Throws Error{kCuda}.
 */
template <typename Params>
void launch(void (*kernel)(Params), dim3 grid, dim3 block, size_t smem_bytes, const Queue& queue,
            Params params) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  if (smem_bytes > kDefaultDynamicSharedMemory) {
    FA_CUDA(cudaFuncSetAttribute, kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
            static_cast<int>(smem_bytes));
  }
  void* arguments[] = {&params};
  FA_CUDA(cudaLaunchKernel, kernel, grid, block, arguments, smem_bytes, queue.stream);
}

}  // namespace fa::cuda
