// A hidden pair must not touch the output, but in a product with the tensor core its weight 0 meets
// the value, and 0 times NaN or infinity is NaN. So a tile with hidden pairs is searched for such
// values; where there are any (hardly ever), the tile goes into the product with zeros in their
// place, and in the end the outputs that do see them get them by addition (restore_poison), from
// the tiles with hidden pairs alone.
#pragma once

#include "cuda/device/load_tile.h"
#include "cuda/device/scores.h"

namespace fa::cuda {

/**
 * Elements of T side by side in a word: everything but their signs, and what it takes to carry into
 * the sign those, and only those, that are not finite.
 */
template <class T>
struct Packed {
  static constexpr int kBits = 8 * sizeof(T);
  static constexpr uint32_t kEach = sizeof(T) == 4   ? 1u
                                    : sizeof(T) == 2 ? 0x10001u
                                                     : 0x1010101u;  // 1 in every element
  static constexpr uint32_t kSigns = kEach << (kBits - 1), kMagnitudes = ~kSigns;
  static constexpr uint32_t kNotFinite = std::is_same_v<T, float>       ? 0x7f800000u
                                         : std::is_same_v<T, ptx::bf16> ? 0x7f80u
                                         : std::is_same_v<T, ptx::f16>  ? 0x7c00u
                                                                        : 0x7fu;  // NaN of e4m3
  static constexpr uint32_t kCarry = kSigns - kEach * kNotFinite;
};

/** Its signs are set where an element of `word` is an infinity or NaN; no carry goes further. */
template <class T>
PTX_FN uint32_t not_finite_signs(uint32_t word) {
  return (word & Packed<T>::kMagnitudes) + Packed<T>::kCarry;
}

/** Whether sixteen bytes hold an infinity or NaN: 10 instructions. */
template <class T>
PTX_FN bool holds_not_finite(const uint4& words) {
  const uint32_t any = not_finite_signs<T>(words.x) | not_finite_signs<T>(words.y) |
                       not_finite_signs<T>(words.z) | not_finite_signs<T>(words.w);
  return (any & Packed<T>::kSigns) != 0;
}

/** `word` with zeros for infinities and NaN. */
template <class T>
PTX_FN uint32_t finite_part(uint32_t word) {
  const uint32_t signs = not_finite_signs<T>(word) & Packed<T>::kSigns;
  return word & ~(signs | (signs - (signs >> (Packed<T>::kBits - 1))));  // all of their bits
}

template <class T>
PTX_FN uint4 finite_part(const uint4& words) {
  return {finite_part<T>(words.x), finite_part<T>(words.y), finite_part<T>(words.z),
          finite_part<T>(words.w)};
}

/**
 * True for every thread of the block when the tile holds an infinity or NaN. Each looks at the
 * chunks it has loaded itself.
 */
template <class Tile, class T, int kThreads>
PTX_FN bool chunks_poisoned(uint32_t tile) {
  bool found = false;
  for_each_chunk<Tile, kThreads, false>([&](int row, int chunk) {
    found |= holds_not_finite<T>(ptx::lds<uint4>(tile + Tile::offset(row, chunk)));
  });
  return found;
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
 * Calls add(row, column, x) for every infinity or NaN x among the values of the keys [begin, end)
 * and each of the rows [row0, row1) that sees it. A thread has the columns first, first + step ...,
 * and reads every value(key, column) of them once.
 */
template <bool kFeatured, class Value, class Add>
PTX_FN void for_each_visible_poison(const AttentionParams& p, const Window& window,
                                    const PackedRows& rows, int batch, int begin, int end, int row0,
                                    int row1, int first, int step, Value value, Add add) {
  constexpr int kAtOnce = 4;  // loads under way
#pragma unroll 1
  for (int column = first; column < p.head_dim_v; column += step) {
#pragma unroll 1
    for (int key0 = begin; key0 < end; key0 += kAtOnce) {
      uint32_t strange = 0;
#pragma unroll
      for (int n = 0; n < kAtOnce; ++n)
        strange |= static_cast<uint32_t>(key0 + n < end && not_finite(value(key0 + n, column)))
                   << n;
#pragma unroll 1
      for (int key = key0; strange != 0; ++key, strange >>= 1) {
        if ((strange & 1u) == 0) continue;
        const float x = value(key, column);
#pragma unroll 1
        for (int row = row0; row < row1; ++row)
          if (sees<kFeatured>(p, window, rows, batch, row, key)) add(row, column, x);
      }
    }
  }
}

}  // namespace fa::cuda
