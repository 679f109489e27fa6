// A hidden pair must not touch the output, but in a product with the tensor core its weight 0 meets
// the value, and 0 times NaN or infinity is NaN. So a tile with hidden pairs is searched for such
// values; where there are any (hardly ever), the rows that do see them get them by addition, and the
// tile goes into the product with zeros in their place.
#pragma once

#include "cuda/common/load_tile.h"
#include "cuda/common/packed_rows.h"
#include "cuda/common/softmax.h"

namespace fa::cuda {

PTX_FN bool not_finite(float x) { return (ptx::float_bits(x) & 0x7f800000u) == 0x7f800000u; }

/** `word` (a float32, or two 16-bit elements) with zeros for infinities and NaN. */
template <class T>
PTX_FN uint32_t finite_part(uint32_t word) {
  if constexpr (sizeof(T) == 4) {
    return not_finite(ptx::float_from_bits(word)) ? 0u : word;
  } else {
    const float2 pair = ptx::unpack2<T>(word);
    return (not_finite(pair.x) ? 0u : word & 0xffffu) |
           (not_finite(pair.y) ? 0u : word & 0xffff0000u);
  }
}

template <class T>
PTX_FN uint4 finite_part(uint4 words) {
  return {finite_part<T>(words.x), finite_part<T>(words.y), finite_part<T>(words.z),
          finite_part<T>(words.w)};
}

PTX_FN bool same(const uint4& a, const uint4& b) {
  return a.x == b.x && a.y == b.y && a.z == b.z && a.w == b.w;
}

/** True for every thread of the block when the tile holds an infinity or NaN. Each looks at the chunks it has loaded itself. */
template <class Tile, class T, int kThreads>
PTX_FN bool chunks_poisoned(uint32_t tile) {
  bool poisoned = false;
  for_each_chunk<Tile, kThreads>([&](int row, int chunk) {
    const uint4 words = ptx::lds<uint4>(tile + Tile::offset(row, chunk));
    poisoned |= !same(words, finite_part<T>(words));
  });
  return poisoned;
}

/** Puts zeros in place of infinities and NaN. */
template <class Tile, class T, int kThreads>
PTX_FN void clear_poison(uint32_t tile) {
  for_each_chunk<Tile, kThreads>([&](int row, int chunk) {
    const uint32_t at = tile + Tile::offset(row, chunk);
    ptx::sts<uint4>(at, finite_part<T>(ptx::lds<uint4>(at)));
  });
}

/** Which pairs of a tile are seen: bit 2n + c of word 2m + h is key 8n + 2t + c of row 16m + 8h + g. */
template <int kRowTiles>
struct VisiblePairs {
  uint32_t word[2 * kRowTiles];

  template <int kKeyTiles>
  PTX_FN void record(const float (&s)[kRowTiles][kKeyTiles][4]) {
    static_assert(kKeyTiles <= 16, "a row's keys of one lane fill a word at the most");
#pragma unroll
    for (int r = 0; r < 2 * kRowTiles; ++r) {
      word[r] = 0;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
        for (int c = 0; c < 2; ++c)
          word[r] |= static_cast<uint32_t>(s[r / 2][n][2 * (r % 2) + c] != -kInfinity)
                     << (2 * n + c);
      }
    }
  }

  /** Adds the infinities and NaN among the values to the rows that see them. */
  template <class Tile, class T, int kColumnTiles>
  PTX_FN void add_poison(float (&o)[kRowTiles][kColumnTiles][4], uint32_t values) const {
    const LanePosition lane;
    for (int key = 0; key < Tile::kRows; ++key) {
      bool seen[2 * kRowTiles];
#pragma unroll
      for (int r = 0; r < 2 * kRowTiles; ++r) {
        const uint32_t theirs = ptx::shfl_idx(word[r], 4 * lane.g + key % 8 / 2);
        seen[r] = (theirs >> (2 * (key / 8) + key % 2)) & 1u;
      }
#pragma unroll
      for (int d = 0; d < kColumnTiles; ++d) {
        float2 pair;
        const int column = 8 * d + 2 * lane.t;
        const uint32_t at =
            values + Tile::offset(key, column / Tile::kChunkElements) +
            static_cast<uint32_t>(column % Tile::kChunkElements) * static_cast<uint32_t>(sizeof(T));
        if constexpr (sizeof(T) == 4)
          pair = ptx::lds<float2>(at);
        else
          pair = ptx::unpack2<T>(ptx::lds<uint32_t>(at));
#pragma unroll
        for (int r = 0; r < 2 * kRowTiles; ++r) {
          if (seen[r] && not_finite(pair.x)) o[r / 2][d][2 * (r % 2)] += pair.x;
          if (seen[r] && not_finite(pair.y)) o[r / 2][d][2 * (r % 2) + 1] += pair.y;
        }
      }
    }
  }
};

}  // namespace fa::cuda
