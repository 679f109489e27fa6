// Where work of one call goes: what its code needs to know about the device, and the CUDA stream
// that orders it.
#pragma once

#include <cuda_runtime.h>

namespace fa::cuda {

struct Queue {
  const cudaDeviceProp& properties;
  cudaStream_t stream;
};

}  // namespace fa::cuda
