#include "cuda/runtime/device.h"

#include <cuda.h>

#include <atomic>

#include "cuda/base/driver_function.h"
#include "cuda/base/error.h"
#include "cuda/elementwise/fill.h"
#include "cuda/runtime/driver_advice.h"

namespace fa::cuda {

namespace {

constexpr int kLowestMajor = 8;  // Ampere: mma.sync m16n8k16 and cp.async

std::string name_of(int ordinal, const cudaDeviceProp& properties) {
#if defined(FA_SIMT)
  static_cast<void>(ordinal);
  return "simt:sm" + std::to_string(properties.major * 10 + properties.minor);
#else
  static_cast<void>(properties);
  return "cuda:" + std::to_string(ordinal);
#endif
}

Devices find_devices() {
  Devices found;
  int count = 0;
  cudaError_t status = cudaGetDeviceCount(&count);
  if (status == cudaSuccess && count == 0) status = cudaErrorNoDevice;
  for (int i = 0; status == cudaSuccess && i < count; ++i) {
    cudaDeviceProp properties;
    status = cudaGetDeviceProperties(&properties, i);
    if (status == cudaSuccess) found.list.push_back(std::make_unique<Device>(i, properties));
  }
  if (found.list.empty()) found.reason = why_no_device(status, CudaVersions::here());
  return found;
}

}  // namespace

Device::Device(int ordinal, const cudaDeviceProp& properties)
    : name_(name_of(ordinal, properties)), ordinal_(ordinal), properties_(properties) {
  if (properties.major < kLowestMajor) {
    unsupported_ = std::string(properties.name) + " has compute capability " +
                   std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                   "; the kernels need " + std::to_string(kLowestMajor) + ".0 (Ampere) or newer";
  }
}

std::string Device::capability() const {
  return "sm_" + std::to_string(properties_.major * 10 + properties_.minor);
}

std::string Device::unusable() const {
  if (!unsupported_.empty()) return unsupported_;
  const auto ended = failure();
  return ended ? ended->what() : "";
}

void Device::make_current() const { FA_CUDA(cudaSetDevice, ordinal_); }

void Device::open() {
  if (!unsupported_.empty()) throw Error(ErrorCode::kDeviceUnavailable, "device", unsupported_);
  if (const auto ended = failure()) throw Error(*ended);
  std::lock_guard<std::mutex> lock(mutex_);
  if (opened_) return;
  const CurrentDevice current(*this);
  make_current();  // and say what is wrong with that
  const cudaError_t status = find_kernels();
  if (status != cudaSuccess) {
    cudaGetLastError();
    throw Error(ErrorCode::kDeviceUnavailable, "device",
                why_no_kernel(status, CudaVersions::here(), capability()));
  }
  if (properties_.memoryPoolsSupported) pool_.emplace(ordinal_, properties_.totalGlobalMem);
  opened_ = true;
}

void Device::hold(int64_t bytes) noexcept {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (pool_) pool_->hold(bytes);
}

std::optional<PoolUse> Device::pool() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!pool_) return std::nullopt;
  try {
    return PoolUse{.device = name_,
                   .reserved = pool_->reserved(),
                   .used = pool_->used(),
                   .limit = pool_->limit()};
  } catch (const Error&) {
    return std::nullopt;
  }
}

Failure Device::failure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

void Device::examine(const Error& error, cudaStream_t stream) {
  const cudaError_t status = cudaStreamQuery(stream);
  if (status == cudaSuccess || status == cudaErrorNotReady) return;
  cudaGetLastError();
  std::lock_guard<std::mutex> lock(mutex_);
  if (failure_) return;
  failure_ = std::make_shared<const Error>(
      ErrorCode::kCuda, "",
      "The device " + name_ +
          " has stopped and cannot be used again in this process: " + error.what());
}

CurrentDevice::CurrentDevice(const Device& device) noexcept : before_(-1) {
  int current = 0;
  if (cudaGetDevice(&current) == cudaSuccess && current != device.ordinal() &&
      cudaSetDevice(device.ordinal()) == cudaSuccess)
    before_ = current;
  cudaGetLastError();
}

namespace {

/** Whether the device has a context in this process; cudaSetDevice makes one if there is none. */
bool has_context(int ordinal) {
  using GetState = decltype(&cuDevicePrimaryCtxGetState);
  static const auto get_state =
      reinterpret_cast<GetState>(driver_function("cuDevicePrimaryCtxGetState", 7000));
  unsigned flags = 0;
  int active = 0;
  return get_state != nullptr && get_state(ordinal, &flags, &active) == CUDA_SUCCESS && active != 0;
}

}  // namespace

CurrentDevice::~CurrentDevice() {
  if (before_ >= 0 && has_context(before_)) cudaSetDevice(before_);
  cudaGetLastError();
}

namespace {

std::atomic<const Devices*> found{nullptr};

}  // namespace

const Devices& all_devices() {
  static const Devices* const all = new Devices(find_devices());  // outlives every thread
  found.store(all, std::memory_order_release);
  return *all;
}

const Devices* found_devices() { return found.load(std::memory_order_acquire); }

}  // namespace fa::cuda
