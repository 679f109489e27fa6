// The matrix products of the backward pass: operands in shared tiles, results in a warp's
// registers. c is kRowTiles x kColumnTiles accumulators of 16 x 8; with g = lane / 4 and t = lane %
// 4, element e of accumulator (m, n) is row 16m + 8 (e / 2) + g, column 8n + 2t + e % 2.
#pragma once

#include "cuda/device/fragment.h"
#include "cuda/device/packed_rows.h"
#include "cuda/device/poison.h"
#include "cuda/device/shared_tile.h"

namespace fa::cuda::sm80 {

/** Elements of the inner dimension that one step takes (device/fragment.h). */
template <class T>
constexpr int kStep = 2 * kChunkBytes / static_cast<int>(sizeof(T));

template <int kRowTiles, int kColumnTiles>
PTX_FN void clear(float (&c)[kRowTiles][kColumnTiles][4]) {
#pragma unroll
  for (int m = 0; m < kRowTiles; ++m)
#pragma unroll
    for (int n = 0; n < kColumnTiles; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) c[m][n][e] = 0;
}

// ldmatrix transposes 16-bit elements alone, so float32 operands that lie across are loaded word by
// word. Their eight rows of a step are taken in the order 0 2 4 6 1 3 5 7: then the swizzle spreads
// every load over all banks. In a score tile of float32, every eight columns lie in that order
// (store_scores), for ldmatrix to deliver them so.

/**
 * One step of B = rows `row` .. of a tile [k][n], for two accumulators: columns column0 + column ..
 * + 15. kFinitePart: with zeros for infinities and NaN.
 */
template <class T, class Tile, bool kFinitePart>
PTX_FN void load_columns(FragmentB<T> (&b)[2], uint32_t tile, int row, int column0, int column) {
  uint32_t raw[4];
  if constexpr (sizeof(T) == 4) {
    const LanePosition lane;
    const uint32_t word = static_cast<uint32_t>(lane.g % 4 * 4);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t base =
          tile + Tile::offset(2 * lane.t + i % 2, column0 / 4 + lane.g / 4) + word;
      raw[i] = ptx::lds<uint32_t>(Tile::step(base, row, column / 4 + i / 2 * 2));
    }
  } else {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const uint32_t base = tile + Tile::offset(lane % 16, column0 / 8 + lane / 16);
    ptx::ldmatrix_x4_trans(raw, Tile::step(base, row, column / 8));
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if constexpr (kFinitePart)
      b[i] = fragment_b<T>(finite_part<T>(raw[2 * i]), finite_part<T>(raw[2 * i + 1]));
    else
      b[i] = fragment_b<T>(raw[2 * i], raw[2 * i + 1]);
  }
}

/** One step of c += A B, B as load_columns takes it. */
template <class T, class Tile, bool kFinitePart, int kRowTiles, int kColumnTiles>
PTX_FN void multiply_step(float (&c)[kRowTiles][kColumnTiles][4],
                          const FragmentA<T> (&rows)[kRowTiles], uint32_t b, int row, int column0) {
#pragma unroll
  for (int n = 0; n < kColumnTiles; n += 2) {
    FragmentB<T> columns[2];
    load_columns<T, Tile, kFinitePart>(columns, b, row, column0, 8 * n);
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int m = 0; m < kRowTiles; ++m) multiply_add<T>(c[m][n + i], rows[m], columns[i]);
  }
}

/** c += A B^T: A is rows row_a .. of a tile [m][k], B rows row_b .. of a tile [n][k]. */
template <class T, class TileA, class TileB, int kRowTiles, int kColumnTiles>
PTX_FN void multiply_rows(float (&c)[kRowTiles][kColumnTiles][4], uint32_t a, int row_a, uint32_t b,
                          int row_b) {
  static_assert(TileA::kChunks == TileB::kChunks);
  // A load brings one step of the columns of two accumulators, or two steps of those of one.
  constexpr bool kPairs = kColumnTiles > 1;
  static_assert(kPairs || TileB::kChunks % 4 == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  a += TileA::offset(row_a + lane % 16, lane / 16);
  b += kPairs ? TileB::offset(row_b + lane % 8 + lane / 16 * 8, lane / 8 % 2)
              : TileB::offset(row_b + lane % 8, lane / 8);
  uint32_t raw[4];
#pragma unroll
  for (int chunk = 0; chunk < TileA::kChunks; chunk += 2) {
    FragmentA<T> rows[kRowTiles];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      uint32_t words[4];
      ptx::ldmatrix_x4(words, TileA::step(a, 16 * m, chunk));
      rows[m] = fragment_a<T>(words);
    }
    const int step = kPairs ? 0 : chunk % 4;
#pragma unroll
    for (int n = 0; n < kColumnTiles; n += 2) {
      if (step == 0) ptx::ldmatrix_x4(raw, TileB::step(b, 8 * n, chunk));
#pragma unroll
      for (int i = 0; i < 2 && n + i < kColumnTiles; ++i) {
        const FragmentB<T> column = fragment_b<T>(raw[step + 2 * i], raw[step + 2 * i + 1]);
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) multiply_add<T>(c[m][n + i], rows[m], column);
      }
    }
  }
}

