// Scales of keys and values in 8 bits, beside a warp's tiles in shared memory: those of keys
// multiply scores, those of values weights.
#pragma once

#include "cuda/device/packed_rows.h"
#include "cuda/device/softmax.h"
#include "cuda/sm80/decode_copies.h"

namespace fa::cuda::sm80 {

constexpr int kScaleBytes = sizeof(float);

/** Where a key's, or a row's, lies. */
PTX_FN uint32_t scale_at(uint32_t scales, int index) {
  return scales + static_cast<uint32_t>(index * kScaleBytes);
}

/** The power of two that a normal x > 0 begins with. */
PTX_FN float power_of_two(float x) {
  return ptx::float_from_bits(ptx::float_bits(x) & 0x7f800000u);
}
/** 2^exponent / x of a power of two x; all of them normal. */
PTX_FN float divide_power(int exponent, float x) {
  return ptx::float_from_bits(static_cast<uint32_t>((254 + exponent) << 23) - ptx::float_bits(x));
}

/**
 * Copies the scales of a warp's tile, one by each lane; those from `rows` on become zeros.
 * Asynchronous.
 */
PTX_FN void load_scales(uint32_t to, const RowScales& scales, const KeyRow& at, int kv_head,
                        int rows) {
  const int lane = this_thread() % 32;
  ptx::cp_async4(scale_at(to, lane),
                 scales.data + at.first * scales.page + at.row * scales.row + kv_head * scales.head,
                 lane < rows);
}

/** What the lanes of a row multiply its columns of accumulator tile n by. */
PTX_FN float2 scales_of_tile(uint32_t scales, int n) {
  return ptx::lds<float2>(scale_at(scales, 8 * n + 2 * LanePosition().t));
}

/** A scale that is not finite becomes NaN, for all that comes of its row to be. */
PTX_FN float finite_or_nan(float scale) { return fmaf(scale, 0.f, scale); }

/** Scales of keys times that of all scores. Each lane sees to the one that it has copied. */
PTX_FN void prepare_key_scales(uint32_t scales, float of_all) {
  const uint32_t own = scale_at(scales, this_thread() % 32);
  ptx::sts<float>(own, finite_or_nan(ptx::lds<float>(own)) * of_all);
}

/**
 * Likewise those of values. In a tile with hidden pairs such a value gets weight 0, and is left to
 * restore_poison: true if this lane's is one.
 */
PTX_FN bool prepare_value_scales(uint32_t scales, bool partial) {
  const uint32_t own = scale_at(scales, this_thread() % 32);
  const float scale = finite_or_nan(ptx::lds<float>(own));
  const bool poisoned = partial && scale != scale;
  ptx::sts<float>(own, poisoned ? 0.f : scale);
  return poisoned;
}

/** Products with codes become scores, but for the factor of their row. */
template <int kKeyTiles>
PTX_FN void scale_products(float (&s)[1][kKeyTiles][4], uint32_t scales) {
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n) {
    const float2 scale = scales_of_tile(scales, n);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      s[0][n][2 * h] *= scale.x;
      s[0][n][2 * h + 1] *= scale.y;
    }
  }
}

/** That factor, a power of two: it is exact wherever it comes in. */
template <int kKeyTiles>
PTX_FN void multiply_rows(float (&s)[1][kKeyTiles][4], const float (&factor)[2]) {
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
    for (int c = 0; c < 4; ++c) s[0][n][c] *= factor[c / 2];
  }
}

/**
 * Weights times the scales of their values, as float16 operands. float16 does not reach as far as
 * scales do: a row's are in units of a power of two near the greatest of them so far, and its
 * outputs with them. Greatest operands are 2^14 or more, below 2^15.
 */
struct WeightUnits {
  static constexpr int kGreatest = 14;
  static constexpr float kOperand = 1.f / (1 << kGreatest);
  float unit[2] = {0x1p-100f, 0x1p-100f};

  /** alpha: what outputs are to be multiplied by. True when that is not 1, for the whole warp. */
  template <int kKeyTiles>
  PTX_FN bool scale_weights(float (&weights)[1][kKeyTiles][4], uint32_t scales, float (&alpha)[2]) {
    float top[2] = {unit[0], unit[1]};
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
      const float2 scale = scales_of_tile(scales, n);
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float &x = weights[0][n][2 * h], &y = weights[0][n][2 * h + 1];
        x *= scale.x;
        y *= scale.y;
        top[h] = fmaxf(top[h], fmaxf(fabsf(x), fabsf(y)));
      }
    }
    float factor[2];
    bool unchanged = true;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      top[h] = power_of_two(quad_max(top[h]));
      factor[h] = divide_power(kGreatest, top[h]);
      alpha[h] *= unit[h] * factor[h] * kOperand;
      unchanged &= top[h] == unit[h];
      unit[h] = top[h];
    }
    multiply_rows(weights, factor);
    return !ptx::vote_all(unchanged);
  }

  template <int kColumnTiles>
  PTX_FN void finish(float (&o)[1][kColumnTiles][4]) const {
    OnlineSoftmax<1>::rescale(o, {unit[0] * kOperand, unit[1] * kOperand});
  }
};

}  // namespace fa::cuda::sm80
