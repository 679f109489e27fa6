// Attention, forward, on one device.
#pragma once

#include "core/attention.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/**
 * Enqueues the call. `problem` is valid, contents included; all its views are device memory. Throws
 * fa::Error.
 */
void attention_forward(const AttentionProblem& problem, const Queue& queue);

}  // namespace fa::cuda
