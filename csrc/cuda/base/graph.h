// Work that was noted down once and is launched as a whole.
#pragma once

#include <functional>
#include <memory>
#include <type_traits>

#include "cuda/base/queue.h"

namespace fa::cuda {

/** Destroyed while it runs, it runs to its end. */
using GraphExec = std::shared_ptr<std::remove_pointer_t<cudaGraphExec_t>>;

/**
 * The graph of what `enqueue` gives to the queue it is called with, whose stream is nobody else's:
 * other threads take and free memory in the order of the usual one. Throws Error{kCuda}, also for
 * what cannot be noted down: to wait, to take memory, to copy from memory that is not pinned.
 */
GraphExec capture(const Queue& queue, const std::function<void(const Queue&)>& enqueue);

void launch(const GraphExec& graph, const Queue& queue);

}  // namespace fa::cuda
