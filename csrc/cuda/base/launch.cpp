#include "cuda/base/launch.h"

#include <map>
#include <mutex>
#include <utility>

#include "cuda/base/image_for.h"

namespace fa::cuda {

namespace {

std::mutex mutex;
std::map<std::pair<const void*, int>, size_t> allowed;  // of a kernel on a device

constexpr int kOverlapsSince = 12030;  // in graphs; launches alone since 11.8

int driver_version() {
  int version = 0;
  cudaDriverGetVersion(&version);
  cudaGetLastError();
  return version;
}

}  // namespace

bool can_overlap(const cudaDeviceProp& device) {
  static const bool known = driver_version() >= kOverlapsSince;
  return known && device.major >= 9 && image_for(device) == KernelImage::kMachineCode;
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
