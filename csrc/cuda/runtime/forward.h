// Attention, forward, on one device.
#pragma once

#include <functional>
#include <memory>

#include "core/attention.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/** Enqueues a copy of the host's bytes to new memory of the device, freed behind its last use. */
using Upload = std::function<std::shared_ptr<const void>(const void* host, size_t bytes)>;

/**
 * Enqueues the call. `problem` is valid, contents included; all its views are device memory, and of
 * a ragged one the sequences are given. Throws fa::Error.
 */
void attention_forward(const AttentionProblem& problem, const Queue& queue, const Upload& upload);

}  // namespace fa::cuda
