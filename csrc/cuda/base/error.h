// CUDA status codes as fa::Error.
#pragma once

#include <cuda_runtime.h>

namespace fa::cuda {

/**
 * Throws unless `status` is success: Error{kOutOfMemory} when the device has no room, else
 * Error{kCuda} whose message has the call, the code and CUDA's own words. `call` names the function
 * that returned it.
 */
void check(cudaError_t status, const char* call);

}  // namespace fa::cuda

/**
 * Calls a function of the CUDA runtime and checks what it returns: FA_CUDA(cudaEventRecord, event,
 * stream).
 */
#define FA_CUDA(function, ...) ::fa::cuda::check(function(__VA_ARGS__), #function)
