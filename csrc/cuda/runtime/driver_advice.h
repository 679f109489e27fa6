// Why a device cannot be used, in words that its owner can act on.
#pragma once

#include <cuda_runtime.h>

#include <string>

namespace fa::cuda {

/** Versions of CUDA as it writes them, 12080 for 12.8. */
struct CudaVersions {
  int driver;  // that the installed driver supports; 0: none is installed
  int built;   // of the toolkit that made this binary

  /** What is here. */
  static CudaVersions here();
};

/** Why the driver has shown no device. */
std::string why_no_device(cudaError_t status, const CudaVersions& versions);

/** Why a device of `capability`, "sm_90", runs no kernel of this binary. */
std::string why_no_kernel(cudaError_t status, const CudaVersions& versions,
                          const std::string& capability);

}  // namespace fa::cuda
