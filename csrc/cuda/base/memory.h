// Device memory in the order of a stream (cudaMallocAsync) where the device has memory pools, and
// plain cudaMalloc where it has none.
#pragma once

#include <cstddef>

#include "cuda/base/queue.h"

namespace fa::cuda {

/**
 * Uninitialised device memory, aligned to 256 bytes, for work enqueued on the queue from now on.
 * Null for 0 bytes. Throws Error{kOutOfMemory}, after which the device works as before.
 */
void* allocate(size_t bytes, const Queue& queue);

/** Gives memory back once the work enqueued so far has run. */
void release(void* memory, const Queue& queue) noexcept;

}  // namespace fa::cuda
