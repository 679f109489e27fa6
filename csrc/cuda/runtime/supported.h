// What the CUDA kernels leave out.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "core/attention.h"

namespace fa::cuda {

/** Wider heads have one kernel, of the forward pass: docs/design/mla.md. */
constexpr int64_t kWidestHead = 256;

bool has_wide_heads(const AttentionProblem& problem);

/**
 * Throws fa::Error for a valid call that no kernel of the device can do: of wide heads what
 * docs/design/mla.md names, and of float8 tensors what docs/float8.md has in a table.
 */
void check_supported(const AttentionProblem& problem, const cudaDeviceProp& properties);

/** The same for gradients, which wide heads have none of. */
void check_gradients_supported(const AttentionProblem& problem, const cudaDeviceProp& properties);

/** Throws the fa::Error of a convolution of tensors on `device`: there is no kernel for one. */
[[noreturn]] void refuse_convolution(const std::string& device);

}  // namespace fa::cuda
