// A row's result, once all its keys are in.
#pragma once

#include "cuda/device/scores.h"

namespace fa::cuda {

/** A row's softmax in its kernel's units, and what its accumulators are to be multiplied by. */
struct RowResult {
  float top, sum;
  float factor;
};

/**
 * From the row's greatest score and the sum of its weights; the sink joins both where `with_sink`
 * says so.
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
  return {top, sum, sum == 0 ? 0.f : factor * ptx::rcp_approx(sum)};
}

/** The natural logarithm of a row's denominator. */
PTX_FN float row_lse(ScoreUnit unit, float top, float sum) {
  return sum == 0 ? -kInfinity : fmaf(top, unit.natural, ptx::log2_approx(sum) * kLn2);
}

}  // namespace fa::cuda
