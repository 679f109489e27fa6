// Attention, backward, on one device.
#pragma once

#include "core/attention.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/**
 * Enqueues the call. `problem` is valid, contents included, with out and lse of the forward pass;
 * all views are device memory. Throws fa::Error.
 */
void attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                        const Queue& queue);

}  // namespace fa::cuda
