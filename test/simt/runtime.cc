// The CUDA runtime that the executor plays: devices, memory and its limits, and what a mistake in a
// kernel does to the calls after it.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cuda/base/launch.h"
#include "cuda/ptx/ptx.h"
#include "cuda/runtime/driver_advice.h"
#include "cuda/runtime/pool_limit.h"
#include "device_array.h"
#include "encode_map.h"
#include "simt/call_log.h"
#include "simt/launch_log.h"

namespace {

using fa::ErrorCode;
namespace cuda = fa::cuda;

constexpr size_t kMemory = 1 << 20;

/** True when `body` throws fa::Error with that code. */
template <typename Body>
bool throws(ErrorCode code, Body body) {
  try {
    body();
  } catch (const fa::Error& error) {
    return error.code() == code;
  }
  return false;
}

struct Params {
  int* data;
  int index;
};

__global__ void write_at(const __grid_constant__ Params p) { ptx::stg(p.data + p.index, 7); }

template <class T>
__global__ void use_shared(const __grid_constant__ Params p) {
  ptx::sts<T>(ptx::dyn_smem() + static_cast<uint32_t>(p.index), T{});
}

void check_devices() {
  int count = 0;
  CHECK(cudaGetDeviceCount(&count) == cudaSuccess && count == 3);
  cudaDeviceProp a100, h100;
  CHECK(cudaGetDeviceProperties(&a100, 0) == cudaSuccess);
  CHECK(cudaGetDeviceProperties(&h100, 1) == cudaSuccess);
  CHECK(a100.major == 8 && a100.minor == 0 && a100.multiProcessorCount == 108);
  CHECK(a100.sharedMemPerBlockOptin == 163 * 1024);
  CHECK(h100.major == 9 && h100.multiProcessorCount == 132 &&
        h100.sharedMemPerBlockOptin == 227 * 1024);
  CHECK(a100.totalGlobalMem == kMemory);
  CHECK(cudaGetDeviceProperties(&a100, 3) == cudaErrorInvalidDevice);
  CHECK(cudaSetDevice(3) == cudaErrorInvalidDevice);
  CHECK(cudaGetLastError() == cudaErrorInvalidDevice && cudaGetLastError() == cudaSuccess);
}

void check_memory() {
  void* first = nullptr;
  void* second = nullptr;
  CHECK(cudaMallocAsync(&first, kMemory / 2 + 1, nullptr) == cudaSuccess);
  CHECK(cudaMallocAsync(&second, kMemory / 2, nullptr) == cudaErrorMemoryAllocation);
  CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
  CHECK(cudaFreeAsync(first, nullptr) == cudaSuccess);
  CHECK(cudaMallocAsync(&second, kMemory / 2, nullptr) == cudaSuccess);  // it works again
  char host[16] = "fifteen letters";
  CHECK(cudaMemcpyAsync(second, host, 16, cudaMemcpyHostToDevice) == cudaSuccess);
  CHECK(cudaMemsetAsync(second, 'x', 3) == cudaSuccess);
  CHECK(cudaMemcpyAsync(host, second, 16, cudaMemcpyDeviceToHost) == cudaSuccess);
  CHECK(std::string(host) == "xxxteen letters");
  // Directions are checked, and so are ends.
  CHECK(cudaMemcpyAsync(host, second, 16, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaMemcpyAsync(static_cast<char*>(second) + kMemory / 2 - 15, host, 16,
                        cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
  CHECK(cudaFree(static_cast<char*>(second) + 1) == cudaErrorInvalidValue);
  CHECK(cudaFree(second) == cudaSuccess && cudaFree(nullptr) == cudaSuccess);
  cudaGetLastError();
}

void check_launches() {
  DeviceArray<int> data(4);
  simt::keep_reports();
  run(write_at, 2, 32, 0, Params{data.device(), 3});
  CHECK(data.read()[3] == 7);
  const std::vector<simt::Report> reports = simt::take_reports();
  CHECK(reports.size() == 1 && reports[0].ok() && reports[0].counters.global_written_bytes == 256);
  CHECK(reports[0].kernel.find("write_at") != std::string::npos);

  CHECK(start(write_at, 1, 1025, 0, Params{data.device(), 0}) == cudaErrorInvalidConfiguration);
  CHECK(start(write_at, dim3(1, 65536), 32, 0, Params{data.device(), 0}) ==
        cudaErrorInvalidConfiguration);
  // More than 48 KiB of shared memory must be asked for, and the device has an end.
  constexpr int kBytes = 100 * 1024;
  const Params last{data.device(), kBytes - 4};
  CHECK(start(use_shared<int>, 1, 1, kBytes, last) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(use_shared<int>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             164 * 1024) == cudaErrorInvalidValue);
  CHECK(cudaFuncSetAttribute(use_shared<int>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             kBytes) == cudaSuccess);
  run(use_shared<int>, 1, 1, kBytes, last);
  cudaGetLastError();
}

/** Queues of the devices, as the backend has them. */
cuda::Queue queue_of(int device) {
  static cudaDeviceProp properties[2];
  CHECK(cudaSetDevice(device) == cudaSuccess);
  CHECK(cudaGetDeviceProperties(&properties[device], device) == cudaSuccess);
  return {properties[device], nullptr};
}

/** Shared memory beyond 48 KiB is asked for once for a kernel and device. */
void check_shared_memory_is_asked_for_once() {
  const auto asked = [](int device, size_t bytes) {
    const cuda::Queue queue = queue_of(device);
    DeviceArray<int> data(4);
    simt::keep_calls();
    cuda::launch(use_shared<float>, 1, 1, bytes, queue,
                 Params{data.device(), static_cast<int>(bytes) - 4});
    int count = 0;
    for (const simt::Call& call : simt::take_calls())
      count += call.function == "cudaFuncSetAttribute";
    CHECK(cudaGetLastError() == cudaSuccess && cudaStreamQuery(nullptr) == cudaSuccess);
    return count;
  };
  constexpr size_t kLess = 60 * 1024, kMore = 100 * 1024;
  CHECK(asked(0, kLess) == 1 && asked(0, kLess) == 0);
  CHECK(asked(1, kLess) == 1 && asked(1, kLess) == 0);
  CHECK(asked(0, kMore) == 1 && asked(0, kMore) == 0 && asked(0, kLess) == 0);
  CHECK(asked(0, 1024) == 0);
  CHECK(throws(ErrorCode::kCuda, [&] { asked(0, 164 * 1024); }));
  CHECK(throws(ErrorCode::kCuda, [&] { asked(0, 164 * 1024); }));  // was not granted
  CHECK(asked(0, kMore) == 0);
  CHECK(cudaSetDevice(0) == cudaSuccess);
}

/** A stream takes launches of the thread whose device is its own. */
void check_other_device() {
  cudaStream_t stream;
  cudaEvent_t event;
  CHECK(cudaSetDevice(1) == cudaSuccess);
  CHECK(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, 0) == cudaSuccess);
  CHECK(cudaSetDevice(0) == cudaSuccess);
  CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
  CHECK(cudaEventRecord(event, stream) == cudaErrorInvalidResourceHandle);
  DeviceArray<int> data(4);
  Params params{data.device(), 0};
  void* arguments[] = {&params};
  CHECK(cudaLaunchKernel(write_at, 1, 32, arguments, 0, stream) == cudaErrorInvalidResourceHandle);
  CHECK(cudaStreamDestroy(stream) == cudaSuccess && cudaEventDestroy(event) == cudaSuccess);
  CHECK(cudaGetLastError() == cudaErrorInvalidResourceHandle);
}

/** A pool keeps what is free up to a threshold that follows what is held. */
void check_pool_limit() {
  constexpr char kSetting[] = "FLASH_ATTENTION_CUDA_POOL_BYTES";
  const auto limit = [&](const char* text) {
    setenv(kSetting, text, 1);
    return cuda::PoolLimit(0, kMemory).limit();
  };
  CHECK(limit("") == kMemory / 16 && limit("0") == 0 && limit("5000") == 5000);
  for (const char* bad : {"-1", "1e3", "many", "1125899906842625", "99999999999999999999"})
    CHECK(throws(ErrorCode::kOption, [&] { limit(bad); }));
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{4096}, uint64_t{1} << 40}) {
    limit(std::to_string(bytes).c_str());
    cuda::PoolLimit pool(0, kMemory);
    const uint64_t used = pool.used();
    void *first = nullptr, *second = nullptr;
    CHECK(cudaMallocAsync(&first, 100'000, nullptr) == cudaSuccess);
    CHECK(cudaMallocAsync(&second, 200'000, nullptr) == cudaSuccess);
    pool.hold(300'000);
    CHECK(pool.used() == used + 300'000 && pool.reserved() >= pool.used());
    CHECK(cudaFreeAsync(second, nullptr) == cudaSuccess);
    pool.hold(-200'000);
    CHECK(pool.reserved() >= used + 300'000);  // until somebody waits
    CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess);
    CHECK(pool.reserved() <= used + 100'000 + std::min<uint64_t>(bytes, 200'000));
    CHECK(pool.reserved() >= used + 100'000 + std::min<uint64_t>(bytes / 2, 200'000));
    // The driver hears of what moves far, and of nothing else.
    simt::keep_calls();
    for (int i = 0; i < 10; ++i) {
      pool.hold(64);
      pool.hold(-64);
    }
    CHECK(bytes == 0 || simt::take_calls().empty());
    CHECK(cudaFreeAsync(first, nullptr) == cudaSuccess);
    pool.hold(-100'000);
    CHECK(cudaStreamSynchronize(nullptr) == cudaSuccess);
  }
  unsetenv(kSetting);
}

/** Which driver is asked for: for machine code, for machine code that is compressed, for PTX. */
void check_driver_advice() {
  const auto says = [](const std::string& text, const char* words) {
    if (text.find(words) != std::string::npos) return true;
    std::fprintf(stderr, "'%s' does not say '%s'\n", text.c_str(), words);
    return false;
  };
  const auto no_device = [](cudaError_t status, int driver, int built) {
    return cuda::why_no_device(status, {driver, built});
  };
  CHECK(says(no_device(cudaErrorInsufficientDriver, 0, 12040), "no NVIDIA driver is installed"));
  CHECK(says(no_device(cudaErrorInsufficientDriver, 0, 12040), "driver 525.60.13 or newer"));
  CHECK(says(no_device(cudaErrorInsufficientDriver, 11080, 12040), "supports CUDA 11.8"));
  CHECK(says(no_device(cudaErrorInsufficientDriver, 11080, 12080), "driver 550.54.14 or newer"));
  CHECK(says(no_device(cudaErrorInsufficientDriver, 12080, 13000), "driver 580.65.06 or newer"));
  CHECK(says(no_device(cudaErrorNoDevice, 12080, 12080), "shows no GPU"));
  const auto no_kernel = [](cudaError_t status, int driver, int built) {
    return cuda::why_no_kernel(status, {driver, built}, "sm_120");
  };
  // PTX needs a driver of the toolkit's own version, not only of its generation.
  const std::string ptx = no_kernel(cudaErrorUnsupportedPtxVersion, 12040, 12080);
  CHECK(says(ptx, "no machine code for sm_120") && says(ptx, "supports CUDA 12.4"));
  CHECK(says(ptx, "driver 570.26 or newer"));
  CHECK(says(no_kernel(cudaErrorUnsupportedPtxVersion, 12080, 13020), "supports CUDA 13.2"));
  CHECK(says(no_kernel(cudaErrorNoKernelImageForDevice, 12020, 12080), "driver 550.54.14"));
  CHECK(says(no_kernel(cudaErrorNoKernelImageForDevice, 12080, 12080), "or PTX for sm_120"));
  CHECK(says(no_kernel(cudaErrorInsufficientDriver, 11080, 12040), "driver 525.60.13"));
}

/** What the driver demands of a tensor map (CUDA driver API, cuTensorMapEncodeTiled). */
void check_tensor_maps() {
  DeviceArray<float> data(64 * 64);
  ptx::tensor_map map;
  const TensorShape good{CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
                         {60, 30, 7},
                         {128, 4096},
                         {64, 16, 1},
                         CU_TENSOR_MAP_SWIZZLE_128B};
  const auto status = [&](auto change, int bytes_off = 0) {
    TensorShape shape = good;
    change(shape);
    return encode_map(&map, reinterpret_cast<char*>(data.device()) + bytes_off, shape);
  };
  CHECK(status([](TensorShape&) {}) == CUDA_SUCCESS);
  CHECK(status([](TensorShape&) {}, 8) == CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) { s.dims[1] = 0; }) == CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) { s.dims[1] = (1ull << 32) + 1; }) == CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) { s.strides[0] = 120; }) == CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) { s.strides[1] = 1ull << 40; }) == CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) { s.box[1] = 257; }) == CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) { s.box[2] = 0; }) == CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) { s.box[0] = 65; }) == CUDA_ERROR_INVALID_VALUE);   // 130 bytes
  CHECK(status([](TensorShape& s) { s.box[0] = 128; }) == CUDA_ERROR_INVALID_VALUE);  // 256 bytes
  CHECK(status([](TensorShape& s) {
          s.box[0] = 128;
          s.swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
        }) == CUDA_SUCCESS);
  CHECK(status([](TensorShape& s) { s.swizzle = CU_TENSOR_MAP_SWIZZLE_64B; }) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(status([](TensorShape& s) {
          s.dims = {1, 1, 1, 1, 1, 1};
          s.strides.resize(5);
          s.box = {8, 1, 1, 1, 1, 1};
        }) == CUDA_ERROR_INVALID_VALUE);

  void* function = &function;
  cudaDriverEntryPointQueryResult result;
  CHECK(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 11080,
                                         cudaEnableDefault, &result) == cudaSuccess);
  CHECK(!function && result == cudaDriverEntryPointVersionNotSufficent);
  CHECK(cudaGetDriverEntryPointByVersion("cuNothing", &function, 12000, cudaEnableDefault,
                                         &result) == cudaSuccess);
  CHECK(!function && result == cudaDriverEntryPointSymbolNotFound);
}

