// The launch of the forward kernels of sm_90a. For .cu files, like tensor_map.h.
#pragma once

#include "core/attention.h"
#include "cuda/runtime/forward_plan.h"
#include "cuda/sm90/forward_params.h"

namespace fa::cuda {

/**
 * The parameters of `problem`, of a launch with tiles; scales are left to the caller. Throws
 * fa::Error.
 */
sm90::ForwardParams sm90_forward_params(const AttentionProblem& problem,
                                        const ForwardLaunch& launch);

}  // namespace fa::cuda