/** c += A B: A is rows row_a .. of a score tile [m][k], B columns column_b .. of a tile [k][n]. */
template <class T, class TileA, class TileB, bool kFinitePart, int kRowTiles, int kColumnTiles>
PTX_FN void multiply_columns(float (&c)[kRowTiles][kColumnTiles][4], uint32_t a, int row_a,
                             uint32_t b, int column_b) {
  static_assert(kColumnTiles % 2 == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  a += TileA::offset(row_a + lane % 16, lane / 16);
#pragma unroll
  for (int k = 0; k < TileB::kRows; k += kStep<T>) {
    FragmentA<T> rows[kRowTiles];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      uint32_t raw[4];
      ptx::ldmatrix_x4(raw, TileA::step(a, 16 * m, 2 * (k / kStep<T>)));
      rows[m] = fragment_a<T>(raw);
    }
    multiply_step<T, TileB, kFinitePart>(c, rows, b, k, column_b);
  }
}

/**
 * c += A^T B: A is columns column_a .. of a score tile [k][m], B columns column_b .. of a tile
 * [k][n].
 */
template <class T, class TileA, class TileB, bool kFinitePart, int kRowTiles, int kColumnTiles>
PTX_FN void multiply_transposed(float (&c)[kRowTiles][kColumnTiles][4], uint32_t a, int column_a,
                                uint32_t b, int column_b) {
  static_assert(kColumnTiles % 2 == 0);
#pragma unroll
  for (int k = 0; k < TileB::kRows; k += kStep<T>) {
    FragmentA<T> rows[kRowTiles];
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
      uint32_t raw[4];
      if constexpr (sizeof(T) == 4) {
        const LanePosition lane;
        const uint32_t word = static_cast<uint32_t>(lane.g / 2 * 4);
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const uint32_t base =
              a + TileA::offset(2 * lane.t + i / 2, column_a / 4 + lane.g % 2) + word;
          raw[i] = ptx::lds<uint32_t>(TileA::step(base, k, 4 * m + i % 2 * 2));
        }
      } else {
        const int lane = static_cast<int>(threadIdx.x) % 32;
        const uint32_t base =
            a + TileA::offset(lane % 8 + lane / 16 * 8, column_a / 8 + lane / 8 % 2);
        ptx::ldmatrix_x4_trans(raw, TileA::step(base, k, 2 * m));
      }
      rows[m] = fragment_a<T>(raw);
    }
    multiply_step<T, TileB, kFinitePart>(c, rows, b, k, column_b);
  }
}

/** An element of a tile. */
template <class T, class Tile>
PTX_FN float load_element(uint32_t tile, int row, int column) {
  constexpr int kElements = Tile::kChunkElements;
  return ptx::to_float(ptx::lds<T>(tile + Tile::offset(row, column / kElements) +
                                   static_cast<uint32_t>(column % kElements * sizeof(T))));
}

/**
 * Adds to c what multiply_columns<..., true> left of A B: infinities and NaN of B, times weights in
 * A. Hidden pairs weigh exactly 0 and must not meet them (device/poison.h); neither does a weight
 * too small for T.
 */
template <class T, class TileA, class TileB, int kRowTiles, int kColumnTiles>
PTX_FN void add_poison(float (&c)[kRowTiles][kColumnTiles][4], uint32_t a, int row_a, uint32_t b,
                       int column_b) {
  const LanePosition lane;
#pragma unroll 1
  for (int k = 0; k < TileB::kRows; ++k) {
    // Where store_scores puts column k.
    const int column_a = sizeof(T) == 4 ? k / 8 * 8 + k % 8 / 2 + k % 2 * 4 : k;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kColumnTiles; ++n) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float weight =
              load_element<T, TileA>(a, row_a + 16 * m + e / 2 * 8 + lane.g, column_a);
          const float x = load_element<T, TileB>(b, k, column_b + 8 * n + 2 * lane.t + e % 2);
          if (not_finite(x) && weight != 0) c[m][n][e] += weight * x;
        }
      }
    }
  }
}

}  // namespace fa::cuda::sm80
