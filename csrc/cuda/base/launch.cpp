#include "cuda/base/launch.h"

#include <map>
#include <mutex>
#include <utility>

namespace fa::cuda {

namespace {

std::mutex mutex;
using KernelOnDevice = std::pair<const void*, int>;
std::map<KernelOnDevice, size_t> allowed;  // bytes of dynamic shared memory
std::map<KernelOnDevice, bool> waits;      // whether it has griddepcontrol

constexpr int kOverlapsSince = 12030;  // in graphs; launches alone since 11.8
constexpr int kWaitsSince = 90;        // __CUDA_ARCH__ / 10 of ptx/grid.h

int driver_version() {
  int version = 0;
  cudaDriverGetVersion(&version);
  cudaGetLastError();
  return version;
}

}  // namespace

bool can_overlap(const void* kernel) {
  static const bool known = driver_version() >= kOverlapsSince;
  if (!known) return false;
  int device = 0;
  FA_CUDA(cudaGetDevice, &device);
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = waits.find({kernel, device});
  if (found != waits.end()) return found->second;
  cudaFuncAttributes attributes;
  FA_CUDA(cudaFuncGetAttributes, &attributes, kernel);
  return waits[{kernel, device}] = attributes.ptxVersion >= kWaitsSince;
}

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
