// Tensor core operands of a warp, and their product. A step is 32 bytes of the inner dimension: 16
// elements of float16 or bfloat16 (one m16n8k16), or 8 of float32.
//
// float32 operands are split as x = high + low, both tf32 (11 significant bits each), and
//   a b ~ a.high b.high + a.high b.low + a.low b.high        (3xTF32)
// leaves out only a.low b.low: a relative error of 2^-22, where float32 itself has 2^-24. Steps are
// added up by the float32 units: tensor cores cut off what does not fit their accumulator, where
// those round (Ootomo and Yokota 2022, section 3).
#pragma once

#include "cuda/ptx/ptx.h"

namespace fa::cuda {

template <class T>
struct FragmentA {  // 16 rows x one step
  uint32_t value[4];
};
template <>
struct FragmentA<float> {
  uint32_t high[4], low[4];
};

template <class T>
struct FragmentB {  // one step x 8 columns
  uint32_t value[2];
};
template <>
struct FragmentB<float> {
  uint32_t high[2], low[2];
};

PTX_FN void split_tf32(float value, uint32_t& high, uint32_t& low) {
  high = ptx::to_tf32(value);
  low = ptx::to_tf32(value - ptx::float_from_bits(high));
}

/** From registers as ldmatrix, or a load of two rows of float32, leaves them. */
template <class T>
PTX_FN FragmentA<T> fragment_a(const uint32_t (&raw)[4]) {
  FragmentA<T> a;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4)
      split_tf32(ptx::float_from_bits(raw[i]), a.high[i], a.low[i]);
    else
      a.value[i] = raw[i];
  }
  return a;
}

template <class T>
PTX_FN FragmentB<T> fragment_b(uint32_t raw0, uint32_t raw1) {
  FragmentB<T> b;
  if constexpr (sizeof(T) == 4) {
    split_tf32(ptx::float_from_bits(raw0), b.high[0], b.low[0]);
    split_tf32(ptx::float_from_bits(raw1), b.high[1], b.low[1]);
  } else {
    b.value[0] = raw0;
    b.value[1] = raw1;
  }
  return b;
}

/** d += a b. */
template <class T>
PTX_FN void multiply_add(float (&d)[4], const FragmentA<T>& a, const FragmentB<T>& b) {
  if constexpr (sizeof(T) == 4) {
    float step[4] = {};
    ptx::mma_1688_tf32(step, a.low, b.high[0], b.high[1]);
    ptx::mma_1688_tf32(step, a.high, b.low[0], b.low[1]);
    ptx::mma_1688_tf32(step, a.high, b.high[0], b.high[1]);
#pragma unroll
    for (int i = 0; i < 4; ++i) d[i] += step[i];
  } else {
    ptx::mma_16816<T>(d, a.value, b.value[0], b.value[1]);
  }
}

/** Accumulator tiles (8 keys each) that a step of P covers. */
template <class T>
constexpr int kStepTiles = sizeof(T) == 4 ? 1 : 2;

/**
 * P on its way from accumulators to the A operand, whose layout is the accumulators': 16-bit
 * weights are packed at once, to free half of the registers. In float32 a step's keys come in the
 * order 0 2 4 6 1 3 5 7, which the B operand follows.
 */
template <class T, int kRowTiles, int kKeyTiles>
struct Weights {
  uint32_t word[kRowTiles][kKeyTiles][sizeof(T) == 4 ? 4 : 2];

  PTX_FN explicit Weights(const float (&s)[kRowTiles][kKeyTiles][4]) {
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
        if constexpr (sizeof(T) == 4) {
          word[m][n][0] = ptx::float_bits(s[m][n][0]);
          word[m][n][1] = ptx::float_bits(s[m][n][2]);
          word[m][n][2] = ptx::float_bits(s[m][n][1]);
          word[m][n][3] = ptx::float_bits(s[m][n][3]);
        } else {
          word[m][n][0] = ptx::pack2<T>(s[m][n][0], s[m][n][1]);
          word[m][n][1] = ptx::pack2<T>(s[m][n][2], s[m][n][3]);
        }
      }
    }
  }

  /** Rows of tile m, the step that begins with key tile n. */
  PTX_FN FragmentA<T> step(int m, int n) const {
    if constexpr (sizeof(T) == 4)
      return fragment_a<T>(word[m][n]);
    else
      return {{word[m][n][0], word[m][n][1], word[m][n + 1][0], word[m][n + 1][1]}};
  }
};

}  // namespace fa::cuda