__global__ void elect(const __grid_constant__ Params p) {
  if (ptx::elect_one()) ptx::stg(p.data, 1);
}

/** What is compiled for sm_90a runs on no other device. */
void check_architecture() {
  CHECK(cudaSetDevice(1) == cudaSuccess);
  DeviceArray<int> data(1);
  run(elect, 1, 32, 0, Params{data.device(), 0});
  CHECK(data.read()[0] == 1);
  CHECK(cudaSetDevice(2) == cudaSuccess);
  simt::keep_reports();
  CHECK(start(elect, 1, 32, 0, Params{data.device(), 0}) == cudaSuccess);
  const std::vector<simt::Report> reports = simt::take_reports();
  CHECK(reports[0].error.find("compute capability 8.0") != std::string::npos);
}

void check_failure() {
  CHECK(cudaSetDevice(1) == cudaSuccess);
  cudaStream_t healthy;
  CHECK(cudaStreamCreateWithPriority(&healthy, cudaStreamNonBlocking, 0) == cudaSuccess);
  CHECK(cudaSetDevice(0) == cudaSuccess);
  DeviceArray<int> data(4);
  cudaEvent_t event;
  CHECK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming) == cudaSuccess);
  CHECK(start(write_at, 1, 32, 0, Params{data.device(), 4}) == cudaSuccess);  // it fails later
  CHECK(cudaEventQuery(event) == cudaErrorLaunchFailure);
  CHECK(cudaEventSynchronize(event) == cudaErrorLaunchFailure);
  const std::string text = cudaGetErrorString(cudaErrorLaunchFailure);
  CHECK(text.find("write_at") != std::string::npos &&
        text.find("out of bounds") != std::string::npos);
  CHECK(text.find("runtime.cc:") != std::string::npos &&
        text.find("thread (") != std::string::npos);
  // For good, but only on that device.
  CHECK(start(write_at, 1, 32, 0, Params{data.device(), 0}) == cudaErrorLaunchFailure);
  void* memory;
  CHECK(cudaMalloc(&memory, 4) == cudaErrorLaunchFailure);
  CHECK(cudaEventDestroy(event) == cudaErrorLaunchFailure);
  CHECK(cudaStreamQuery(healthy) == cudaSuccess && cudaStreamDestroy(healthy) == cudaSuccess);
}

}  // namespace

int main() {
  setenv("FLASH_ATTENTION_SIMT_DEVICES", "sm80,sm90,sm80", 1);
  setenv("FLASH_ATTENTION_SIMT_MEMORY", std::to_string(kMemory).c_str(), 1);
  check_devices();
  check_memory();
  check_launches();
  check_shared_memory_is_asked_for_once();
  check_other_device();
  check_pool_limit();
  check_driver_advice();
  check_tensor_maps();
  check_failure();
  check_architecture();
  std::printf("runtime: passed\n");
}
