// What scores.h says of one pair, for the scores that a lane has of a tile. Every option is a
// branch of the whole tile: one that is absent costs a test, one that is there its arithmetic.
// What hides pairs becomes a bit for each key first, in one word per row.
#pragma once

#include "cuda/device/scores.h"

namespace fa::cuda {

/**
 * Of a lane's keys 8n + 2t + c of a tile, those before key `end`, which counts from 2t: bit 2n + c.
 */
template <int kKeyTiles>
PTX_FN uint32_t keys_before(int end) {
  static_assert(kKeyTiles <= 16, "a bit for each key");
  const int inside = clamp(end, 0, 8 * kKeyTiles);
  const int count = inside / 8 * 2 + (inside % 8 < 2 ? inside % 8 : 2);
  return static_cast<uint32_t>((uint64_t{1} << count) - 1);
}

/** Key `bit` of a lane, `key` being its first. */
PTX_FN int key_of(int key, int bit) { return key + bit / 2 * 8 + bit % 2; }

/**
 * Of a lane's keys, from `key` on, those that a row sees. kLookups: trees, block masks and dense
 * masks of bool may hide some.
 */
template <int kKeyTiles, bool kLookups>
PTX_FN uint32_t visible_keys(const AttentionParams& p, const Window& window,
                             const ScoreRow<kLookups>& row, int batch, int key) {
  const auto before = [&](int end) { return keys_before<kKeyTiles>(end - key); };
  uint32_t visible = before(row.end) & (~before(row.begin) | before(window.sink_tokens));
  if constexpr (kLookups) {
    const bool tree = row.tree != nullptr, blocks = p.block_mask.cells != nullptr;
    if (tree || blocks) {
      const uint32_t in_window = visible;
      visible = 0;
#pragma unroll 1
      for (int bit = 0; bit < 2 * kKeyTiles; ++bit) {
        const int j = key_of(key, bit);
        const bool seen = tree ? row.in_window_or_tree(p, window, j) : (in_window >> bit & 1u) != 0;
        if (seen && (!blocks || in_blocks(p.block_mask, batch, row, j))) visible |= 1u << bit;
      }
    }
    if (p.mask.data != nullptr && p.mask.dtype == static_cast<int>(DType::kBool)) {
      uint32_t hidden = 0;
#pragma unroll 8  // so many loads at once
      for (int bit = 0; bit < 2 * kKeyTiles; ++bit)
        if ((visible >> bit & 1u) != 0 && mask_bias(p.mask, row, key_of(key, bit)) != 0)
          hidden |= 1u << bit;
      visible &= ~hidden;
    }
  }
  return visible;
}

/** Calls f(bit, score) for a lane's keys in row 16m + 8h + g of the tile. */
template <int kRowTiles, int kKeyTiles, class F>
PTX_FN void for_each_key(float (&s)[kRowTiles][kKeyTiles][4], int m, int h, F f) {
#pragma unroll
  for (int bit = 0; bit < 2 * kKeyTiles; ++bit) f(bit, s[m][bit / 2][2 * h + bit % 2]);
}

/** Calls f(row, m, h) for the rows that a lane has scores of, as ScoreRow describes them. */
template <int kRowTiles, bool kLookups, class F>
PTX_FN void for_each_row(const AttentionParams& p, const Window& window, const PackedRows& rows,
                         int batch, int row0, F f) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
    for (int h = 0; h < 2; ++h)
      f(ScoreRow<kLookups>(p, window, rows, batch, row0 + 16 * m + 8 * h + LanePosition().g), m, h);
  }
}

/** Adds a dense mask of elements M to the scores of the visible keys of a row. */
template <class M, int kRowTiles, int kKeyTiles>
PTX_FN void add_mask(const MaskParams& mask, int64_t row, int key, uint32_t visible,
                     float (&s)[kRowTiles][kKeyTiles][4], int m, int h) {
  const M* const data = static_cast<const M*>(mask.data) + row;
  for_each_key(s, m, h, [&](int bit, float& score) {
    if ((visible >> bit & 1u) == 0) return;
    const float bias = ptx::to_float(ptx::ldg(data + key_of(key, bit) * mask.key));
    // Whatever it was: a hidden NaN does not exist.
    score = bias == -kInfinity ? bias : score + bias;
  });
}

