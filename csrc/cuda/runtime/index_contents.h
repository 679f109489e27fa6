// The check of index tensors that the host has no copy of.
#pragma once

#include "core/attention.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/**
 * Fetches the index tensors of `problem`, waiting for the device, and throws as validate_contents
 * does.
 */
void validate_contents_on_device(const AttentionProblem& problem, const Queue& queue);

}  // namespace fa::cuda
