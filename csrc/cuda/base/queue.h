// Where work of one call goes: what its code needs to know about the device, and the CUDA stream
// that orders it.
#pragma once

#include <cuda_runtime.h>

namespace fa::cuda {

class Branches;

struct Queue {
  const cudaDeviceProp& properties;
  cudaStream_t stream;
  /**
   * On the device, 0 between launches: counts the tiles that blocks of a running kernel have taken
   * (sm90/forward_work.h). Null where no kernel counts.
   */
  int* drawn = nullptr;
  /** For launches that need not follow each other (runtime/branches.h). Null: they do. */
  Branches* branches = nullptr;
};

}  // namespace fa::cuda
