// Rows of a plain kernel whose scores leave base 2's range (kBase2Limit). Such a row shows when it
// is complete, by its greatest score, and is done again here in natural units, from global memory,
// by its warp, key by key.
#pragma once

#include "cuda/device/load_tile.h"
#include "cuda/device/row_result.h"

namespace fa::cuda {

/** Whether a plain kernel's row, of this greatest score, is to be done again. */
PTX_FN bool left_base_2(float top) { return !(fabsf(top) < kBase2Limit); }

/** Whether query i sees one of the keys [first, last). */
PTX_FN bool sees_any(const Window& window, int i, int first, int last) {
  return clamp(window.begin(i), first, last) < clamp(window.end(i), first, last);
}

/** Of a ballot in which lane (g, t) votes for row 8t + g: whether `line` has its vote. */
PTX_FN bool voted_for(uint32_t ballot, int line) {
  return (ballot >> (line % 8 * 4 + line / 8) & 1u) != 0;
}

/** Over the head dim, the same in every lane. */
template <class T>
PTX_FN float row_product(const T* q, int64_t q_dim, const T* k, int64_t k_dim, int head_dim) {
  float sum = 0;
#pragma unroll 1
  for (int d = this_thread() % 32; d < head_dim; d += 32)
    sum += ptx::to_float(ptx::ldg(q + d * q_dim)) * ptx::to_float(ptx::ldg(k + d * k_dim));
#pragma unroll
  for (int step = 16; step > 0; step /= 2) sum += ptx::shfl_xor(sum, step);
  return sum;
}

/** Online softmax of one row by one warp: a lane has the columns lane, lane + 32, ... */
template <int kWidth>
struct NaturalRow {
  static constexpr int kColumns = (kWidth + 31) / 32;
  float top = -kInfinity, sum = 0;
  float out[kColumns] = {};

  /** score(key) is the same in every lane, value(key, column) that of the lane's columns. */
  template <class Score, class Value>
  PTX_FN void attend(int begin, int end, int columns, Score score, Value value) {
#pragma unroll 1
    for (int key = begin; key < end && sum == sum; ++key) {  // NaN stays
      const float s = score(key);
      if (s == -kInfinity) continue;
      const float before = top;
      top = fmaxf(before, s);
      const float alpha = ptx::exp2_approx((before - top) * kLog2E);
      const float weight = ptx::exp2_approx((s - top) * kLog2E);
      sum = sum * alpha + weight;
      for_each_column(columns, [&](int c, int column) {
        out[c] = out[c] * alpha + weight * value(key, column);
      });
    }
    const float factor = sum == 0 ? 0.f : 1 / sum;
    for_each_column(columns, [&](int c, int) { out[c] *= factor; });
  }

  template <class F>
  PTX_FN void for_each_column(int columns, F f) const {
#pragma unroll
    for (int c = 0; c < kColumns; ++c) {
      const int column = this_thread() % 32 + 32 * c;
      if (column < columns) f(c, column);
    }
  }
};

}  // namespace fa::cuda
