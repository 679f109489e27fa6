// The launch of the backward kernels of sm_90a.
#pragma once

#include "core/attention.h"
#include "cuda/base/queue.h"
#include "cuda/base/scratch.h"
#include "cuda/device/backward_params.h"
#include "cuda/sm90/host/backward_plan.h"

namespace fa::cuda::sm90 {

/** Enqueues the kernels that compute dq, dk and dv; `call` has the row states. Throws fa::Error. */
void launch_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                     const BackwardLayout& layout, bool featured, const BackwardParams& call,
                     Scratch& scratch, const Queue& queue);

}  // namespace fa::cuda::sm90
