// What the CUDA kernels leave out.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "core/attention.h"

namespace fa::cuda {

constexpr int64_t kWidestHead = 256;

/**
 * Throws fa::Error for a valid call that no kernel of the device can do: head dims beyond
 * kWidestHead, and of float8 tensors what docs/float8.md has in a table.
 */
void check_supported(const AttentionProblem& problem, const cudaDeviceProp& properties);

/** Throws the fa::Error of a convolution of tensors on `device`: there is no kernel for one. */
[[noreturn]] void refuse_convolution(const std::string& device);

}  // namespace fa::cuda
