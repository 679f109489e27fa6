// Zeros and normal random numbers.
#pragma once

#include <cstdint>

#include "core/view.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/** Enqueues zeros for a contiguous view. */
void fill_zero(const View& target, const Queue& queue);

/** Enqueues the values of csrc/cpu/elementwise.cpp for a contiguous view of floating dtype. */
void fill_normal(const View& target, uint64_t seed, const Queue& queue);

/**
 * What the runtime finds of this build's machine code for the current device: success when it can
 * run there.
 */
cudaError_t find_kernels();

}  // namespace fa::cuda
