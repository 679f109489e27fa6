// Which kernels compute the gradients of a call.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "core/attention.h"
#include "core/plan.h"
#include "cuda/sm90/host/backward_plan.h"

namespace fa::cuda {

struct BackwardPlan {
  bool aligned;   // all rows are multiples of 16 bytes at multiples of 16 bytes
  bool featured;  // the kernels with every option
  bool sm90;      // the kernels of sm_90a, else those of sm_80

  sm90::BackwardLayout layout;  // of the former

  std::string kernel() const;  // "sm90.backward"

  /** Floats of a row of the sum of dQ, of sm_80. */
  static int64_t sum_pitch(const AttentionProblem& problem) {
    return (problem.head_dim() + 7) / 8 * 8;
  }
  /** Row states, and the sum of dQ; without a fixed order of additions. */
  int64_t scratch_bytes(const AttentionProblem& problem) const;
};

/** Looks at shapes, strides and options alone, never at memory. */
BackwardPlan plan_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                           const cudaDeviceProp& properties);

/**
 * Kernel, tiles and cost of the gradients, as plan_attention (plan.h) tells those of the forward
 * pass. Bytes and FLOPs are counted for the kernels of sm_90a; zeroing the sum of dQ is not among
 * them.
 */
AttentionPlan plan_gradients(const AttentionProblem& problem, const AttentionGradients& gradients,
                             const cudaDeviceProp& properties);

}  // namespace fa::cuda
