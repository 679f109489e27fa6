// A row's result, once all its keys are in.
#pragma once

#include "cuda/device/scores.h"

namespace fa::cuda {

struct RowResult {
  float factor;  // of the accumulators
  float lse;     // natural logarithm
};

/**
 * From the row's greatest score (plain: in base 2) and the sum of its weights; the sink joins both
 * where `with_sink` says so.
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
  if (sum == 0) return {0.f, -kInfinity};
  return {factor * ptx::rcp_approx(sum),
          fmaf(top, kFeatured ? 1.f : kLn2, ptx::log2_approx(sum) * kLn2)};
}

}  // namespace fa::cuda
