// A hidden pair must not touch the output, but in a product with the tensor core its weight 0 meets
// the value, and 0 times NaN or infinity is NaN. So a tile with hidden pairs is searched for such
// values; where there are any (hardly ever), the tile goes into the product with zeros in their
// place, and in the end the outputs that do see them get them by addition (restore_poison).
#pragma once

#include "cuda/device/load_tile.h"
#include "cuda/device/scores.h"

namespace fa::cuda {

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

/**
 * True for every thread of the block when the tile holds an infinity or NaN. Each looks at the
 * chunks it has loaded itself.
 */
template <class Tile, class T, int kThreads>
PTX_FN bool chunks_poisoned(uint32_t tile) {
  bool poisoned = false;
  for_each_chunk<Tile, kThreads, false>([&](int row, int chunk) {
    const uint4 words = ptx::lds<uint4>(tile + Tile::offset(row, chunk));
    poisoned |= !same(words, finite_part<T>(words));
  });
  return poisoned;
}

/** Puts zeros in place of infinities and NaN. */
template <class Tile, class T, int kThreads>
PTX_FN void clear_poison(uint32_t tile) {
  for_each_chunk<Tile, kThreads, false>([&](int row, int chunk) {
    const uint32_t at = tile + Tile::offset(row, chunk);
    ptx::sts<uint4>(at, finite_part<T>(ptx::lds<uint4>(at)));
  });
}

/**
 * What row `row` gets in `column` of all infinities and NaN that it sees: their sum, 0 if there are
 * none.
 */
template <bool kFeatured, class Values>
PTX_FN float visible_poison(const AttentionParams& p, const Window& window, const PackedRows& rows,
                            int batch, const Values& values, int row, int column) {
  float sum = 0;
#pragma unroll 1
  for (int key = 0; key < window.seqlen_k; ++key) {
    const float x = ptx::to_float(values.element(key, column));
    if (not_finite(x) && sees<kFeatured>(p, window, rows, batch, row, key)) sum += x;
  }
  return sum;
}

}  // namespace fa::cuda
