#include "cuda/runtime/pool_limit.h"

#include "core/setting.h"
#include "cuda/base/error.h"

namespace fa::cuda {

namespace {

constexpr uint64_t kUsualShare = 16;              // of the device's memory, a sixteenth
constexpr int64_t kMostBytes = int64_t{1} << 50;  // sums of them are far from overflow
constexpr char kSetting[] = "FLASH_ATTENTION_CUDA_POOL_BYTES";

}  // namespace

PoolLimit::PoolLimit(int ordinal, uint64_t total)
    : limit_(static_cast<uint64_t>(integer_setting(kSetting, 0, kMostBytes)
                                       .value_or(static_cast<int64_t>(total / kUsualShare)))) {
  FA_CUDA(cudaDeviceGetDefaultMemPool, &pool_, ordinal);
  threshold_ = limit_;
  FA_CUDA(cudaMemPoolSetAttribute, pool_, cudaMemPoolAttrReleaseThreshold, &threshold_);
}

void PoolLimit::hold(int64_t bytes) noexcept {
  held_ += static_cast<uint64_t>(bytes);
  if (threshold_ >= held_ + limit_ / 2 && threshold_ <= held_ + limit_) return;
  threshold_ = held_ + limit_ - limit_ / 4;
  // Fails only on a device that has stopped.
  cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &threshold_);
  cudaGetLastError();
}

uint64_t PoolLimit::attribute(cudaMemPoolAttr which) const {
  uint64_t value = 0;
  FA_CUDA(cudaMemPoolGetAttribute, pool_, which, &value);
  return value;
}

}  // namespace fa::cuda
