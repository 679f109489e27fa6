// Online softmax of rows whose scores are dealt out among warps, and whose outputs are, in another
// way: what one warp has to know of another's goes through shared memory. Scores are natural ones.
#pragma once

#include "cuda/device/softmax.h"
#include "cuda/sm80/mla_traits.h"

namespace fa::cuda::sm80 {

/** Of the rows g and g + 8 of a warp's 16: all warps of these rows know the same maximum. */
template <class Traits>
struct WideSoftmax {
  float maximum[2] = {kLeastMaximum<true>, kLeastMaximum<true>};
  float sum[2] = {};  // of this thread's columns alone

  /** Where a group of keys leaves what it knows of a row. */
  static PTX_FN uint32_t state(uint32_t block, int group, int row) {
    return block + static_cast<uint32_t>(Traits::kRowStates +
                                         (group * Traits::kTile.rows + row) * Traits::kFloatBytes);
  }
  /** Where a row's accumulators are told what they are to be multiplied by. */
  static PTX_FN uint32_t factor(uint32_t block, int row) {
    return block + static_cast<uint32_t>(Traits::kFactors + row * Traits::kFloatBytes);
  }

  /** Tells the greatest scores of the warp's keys. */
  PTX_FN void tell(uint32_t block, const typename Traits::Scores& s) const {
    const LanePosition lane;
    const WarpPart<Traits> part;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float top = -kInfinity;
#pragma unroll
      for (int n = 0; n < Traits::kKeyTiles; ++n)
        top = fmaxf(s[0][n][2 * h], fmaxf(s[0][n][2 * h + 1], top));
      top = quad_max(top);
      if (lane.t == 0) ptx::sts<float>(state(block, part.group, part.row0 + 8 * h + lane.g), top);
    }
  }

  /**
   * With those of all warps told: turns scores into weights, and tells what outputs are to be
   * multiplied by.
   */
  PTX_FN void exponentiate(uint32_t block, typename Traits::Scores& s) {
    const LanePosition lane;
    const WarpPart<Traits> part;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int row = part.row0 + 8 * h + lane.g;
      float top = maximum[h];
#pragma unroll
      for (int group = 0; group < Traits::kGroups; ++group)
        top = fmaxf(top, ptx::lds<float>(state(block, group, row)));
      const float alpha = ptx::exp2_approx((maximum[h] - top) * kLog2E);
      maximum[h] = top;
      float total = 0;
#pragma unroll
      for (int n = 0; n < Traits::kKeyTiles; ++n) {
#pragma unroll
        for (int c = 2 * h; c < 2 * h + 2; ++c) {
          s[0][n][c] = ptx::exp2_approx((s[0][n][c] - top) * kLog2E);
          total += s[0][n][c];
        }
      }
      sum[h] = sum[h] * alpha + total;
      if (part.group == 0 && lane.t == 0) ptx::sts<float>(factor(block, row), alpha);
    }
  }

  /** Multiplies the outputs of all rows by their factors. */
  static PTX_FN void rescale(uint32_t block, typename Traits::Output& o) {
    const LanePosition lane;
#pragma unroll
    for (int m = 0; m < Traits::kOutputTiles; ++m) {
      float by[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) by[h] = ptx::lds<float>(factor(block, 16 * m + 8 * h + lane.g));
      // After the first tiles maxima seldom move.
      if (ptx::vote_all(by[0] == 1 && by[1] == 1)) continue;
#pragma unroll
      for (int d = 0; d < Traits::kColumnTiles; ++d) {
#pragma unroll
        for (int c = 0; c < 4; ++c) o[m][d][c] *= by[c / 2];
      }
    }
  }
};

}  // namespace fa::cuda::sm80
