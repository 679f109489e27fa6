// What the backward pass takes from out, lse and dOut before it begins.
#pragma once

#include "core/dtype.h"
#include "cuda/base/queue.h"
#include "cuda/device/backward_params.h"

namespace fa::cuda {

/** Enqueues params.states, lse and delta of every query row, and params.extreme.found. */
void compute_row_states(const BackwardParams& params, DType dtype, const Queue& queue);

/**
 * Enqueues params.dsinks: a sink is a key whose value is zero, so d(sink) = -sum over rows of
 * P(sink) delta. Sums in a fixed order. After differentiate_extreme_rows.
 */
void compute_sink_gradients(const BackwardParams& params, const Queue& queue);

}  // namespace fa::cuda
