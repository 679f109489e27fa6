// Scales of keys and values in 8 bits, beside a warp's tiles in shared memory: those of keys
// multiply scores, those of values weights.
#pragma once

#include "cuda/device/codes.h"
#include "cuda/device/softmax.h"
#include "cuda/sm80/decode_copies.h"

namespace fa::cuda::sm80 {

constexpr int kScaleBytes = sizeof(float);

/** Where a key's, or a row's, lies. */
PTX_FN uint32_t scale_at(uint32_t scales, int index) {
  return scales + static_cast<uint32_t>(index * kScaleBytes);
}

PTX_FN float warp_max(float x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, ptx::shfl_xor(x, step));
  return x;
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
 * A lane's copies of a warp's tiles of keys, or of values: where those of its head begin, and where
 * they go. Registers hold on to it, for the loop not to work it out anew.
 */
template <class T, class Tile>
struct TileCopies {
  const Tensor& tensor;
  const RowScales& scales;
  int columns;
  uint32_t tile, tile_scales;
  const char* rows_from;
  const char* scales_from = nullptr;

  PTX_FN TileCopies(const Tensor& t, const RowScales& of_rows, int kv_head, int head_dim,
                    uint32_t to, uint32_t scales_to)
      : tensor(t), scales(of_rows), columns(head_dim), tile(to), tile_scales(scales_to) {
    rows_from = ptx::opaque(
        reinterpret_cast<const char*>(static_cast<const T*>(t.data) + kv_head * t.head) +
        this_lane() % Tile::kPanelChunks * kChunkBytes);
    if constexpr (kIsCode<T>)
      scales_from = ptx::opaque(reinterpret_cast<const char*>(scales.data + kv_head * scales.head));
  }

  /** Asynchronous. Keys from `rows` on are not there: they and their scales become zeros. */
  PTX_FN void load(const LaneKeys<Tile::kRows>& keys, int rows) const {
    load_rows<Tile, T>(tile, rows_from, tensor, keys, rows, columns);
    if constexpr (kIsCode<T>) load_scales(keys, rows);
  }

 private:
  /** Each lane those of its keys. They lie within 2^32 of the first (runtime/forward_plan.cpp). */
  PTX_FN void load_scales(const LaneKeys<Tile::kRows>& keys, int rows) const {
#pragma unroll
    for (int i = 0; i < keys.kCount; ++i) {
      const int key = 32 * i + this_lane();
      const uint32_t index =
          static_cast<uint32_t>(keys.at[i].first) * static_cast<uint32_t>(scales.page) +
          static_cast<uint32_t>(keys.at[i].row) * static_cast<uint32_t>(scales.row);
      ptx::cp_async4(scale_at(tile_scales, key), scales_from + uint64_t{index} * kScaleBytes,
                     key < rows);
    }
  }
};

/** What the lanes of a row multiply its columns of accumulator tile n by. */
PTX_FN float2 scales_of_tile(uint32_t scales, int n) {
  return ptx::lds<float2>(scale_at(scales, 8 * n + 2 * (this_lane() % 4)));
}

/** A scale that is not finite becomes NaN, for all that comes of its row to be. */
PTX_FN float finite_or_nan(float scale) { return fmaf(scale, 0.f, scale); }

/** Scales of keys times that of all scores. Each lane sees to those that it has copied. */
template <int kKeys>
PTX_FN void prepare_key_scales(uint32_t scales, float of_all) {
#pragma unroll
  for (int key = 0; key < kKeys; key += 32) {
    const uint32_t own = scale_at(scales, key + this_lane());
    ptx::sts<float>(own, finite_or_nan(ptx::lds<float>(own)) * of_all);
  }
}

/** Columns times the scales of their keys: products with codes become scores, but for the factor of
 * their row. */
template <int kKeyTiles>
PTX_FN void scale_columns(float (&s)[1][kKeyTiles][4], uint32_t scales) {
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
 * Weights times the scales of their values, as float16 operands, and outputs in units of these.
 * float16 does not reach as far as scales do. As long as those of a tile lie within [1, 2^15) of
 * one power of two, all rows have that for a unit: weights are 1 at most, and lose no more to
 * float16 than weights without scales do. From the first tile on of which that is not so, each row
 * has a unit of its own, near the greatest of its operands so far.
 */
struct WeightUnits {
  static constexpr int kUsual = 13, kGreatest = 14;  // exponents of the greatest operand
  static constexpr float kOperand = 1.f / (1 << kGreatest);
  bool level = true;
  float common = 1;  // operands are weights times scales times this, while level
  float unit[2] = {0x1p-100f, 0x1p-100f};

  /** Whether a product of weights up to 1 with this is an operand as good as a weight itself. */
  static PTX_FN bool is_usual(float scale) {
    const uint32_t bits = ptx::float_bits(fabsf(scale));
    return bits - 0x3f800000u < 15u << 23 || bits == 0;
  }

  /**
   * Scales of a tile's values times their unit. Each lane sees to those that it has copied. False
   * when weights are to be scaled row by row. alpha: what outputs are to be multiplied by;
   * `rescales` becomes true where that is no longer 1. In a tile with hidden pairs a value whose
   * scale is not finite gets weight 0, and is left to restore_poison: `any_poison`.
   */
  template <int kKeys>
  PTX_FN bool prepare(uint32_t scales, bool partial, bool first, float (&alpha)[2], bool& rescales,
                      bool& any_poison) {
    const auto of_lane = [&](auto f) {
#pragma unroll
      for (int key = 0; key < kKeys; key += 32) {
        const uint32_t own = scale_at(scales, key + this_lane());
        ptx::sts<float>(own, f(ptx::lds<float>(own)));
      }
    };
    bool usual = level;
    const auto multiply = [&](float by) {
      of_lane([&](float scale) {
        scale *= by;
        usual &= is_usual(scale);
        return scale;
      });
      return ptx::vote_all(usual);
    };
    if (multiply(common)) return true;
    if (level) {
      constexpr float kMost = 0x1p80f;
      float greatest = 1 / kMost;
      of_lane([&](float scale) {
        greatest = fmaxf(greatest, fabsf(scale));
        return scale;
      });
      greatest = power_of_two(warp_max(greatest));
      float by = 1;
      if ((first || greatest >= 0x1p15f) && greatest < kMost) {
        by = divide_power(kUsual, greatest);
        common *= by;
        usual = true;
        if (multiply(by)) {
          alpha[0] *= by;
          alpha[1] *= by;
          rescales = true;
          return true;
        }
      }
      multiply(divide_power(0, common));
      if (!first) unit[0] = unit[1] = divide_power(kGreatest, common) * by;
      level = false;
      common = 1;
    }
    of_lane([&](float scale) {
      scale = finite_or_nan(scale);
      const bool poisoned = partial && scale != scale;
      any_poison |= poisoned;
      return poisoned ? 0.f : scale;
    });
    return false;
  }

  /** Weights times scales, each row's in its unit. True when alpha is not 1, for the whole warp. */
  template <int kKeyTiles>
  PTX_FN bool scale_rows(float (&weights)[1][kKeyTiles][4], uint32_t scales, float (&alpha)[2]) {
    float top[2] = {unit[0], unit[1]};
    scale_columns(weights, scales);
#pragma unroll
    for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
      for (int c = 0; c < 4; ++c) top[c / 2] = fmaxf(top[c / 2], fabsf(weights[0][n][c]));
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
    const float of_all = divide_power(0, common);
    OnlineSoftmax<1>::rescale(
        o, {level ? of_all : unit[0] * kOperand, level ? of_all : unit[1] * kOperand});
  }
};

}  // namespace fa::cuda::sm80
