#include "cuda/base/memory.h"

#include <string>

#include "core/error.h"
#include "cuda/base/error.h"

namespace fa::cuda {

void* allocate(size_t bytes, const Queue& queue) {
  if (bytes == 0) return nullptr;
  void* memory = nullptr;
  cudaError_t status = cudaErrorMemoryAllocation;
  if (bytes <= queue.properties.totalGlobalMem) {
    status = queue.properties.memoryPoolsSupported ? cudaMallocAsync(&memory, bytes, queue.stream)
                                                   : cudaMalloc(&memory, bytes);
  }
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw Error(ErrorCode::kOutOfMemory, "",
                "Cannot allocate " + std::to_string(bytes) + " bytes on " + queue.properties.name +
                    ", which has " + std::to_string(queue.properties.totalGlobalMem));
  }
  check(status, "cudaMallocAsync");
  return memory;
}

void release(void* memory, const Queue& queue) noexcept {
  if (memory == nullptr) return;
  // Fails only on a device that has stopped, or while the process ends; then all memory is gone.
  if (queue.properties.memoryPoolsSupported) {
    cudaFreeAsync(memory, queue.stream);
  } else {
    cudaFree(memory);  // waits for all work of the device
  }
  cudaGetLastError();
}

}  // namespace fa::cuda
