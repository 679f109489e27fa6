// A row's result, once all its keys are in.
#pragma once

#include "cuda/device/scores.h"

namespace fa::cuda {

/** A row's softmax in natural units, and what its accumulators are to be multiplied by. */
struct RowResult {
  float top, sum;  // the sum is relative to the greatest score; -infinity: the row saw nothing
  float factor;
};

/**
 * From the row's greatest score in its kernel's units and the sum of its weights; the sink joins
 * both where `with_sink` says so.
 */
template <bool kFeatured>
PTX_FN RowResult row_result(const AttentionParams& p, int head, float top, float sum,
                            bool with_sink) {
  float factor = 1;
  if constexpr (kFeatured) {
    if (p.sinks != nullptr && with_sink) {
      const float sink = load_float(p.sinks, p.sinks_dtype, head * p.sinks_head);
      if (sink != -kInfinity) {
        const float before = top;
        top = fmaxf(before, sink);
        factor = ptx::exp2_approx((before - top) * kLog2E);
        sum = sum * factor + ptx::exp2_approx((sink - top) * kLog2E);
      }
    }
    if (p.dropout.enabled) factor *= p.dropout.keep_scale;
  }
  if (sum == 0) return {-kInfinity, 0, 0};
  factor *= ptx::rcp_approx(sum);
  if constexpr (!kFeatured) {
    const float base_2 = top;
    top = base_2 * kLn2;
    sum *= ptx::exp2_approx(fmaf(-top, kLog2E, base_2));  // what rounding took from the score
  }
  return {top, sum, factor};
}

/** The natural logarithm of a row's denominator. */
PTX_FN float row_lse(float top, float sum) {
  return sum == 0 ? -kInfinity : fmaf(ptx::log2_approx(sum), kLn2, top);
}

}  // namespace fa::cuda
