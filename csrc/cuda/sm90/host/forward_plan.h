// Which calls the forward kernels of sm_90a take, and how they are cut up.
#pragma once

#include <cuda_runtime.h>

#include "core/attention.h"
#include "cuda/base/forward_launch.h"

namespace fa::cuda::sm90 {

/** Sequences of up to so many packed rows are left to the kernels of sm_80. */
constexpr int kFewRows = 64;

/** Whether the kernels take sequences of many rows of `problem`, on a GPU that runs them. */
bool takes_forward(const AttentionProblem& problem);

/** The launch for the sequences of `queries` queries; also of float8, which takes_forward() not. */
ForwardLaunch plan_forward(const AttentionProblem& problem, const cudaDeviceProp& properties,
                           QueryCounts queries);

}  // namespace fa::cuda::sm90
