// Memory and launches for tests that run on a GPU (nvcc) as well as on the SIMT executor.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

#define CHECK(condition)                                                             \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
      std::_Exit(1);                                                                 \
    }                                                                                \
  } while (false)

#define CHECK_CUDA(call)                                                 \
  do {                                                                   \
    const cudaError_t status = (call);                                   \
    if (status != cudaSuccess) {                                         \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, \
                   cudaGetErrorString(status));                          \
      std::_Exit(1);                                                     \
    }                                                                    \
  } while (false)

/** An array in device memory, with a copy on the host. */
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::vector<T> values) : values_(std::move(values)) {
    CHECK_CUDA(cudaMalloc(reinterpret_cast<void**>(&device_), bytes()));
    CHECK_CUDA(cudaMemcpyAsync(device_, values_.data(), bytes(), cudaMemcpyHostToDevice, nullptr));
    CHECK_CUDA(cudaStreamSynchronize(nullptr));
  }
  explicit DeviceArray(size_t count) : DeviceArray(std::vector<T>(count)) {}
  ~DeviceArray() { cudaFree(device_); }
  DeviceArray(const DeviceArray&) = delete;

  T* device() { return device_; }
  /** What the device holds now. */
  const std::vector<T>& read() {
    CHECK_CUDA(cudaMemcpyAsync(values_.data(), device_, bytes(), cudaMemcpyDeviceToHost, nullptr));
    CHECK_CUDA(cudaStreamSynchronize(nullptr));
    return values_;
  }

 private:
  size_t bytes() const { return values_.size() * sizeof(T); }
  std::vector<T> values_;
  T* device_ = nullptr;
};

template <class Params>
cudaError_t start(void (*kernel)(Params), dim3 grid, dim3 block, size_t shared_bytes,
                  Params params) {
  void* arguments[] = {&params};
  return cudaLaunchKernel(kernel, grid, block, arguments, shared_bytes, nullptr);
}

/** Runs a kernel to its end. */
template <class Params>
void run(void (*kernel)(Params), dim3 grid, dim3 block, size_t shared_bytes, Params params) {
  CHECK_CUDA(start(kernel, grid, block, shared_bytes, params));
  CHECK_CUDA(cudaStreamSynchronize(nullptr));
}
