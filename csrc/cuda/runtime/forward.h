// Attention, forward, on one device.
#pragma once

#include <functional>
#include <memory>

#include "core/attention.h"
#include "cuda/base/queue.h"
#include "cuda/runtime/forward_plan.h"

namespace fa::cuda {

/** Enqueues a copy of the host's bytes to new memory of the device, freed behind its last use. */
using Upload = std::function<std::shared_ptr<const void>(const void* host, size_t bytes)>;

/**
 * Enqueues the kernels of a plan. Of a ragged call `list` is its work on the device; `partials`
 * are plan.scratch_bytes.
 */
void enqueue_forward(const AttentionProblem& problem, const ForwardPlan& plan, const char* list,
                     void* partials, const Queue& queue);

/**
 * Enqueues the call. `problem` is valid, contents included; all its views are device memory, and of
 * a ragged one the sequences are given. Throws fa::Error.
 */
void attention_forward(const AttentionProblem& problem, const Queue& queue, const Upload& upload);

}  // namespace fa::cuda
