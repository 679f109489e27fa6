#include "cuda/base/launch.h"

#include <map>
#include <mutex>
#include <utility>

namespace fa::cuda {

namespace {

std::mutex mutex;
std::map<std::pair<const void*, int>, size_t> allowed;  // of a kernel on a device

}  // namespace

void allow_shared_memory(const void* kernel, size_t bytes) {
  int device = 0;
  FA_CUDA(cudaGetDevice, &device);
  const std::lock_guard<std::mutex> lock(mutex);
  size_t& most = allowed[{kernel, device}];
  if (bytes <= most) return;
  FA_CUDA(cudaFuncSetAttribute, kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
          static_cast<int>(bytes));
  most = bytes;
}

}  // namespace fa::cuda
