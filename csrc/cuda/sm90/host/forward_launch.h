// The launch of the forward kernels of sm_90a. For .cu files, like tensor_map.h.
#pragma once

#include "core/attention.h"
#include "cuda/base/forward_launch.h"
#include "cuda/base/queue.h"
#include "cuda/sm90/forward_params.h"

namespace fa::cuda::sm90 {

/**
 * The parameters of `problem`, of a launch with tiles and one split; scales are left to the caller.
 * Throws fa::Error.
 */
ForwardParams forward_params(const AttentionProblem& problem, const ForwardLaunch& launch);

/** Enqueues a launch of plan_forward() (forward_plan.h). Throws fa::Error. */
void launch_forward(const AttentionProblem& problem, const ForwardLaunch& launch,
                    const SplitParams& splits, const Queue& queue);

}  // namespace fa::cuda::sm90
