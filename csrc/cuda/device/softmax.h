// Online softmax in registers (Milakov and Gimelshein 2018; FlashAttention-2, Algorithm 1): every
// thread keeps the maximum and its share of the sum of the rows it owns.
#pragma once

#include <cmath>

#include "core/dtype.h"
#include "cuda/ptx/ptx.h"

namespace fa::cuda {

constexpr float kInfinity = __builtin_huge_valf();

/**
 * Plain kernels keep scores in base 2. A row's reference is rounded, and what that takes away is a
 * factor of all its weights: of the sum, and of the weights before they are rounded for P V. Up to
 * here it lies within 2^(2^-12) of 1, closer than half a step of float16 beside 1, so that the
 * weight of a row's greatest score is rounded to 1. Rows whose maximum lies beyond are done again
 * (natural_row.h).
 */
constexpr float kBase2Limit = 0x1p13f;

/**
 * What maxima begin with: finite, for differences never to be NaN. No natural score is less. In
 * base 2 the weights of lesser scores are 0, as they are next to any score that is not extreme.
 */
template <bool kFeatured>
constexpr float kLeastMaximum = kFeatured ? -kLargestFinite : -kBase2Limit;

/** Over the four lanes that share a row. */
PTX_FN float quad_max(float x) {
  x = fmaxf(x, ptx::shfl_xor(x, 1));
  return fmaxf(x, ptx::shfl_xor(x, 2));
}
PTX_FN float quad_sum(float x) {
  x += ptx::shfl_xor(x, 1);
  return x + ptx::shfl_xor(x, 2);
}

/** Rows of kRowTiles accumulator tiles: row 2m + h is row g + 8h of tile m. */
template <int kRowTiles>
struct OnlineSoftmax {
  static constexpr int kRows = 2 * kRowTiles;
  float maximum[kRows];  // of the scores, scaled
  float sum[kRows];      // of this thread's columns alone

  PTX_FN explicit OnlineSoftmax(float least_maximum) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      maximum[r] = least_maximum;
      sum[r] = 0;
    }
  }

  /**
   * Turns scores into 2^lift * exp2(to_base_2 * (scale * s - maximum)) with scale > 0, and brings
   * the sums to the new maximum; `alpha` is what accumulators are to be multiplied by. One of the
   * factors is 1: products go into one multiply-add with scale = softmax scale * log2(e); scores
   * that may be large, with to_base_2 = log2(e), lose nothing by the difference. A score of
   * -infinity is a hidden pair: exactly 0. False when all of alpha is 1, for the whole warp.
   */
  template <int kKeyTiles>
  PTX_FN bool exponentiate(float (&s)[kRowTiles][kKeyTiles][4], float (&alpha)[kRows],
                           const float (&scale)[kRows], float to_base_2, float lift = 0,
                           bool upper_rows = true) {
    bool unchanged = true;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int m = r / 2, h = 2 * (r % 2);
      if (h > 0 && !upper_rows) {
        alpha[r] = 1;
        continue;
      }
      float top = -kInfinity;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) top = fmaxf(s[m][n][h], fmaxf(s[m][n][h + 1], top));
      top = fmaxf(maximum[r], quad_max(top) * scale[r]);
      // Weights are relative to this as it is rounded, and so is alpha.
      const float minus_reference = lift - top;
      alpha[r] = ptx::exp2_approx((maximum[r] - lift + minus_reference) * to_base_2);
      unchanged &= top == maximum[r];
      maximum[r] = top;
      float total = 0;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (int c = h; c < h + 2; ++c) {
          s[m][n][c] = ptx::exp2_approx(fmaf(s[m][n][c], scale[r], minus_reference) * to_base_2);
          total += s[m][n][c];
        }
      }
      sum[r] = sum[r] * alpha[r] + total;
    }
    return !ptx::vote_all(unchanged);
  }

  template <int kColumnTiles>
  static PTX_FN void rescale(float (&o)[kRowTiles][kColumnTiles][4], const float (&alpha)[kRows]) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int d = 0; d < kColumnTiles; ++d) {
#pragma unroll
        for (int c = 0; c < 4; ++c) o[m][d][c] *= alpha[2 * m + c / 2];
      }
    }
  }

  /** Both at once. After the first tiles maxima seldom move, and a rescale by 1 can be left out. */
  template <int kKeyTiles, int kColumnTiles>
  PTX_FN void update(float (&s)[kRowTiles][kKeyTiles][4], float (&o)[kRowTiles][kColumnTiles][4],
                     float scale, float to_base_2) {
    float alpha[kRows], scales[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) scales[r] = scale;
    if (exponentiate(s, alpha, scales, to_base_2)) rescale(o, alpha);
  }
};

}  // namespace fa::cuda