/**
 * From products to natural scores with every option. kLookups: trees, block masks and dense masks
 * among them. `partial`: some pair is hidden.
 */
template <class T, bool kLookups, int kRowTiles, int kKeyTiles>
PTX_FN void apply_options(const AttentionParams& p, const Window& window, const PackedRows& rows,
                          int batch, int row0, int key0, bool partial,
                          float (&s)[kRowTiles][kKeyTiles][4]) {
  using Row = ScoreRow<kLookups>;
  const int key = key0 + 2 * LanePosition().t;
  const auto for_each_score = [&](auto f) {
#pragma unroll
    for (int r = 0; r < 2 * kRowTiles; ++r)
      for_each_key(s, r / 2, r % 2, [&](int, float& score) { score = f(score); });
  };
  for_each_score([&](float score) { return score * p.scale; });
  if (p.softcap > 0) for_each_score([&](float score) { return cap_score<T>(p, score); });
  if (p.alibi_slopes != nullptr) {
    for_each_row<kRowTiles, kLookups>(p, window, rows, batch, row0, [&](Row row, int m, int h) {
      if (kLookups && row.tree != nullptr) {
        for_each_key(s, m, h, [&](int bit, float& score) {
          const int position = row.key_position(p, window, key_of(key, bit));
          score -= row.slope * fabsf(static_cast<float>(row.position - position));
        });
      } else {
        const float ahead = static_cast<float>(row.position - key);
        for_each_key(s, m, h, [&](int bit, float& score) {
          score -= row.slope * fabsf(ahead - static_cast<float>(key_of(0, bit)));
        });
      }
    });
  }
  if (!partial) return;
  for_each_row<kRowTiles, kLookups>(p, window, rows, batch, row0, [&](Row row, int m, int h) {
    const uint32_t visible = visible_keys<kKeyTiles, kLookups>(p, window, row, batch, key);
    if constexpr (kLookups) {
      if (p.mask.data != nullptr) {
        if (p.mask.dtype == static_cast<int>(DType::kFloat32))
          add_mask<float>(p.mask, row.mask, key, visible, s, m, h);
        else if (p.mask.dtype == static_cast<int>(DType::kFloat16))
          add_mask<ptx::f16>(p.mask, row.mask, key, visible, s, m, h);
        else if (p.mask.dtype == static_cast<int>(DType::kBFloat16))
          add_mask<ptx::bf16>(p.mask, row.mask, key, visible, s, m, h);
      }
    }
    for_each_key(s, m, h, [&](int bit, float& score) {
      if ((visible >> bit & 1u) == 0) score = -kInfinity;
    });
  });
}

/**
 * Scores of the rows row0 + g + 8h + 16m and the keys key0 + 8n + 2t + c of this lane. Plain: hides
 * what the window hides. Featured: natural scores; `partial` when some pair is hidden.
 */
template <class T, bool kFeatured, int kRowTiles, int kKeyTiles>
PTX_FN void modify_scores(const AttentionParams& p, const Window& window, const PackedRows& rows,
                          int batch, int row0, int key0, bool partial,
                          float (&s)[kRowTiles][kKeyTiles][4]) {
  if constexpr (kFeatured) {
    apply_options<T, true>(p, window, rows, batch, row0, key0, partial, s);
  } else {
    const LanePosition lane;
#pragma unroll
    for (int r = 0; r < 2 * kRowTiles; ++r) {
      const int i = rows.query(row0 + 8 * r + lane.g);
      const int begin = window.begin(i) - key0 - 2 * lane.t;
      const int end = window.end(i) - key0 - 2 * lane.t;
      for_each_key(s, r / 2, r % 2, [&](int bit, float& score) {
        const int j = key_of(0, bit);
        if (j < begin || j >= end) score = -kInfinity;
      });
    }
  }
}

}  // namespace fa::cuda
