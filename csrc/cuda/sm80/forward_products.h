// The two products of the forward pass on mma.sync, by a warp.
#pragma once

#include "cuda/device/fragment.h"
#include "cuda/sm80/forward_block.h"

namespace fa::cuda::sm80 {

/** s = Q K^T for the warp's rows, those from `warp_row` on. */
template <class T, class Traits>
PTX_FN void multiply_queries_keys(typename Traits::Scores& s, uint32_t q, uint32_t k,
                                  int warp_row) {
  using RowTile = typename Traits::RowTile;
  using KeyTile = typename Traits::KeyTile;
  const int lane = this_thread() % 32;
  q += RowTile::offset(warp_row + lane % 16, lane / 16);
  k += KeyTile::offset(lane % 8 + lane / 16 * 8, lane / 8 % 2);
#pragma unroll
  for (int m = 0; m < Traits::kRowTiles; ++m)
#pragma unroll
    for (int n = 0; n < Traits::kKeyTiles; ++n)
#pragma unroll
      for (int c = 0; c < 4; ++c) s[m][n][c] = 0;
#pragma unroll
  for (int chunk = 0; chunk < RowTile::kChunks; chunk += 2) {
    FragmentA<T> a[Traits::kRowTiles];
#pragma unroll
    for (int m = 0; m < Traits::kRowTiles; ++m) {
      uint32_t raw[4];
      ptx::ldmatrix_x4(raw, RowTile::step(q, 16 * m, chunk));
      a[m] = fragment_a<T>(raw);
    }
#pragma unroll
    for (int n = 0; n < Traits::kKeyTiles; n += 2) {
      uint32_t raw[4];  // one step of the keys of two accumulator tiles
      ptx::ldmatrix_x4(raw, KeyTile::step(k, 8 * n, chunk));
      const FragmentB<T> b0 = fragment_b<T>(raw[0], raw[1]), b1 = fragment_b<T>(raw[2], raw[3]);
#pragma unroll
      for (int m = 0; m < Traits::kRowTiles; ++m) {
        multiply_add<T>(s[m][n], a[m], b0);
        multiply_add<T>(s[m][n + 1], a[m], b1);
      }
    }
  }
}

/** o += P V. */
template <class T, class Traits>
PTX_FN void multiply_weights_values(typename Traits::Output& o,
                                    const Weights<T, Traits::kRowTiles, Traits::kKeyTiles>& weights,
                                    uint32_t v) {
  using KeyTile = typename Traits::KeyTile;
  const int lane = this_thread() % 32;
  const LanePosition at;
#pragma unroll
  for (int n = 0; n < Traits::kKeyTiles; n += kStepTiles<T>) {
    FragmentA<T> a[Traits::kRowTiles];
#pragma unroll
    for (int m = 0; m < Traits::kRowTiles; ++m) a[m] = weights.step(m, n);
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; d += 2) {
      uint32_t raw[4];
      if constexpr (sizeof(T) == 4) {
        // ldmatrix transposes 16-bit elements alone. Keys 2t and 2t + 1 of column g: chunks of four
        // floats, whose swizzle spreads the rows over all banks.
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          const int row = 8 * n + 2 * at.t + r % 2, column = 8 * (d + r / 2) + at.g;
          raw[r] = ptx::lds<uint32_t>(v + KeyTile::offset(row, column / 4) +
                                      static_cast<uint32_t>(column % 4 * 4));
        }
      } else {
        const uint32_t rows = v + KeyTile::offset(lane % 16, lane / 16);
        ptx::ldmatrix_x4_trans(raw, KeyTile::step(rows, 8 * n, d));
      }
      const FragmentB<T> b0 = fragment_b<T>(raw[0], raw[1]), b1 = fragment_b<T>(raw[2], raw[3]);
#pragma unroll
      for (int m = 0; m < Traits::kRowTiles; ++m) {
        multiply_add<T>(o[m][d], a[m], b0);
        multiply_add<T>(o[m][d + 1], a[m], b1);
      }
    }
  }
}

}  // namespace fa::cuda::sm80
