// Pages in 8 bits: codes go into the products, and the scales of their rows come in beside them.
// That of a key multiplies its score, that of a value the weight.
#pragma once

#include "cuda/device/load_tile.h"
#include "cuda/device/poison.h"
#include "cuda/device/softmax.h"

namespace fa::cuda {

/** The scales of one head's keys or values, of a sequence. */
struct KeyScales {
  const AttentionParams& p;
  const RowScales& scales;
  int seqlen_k, batch, kv_head;

  /** Of key 8n + 2t + c of a tile, as the lanes of a row have them; 0 of one that is not there. */
  PTX_FN float of_lane(int key0, int n, int c) const {
    const int j = key0 + 8 * n + this_thread() % 4 * 2 + c;
    if (j >= seqlen_k) return 0;
    return row_scale(scales, KeyPlace(p.pages, batch, j), kv_head);
  }
};

/** Scores of products with codes. */
template <int kRowTiles, int kKeyTiles>
PTX_FN void scale_scores(const KeyScales& scales, int key0, float (&s)[kRowTiles][kKeyTiles][4]) {
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const float scale = scales.of_lane(key0, n, c);
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) {
        s[m][n][c] *= scale;
        s[m][n][2 + c] *= scale;
      }
    }
  }
}

/**
 * Weights times the scales of their values, on their way into products of few bits: float16 does
 * not reach as far as scales do. So a row's weights are in units of the largest scale that it has
 * seen, and its outputs with them.
 */
template <int kRowTiles>
struct ValueUnits {
  static constexpr int kRows = 2 * kRowTiles;
  float unit[kRows] = {};  // 0: no value seen

  template <int kKeyTiles, int kColumnTiles>
  PTX_FN void scale_weights(const KeyScales& scales, int key0,
                            float (&weights)[kRowTiles][kKeyTiles][4],
                            float (&o)[kRowTiles][kColumnTiles][4]) {
    // Values without a finite one are NaN themselves: see ConvertedRows.
    const auto finite_scale = [&](int n, int c) {
      const float scale = scales.of_lane(key0, n, c);
      return not_finite(scale) ? 0.f : scale;
    };
    float top[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) top[r] = unit[r];
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float scale = finite_scale(n, c);
#pragma unroll
        for (int r = 0; r < kRows; ++r)
          if (weights[r / 2][n][r % 2 * 2 + c] != 0) top[r] = fmaxf(top[r], fabsf(scale));
      }
    }
    float before[kRows], inverse[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      top[r] = quad_max(top[r]);
      inverse[r] = top[r] > 0 ? 1 / top[r] : 0.f;
      before[r] = unit[r] * inverse[r];
      unit[r] = top[r];
    }
    OnlineSoftmax<kRowTiles>::rescale(o, before);
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const float scale = finite_scale(n, c);
#pragma unroll
        for (int r = 0; r < kRows; ++r) weights[r / 2][n][r % 2 * 2 + c] *= scale * inverse[r];
      }
    }
  }

  template <int kColumnTiles>
  PTX_FN void finish(float (&o)[kRowTiles][kColumnTiles][4]) const {
    OnlineSoftmax<kRowTiles>::rescale(o, unit);
  }
};

}  // namespace fa::cuda
