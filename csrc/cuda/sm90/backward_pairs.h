// Products pair by pair, for rows that are not finite. A hidden pair must not touch a gradient, but
// on the tensor core its weight 0 meets the row, and 0 times NaN or infinity is NaN.
#pragma once

#include "cuda/device/poison.h"

namespace fa::cuda::sm90 {

/** Which operand of a product has the weights. */
enum class Weights { kA, kB };

/**
 * d += a b pair by pair, without those whose weight is 0. a(k, h): where a is, at inner row k and
 * row g + 8 h of the warp's 16; b: rows of a tile.
 */
template <class T, class Tile, Weights kWeights, int kCount, class A>
PTX_FN void add_pairs(float (&d)[kCount], uint32_t b, A a) {
  const LanePosition lane;
#pragma unroll 1
  for (int k = 0; k < Tile::kRows; ++k) {
    const float rows[2] = {ptx::to_float(ptx::lds<T>(a(k, 0))),
                           ptx::to_float(ptx::lds<T>(a(k, 1)))};
#pragma unroll
    for (int run = 0; run < kCount / 4; ++run) {
      const float2 pair = ptx::unpack2<T>(
          ptx::lds<uint32_t>(b + Tile::offset(k, run) + static_cast<uint32_t>(4 * lane.t)));
      const float columns[2] = {pair.x, pair.y};
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float weight = kWeights == Weights::kA ? rows[e / 2] : columns[e % 2];
        if (weight != 0) d[4 * run + e] += rows[e / 2] * columns[e % 2];
      }
    }
  }
}

/**
 * Whether chunks `first`, first + step .. of a tile hold an infinity or NaN; for the whole warp.
 */
template <class T, class Tile>
PTX_FN bool chunks_poisoned(uint32_t tile, int first, int step) {
  bool found = false;
#pragma unroll 1
  for (int i = first; i < Tile::kBytes / 16; i += step) {
    found |= holds_not_finite<T>(ptx::lds<uint4>(tile + static_cast<uint32_t>(16 * i)));
  }
  return ptx::vote_any(found);
}

}  // namespace fa::cuda::sm90
