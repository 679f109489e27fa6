#include "cuda/runtime/device.h"

#include <cstdlib>
#include <utility>

#include "cuda/base/error.h"
#include "cuda/elementwise/fill.h"

namespace fa::cuda {

namespace {

constexpr int kLowestMajor = 8;  // Ampere: mma.sync m16n8k16 and cp.async

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/**
 * The driver a toolkit's binaries need: https://docs.nvidia.com/deploy/cuda-compatibility. From
 * 12.8 on they are compressed in a way that drivers of CUDA 12.4 have learnt (cmake/cuda.cmake).
 */
std::string needed_driver() {
  if (CUDART_VERSION >= 13000) return "NVIDIA driver 580 or newer";
  return CUDART_VERSION >= 12080 ? "NVIDIA driver 550.54 or newer" : "NVIDIA driver 525 or newer";
}

/** In words a user can act on. */
std::string explain(cudaError_t status) {
  int driver = 0;
  cudaDriverGetVersion(&driver);
  cudaGetLastError();
  const std::string code =
      std::string(" (") + cudaGetErrorName(status) + ", " + cudaGetErrorString(status) + ")";
  if (status == cudaErrorInsufficientDriver && driver == 0) {
    return "no NVIDIA driver is installed here: libcuda.so.1 was not found. This build needs " +
           needed_driver() + "; in a container, start it with the NVIDIA container toolkit";
  }
  if (status == cudaErrorInsufficientDriver || status == cudaErrorUnsupportedPtxVersion) {
    return "the NVIDIA driver is too old: it supports CUDA " + version_text(driver) +
           ", this build is made with CUDA " + version_text(CUDART_VERSION) + " and needs " +
           needed_driver();
  }
  if (status == cudaErrorNoDevice) {
    const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return "the NVIDIA driver shows no GPU" +
           (visible != nullptr ? std::string(": CUDA_VISIBLE_DEVICES is '") + visible + "'"
                               : std::string(" (nvidia-smi should list one)"));
  }
  if (status == cudaErrorStubLibrary) {
    return "the libcuda.so.1 that was found is the toolkit's stub; take its folder out of "
           "LD_LIBRARY_PATH" +
           code;
  }
  if (status == cudaErrorSystemDriverMismatch) {
    return "the NVIDIA kernel module and libcuda.so.1 are of different versions; a reboot after "
           "the driver's update helps" +
           code;
  }
  if (status == cudaErrorSystemNotReady) {
    return "the GPUs are not ready; on machines with NVSwitch the fabric manager must run" + code;
  }
  return "the CUDA runtime cannot start" + code;
}

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
  if (found.list.empty()) found.reason = explain(status);
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
  make_current();
  const cudaError_t status = find_kernels();
  if (status != cudaSuccess) {
    cudaGetLastError();
    const bool no_code = status == cudaErrorNoKernelImageForDevice ||
                         status == cudaErrorInvalidDeviceFunction || status == cudaErrorInvalidPtx;
    throw Error(
        ErrorCode::kDeviceUnavailable, "device",
        no_code ? "this build has no machine code or PTX for " + capability() : explain(status));
  }
  if (properties_.memoryPoolsSupported) {
    // Memory given back stays with this process: handing it to the driver and asking again costs
    // more than a call.
    cudaMemPool_t pool;
    uint64_t threshold = UINT64_MAX;
    FA_CUDA(cudaDeviceGetDefaultMemPool, &pool, ordinal_);
    FA_CUDA(cudaMemPoolSetAttribute, pool, cudaMemPoolAttrReleaseThreshold, &threshold);
  }
  opened_ = true;
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

const Devices& all_devices() {
  static const Devices* const found = new Devices(find_devices());  // outlives every thread
  return *found;
}

}  // namespace fa::cuda
