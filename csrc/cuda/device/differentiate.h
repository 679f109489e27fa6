// From scores to P and dS, in accumulators (lane_pairs.h).
#pragma once

#include "cuda/device/pair_options.h"

namespace fa::cuda {

/**
 * Turns scores S into P (what dropout leaves of it) and dP into dS. Hidden pairs get zeros,
 * whatever dP is there. kPartial, in plain kernels: there are some; featured ones ask the visit.
 * `kept`: what dropout keeps, if there is any.
 */
template <class Traits, bool kPartial>
PTX_FN void differentiate(const BackwardParams& p, const BackwardBlock<Traits>& block,
                          const InnerVisit& at, const ScorePart& part, uint32_t states,
                          ScoreBits<Traits> kept, typename Traits::Scores& s,
                          typename Traits::Scores& dp) {
  using Pairs = LanePairs<Traits>;
  const AttentionParams& a = p.attention;
  const Pairs pairs(block, at, part);
  const auto state_of = [&](int q) {
    return ptx::lds<RowState>(
        states + static_cast<uint32_t>((pairs.part_query + Pairs::query(q)) * kRowStateBytes));
  };
  const bool drops = Traits::kFeatured && a.dropout.enabled;
  if (drops) drop_out<Traits>(a, kept, dp);
#pragma unroll
  for (int q = 0; q < Pairs::kQueries; ++q) {
    const float delta = state_of(q).delta;
#pragma unroll
    for (int k = 0; k < Pairs::kKeys; ++k) Pairs::at(dp, q, k) -= delta;
  }
  if constexpr (Traits::kFeatured) apply_options<Traits>(a, block, at, pairs, s, dp);

  const float scale = Traits::kFeatured ? kLog2E : a.scale_log2;
#pragma unroll
  for (int q = 0; q < Pairs::kQueries; ++q) {
    const float lse = state_of(q).lse;
    const int i = pairs.query0 + Pairs::query(q);
    const int begin = block.window.begin(i), end = block.window.end(i);
#pragma unroll
    for (int k = 0; k < Pairs::kKeys; ++k) {
      const int j = pairs.key0 + Pairs::key(k);
      float& x = Pairs::at(s, q, k);
      float& y = Pairs::at(dp, q, k);
      bool visible = true;
      if constexpr (Traits::kFeatured)
        visible = x != -kInfinity && lse != kInfinity;
      else if constexpr (kPartial)
        visible = j >= begin && j < end;
      const float weight = ptx::exp2_approx(x * scale - lse);
      x = visible ? weight : 0.f;
      y = visible ? weight * y : 0.f;
    }
  }
  if (drops) drop_out<Traits>(a, kept, s);
}

}  // namespace fa::cuda
