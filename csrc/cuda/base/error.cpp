#include "cuda/base/error.h"

#include <string>

#include "core/error.h"

namespace fa::cuda {

void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // the next call starts without it, unless the error is one that stays
  const std::string name = cudaGetErrorName(status);
  const std::string text = std::string(call) + " failed with " + name + " (" +
                           std::to_string(static_cast<int>(status)) +
                           "): " + cudaGetErrorString(status);
  throw Error(status == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kCuda, "",
              text);
}

}  // namespace fa::cuda
