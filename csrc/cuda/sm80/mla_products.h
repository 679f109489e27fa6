// The two products of a tile of wide heads. Scores are dealt out among the warps by rows and keys,
// the output by dims, so that each value leaves shared memory once, for all rows.
#pragma once

#include "cuda/device/fragment.h"
#include "cuda/sm80/mla_traits.h"

namespace fa::cuda::sm80 {

/** s = Q K^T of the warp's rows and keys, over so many panels of dims. */
template <class T, class Traits>
PTX_FN void multiply_wide_queries(typename Traits::Scores& s, uint32_t q, uint32_t k, int panels) {
  using RowTile = typename Traits::RowTile;
  using KeyTile = typename Traits::KeyTile;
  constexpr int kKeyTiles = Traits::kKeyTiles, kSteps = kMlaPanel / 16;
  static_assert(kKeyTiles == 1 || kKeyTiles == 2);
  // Sums of their own for steps side by side: one product need not wait for the one before.
  constexpr int kChains = 4 / kKeyTiles;
  const int lane = this_thread() % 32;
  const WarpPart<Traits> part;
  q += RowTile::offset(part.row0 + lane % 16, lane / 16);
  // Four matrices: two chunks of 16 keys, or four chunks of 8.
  k += kKeyTiles == 2 ? KeyTile::offset(part.key0 + lane % 8 + lane / 16 * 8, lane / 8 % 2)
                      : KeyTile::offset(part.key0 + lane % 8, lane / 8);
  float sum[kChains][kKeyTiles][4] = {};
#pragma unroll 3
  for (int panel = 0; panel < panels; ++panel) {
    uint32_t raw[4];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      FragmentA<T> a;
      ptx::ldmatrix_x4(a.value, RowTile::step(q, 0, 2 * step));
      if (kKeyTiles == 2 || step % 2 == 0) ptx::ldmatrix_x4(raw, KeyTile::step(k, 0, 2 * step));
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n) {
        const int first = kKeyTiles == 2 ? 2 * n : step % 2 * 2;
        multiply_add<T>(sum[step % kChains][n], a, FragmentB<T>{{raw[first], raw[first + 1]}});
      }
    }
    q += RowTile::kRows * RowTile::kPanelBytes;
    k += KeyTile::kRows * KeyTile::kPanelBytes;
  }
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      s[0][n][c] = sum[0][n][c];
#pragma unroll
      for (int chain = 1; chain < kChains; ++chain) s[0][n][c] += sum[chain][n][c];
    }
  }
}

/** The warp's weights as operands of the second product, for all warps. */
template <class T, class Traits>
PTX_FN void store_weights(uint32_t weights, const typename Traits::Scores& s) {
  using Tile = typename Traits::WeightTile;
  const LanePosition lane;
  const WarpPart<Traits> part;
#pragma unroll
  for (int n = 0; n < Traits::kKeyTiles; ++n) {
#pragma unroll
    for (int h = 0; h < 2; ++h)
      ptx::sts<uint32_t>(weights + Tile::offset(part.row0 + 8 * h + lane.g, part.key0 / 8 + n) +
                             static_cast<uint32_t>(4 * lane.t),
                         ptx::pack2<T>(s[0][n][2 * h], s[0][n][2 * h + 1]));
  }
}

/** o += P V of all rows and the warp's dims. */
template <class T, class Traits>
PTX_FN void multiply_wide_values(typename Traits::Output& o, uint32_t weights, uint32_t v) {
  using Tile = typename Traits::WeightTile;
  using ValueTile = typename Traits::ValueTile;
  const int lane = this_thread() % 32;
  const int chunk = WarpPart<Traits>().column0 / ValueTile::kChunkElements;
  v += ValueTile::offset(lane % 16, chunk + lane / 16);
#pragma unroll
  for (int key = 0; key < kMlaKeys; key += 16) {
    FragmentA<T> a[Traits::kOutputTiles];
#pragma unroll
    for (int m = 0; m < Traits::kOutputTiles; ++m)
      ptx::ldmatrix_x4(a[m].value, weights + Tile::offset(16 * m + lane % 16, key / 8 + lane / 16));
#pragma unroll
    for (int d = 0; d < Traits::kColumnTiles; d += 2) {
      uint32_t raw[4];
      ptx::ldmatrix_x4_trans(raw, ValueTile::step(v, key, d));
#pragma unroll
      for (int m = 0; m < Traits::kOutputTiles; ++m) {
        multiply_add<T>(o[m][d], a[m], FragmentB<T>{{raw[0], raw[1]}});
        multiply_add<T>(o[m][d + 1], a[m], FragmentB<T>{{raw[2], raw[3]}});
      }
    }
  }
}

}  // namespace fa::cuda::sm80
