// The CUDA runtime that the executor plays: devices, memory and its limits, and what a mistake in a
// kernel does to the calls after it.
#include <cstdlib>
#include <cstring>
#include <string>

#include "cuda/ptx/ptx.h"
#include "device_array.h"
#include "encode_map.h"
#include "simt/launch_log.h"

namespace {

constexpr size_t kMemory = 1 << 20;

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
  check_tensor_maps();
  check_failure();
  check_architecture();
  std::printf("runtime: passed\n");
}
