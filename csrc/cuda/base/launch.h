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

/** When a launch begins, beside the one in front of it on its stream. */
enum class Order {
  kAfter,     // that has ended
  kOverlaps,  // that ends: the kernel waits for it itself (ptx::wait_for_primary), where it can
};

/**
 * Whether `kernel` can wait for the launch in front of it: the code of it that the current device
 * runs is written for compute capability 9.0 or later, as machine code or as PTX. CUDA is asked
 * once for each kernel and device. The driver is that of CUDA 12.3 or newer, which takes such
 * launches into graphs, too. Throws Error{kCuda}.
 */
bool can_overlap(const void* kernel);

/**
 * Enqueues `blocks` blocks of `kernel` with a copy of `params`. `smem_bytes` of dynamic shared
 * memory, up to what the device allows on request. Throws Error{kCuda}, and Error{kShape} for more
 * blocks than a launch can have.
 */
template <typename Params>
void launch(void (*kernel)(Params), int64_t blocks, int threads, size_t smem_bytes,
            const Queue& queue, const Params& params, Order order = Order::kAfter) {
  if (blocks == 0) return;
  if (blocks > kMostBlocks)
    throw Error(ErrorCode::kShape, "",
                "Expected tensors of at most " + std::to_string(kMostBlocks) +
                    " blocks of work but received " + std::to_string(blocks) + " blocks");
  const void* const function = reinterpret_cast<const void*>(kernel);
  if (smem_bytes > kDefaultDynamicSharedMemory) allow_shared_memory(function, smem_bytes);
  const dim3 grid(static_cast<unsigned>(blocks)), block(static_cast<unsigned>(threads));
  if (order == Order::kOverlaps && can_overlap(function)) {
    cudaLaunchAttribute overlaps{};
    overlaps.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlaps.val.programmaticStreamSerializationAllowed = 1;
    const cudaLaunchConfig_t config = {grid, block, smem_bytes, queue.stream, &overlaps, 1};
    FA_CUDA(cudaLaunchKernelEx, &config, kernel, params);
    return;
  }
  void* arguments[] = {const_cast<Params*>(&params)};  // CUDA copies them
  FA_CUDA(cudaLaunchKernel, kernel, grid, block, arguments, smem_bytes, queue.stream);
}

}  // namespace fa::cuda
