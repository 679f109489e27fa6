// Rows whose lse is so large that its rounding shows in P = exp(s - lse). Half a unit in the last
// place of an lse of 1e6 is 0.03, a factor of 1.03 in every probability of the row; at -1e9, which
// a mask may add to all scores of a row, nothing is left of P. The lse that the forward pass saved
// cannot tell more. So these rows, which are few, get their maximum and sum again, and with them
// their gradients: P = exp(s - maximum) / sum, where the difference is small or P is 0.
//
// The maximum must come from the same arithmetic as the scores, or the difference of the two is an
// error of the same size. The tensor core's sums have no order that one could repeat, so scores are
// dot products in float32 here, and the kernels on the tensor core take these rows for empty ones.
#pragma once

#include "core/dtype.h"
#include "cuda/base/queue.h"
#include "cuda/device/backward_params.h"

namespace fa::cuda {

/**
 * The |lse| from which on a row of this dtype is extreme. Up to there lse, rounded and once more in
 * base 2, is off by 2 * 2^-24 |lse| at most: 8e-6 of P in float32, and less of P in 16 bits than
 * its own rounding.
 */
constexpr float least_extreme_lse(DType dtype) { return dtype == DType::kFloat32 ? 64.f : 512.f; }

/**
 * Enqueues the gradients of the extreme rows, once those of all others are there: sets their dq,
 * adds to dk and dv, fills params.extreme.rows. Sums in a fixed order.
 */
void differentiate_extreme_rows(const BackwardParams& params, const Queue& queue);

}  // namespace fa::cuda
