// Tiles of the backward kernels: the whole choice, as data. docs/design/backward.md has the
// arithmetic.
#pragma once

#include "cuda/device/backward_params.h"

namespace fa::cuda::sm80 {

/** Whose rows a block keeps, with their gradients in registers, while the others stream past. */
enum class Outer { kKeys, kQueries };

struct BackwardTile {
  int width;        // head dims, of V too, up to this one run on it, padded
  int outer;        // rows that a block keeps
  int inner;        // rows of a tile that streams past
  int outer_warps;  // warps form a grid: outer_warps x inner_warps parts of outer x inner scores
  int inner_warps;
  int stages;       // inner tiles of Q (or K) in shared memory
  bool one_buffer;  // P and dS take turns in one buffer

  constexpr int warps() const { return outer_warps * inner_warps; }
};

// dK and dV, and dQ by atomics, of float16 and bfloat16 where intervals of keys are the only mask.
// The wider the tile, the more tensor core work for a byte from shared memory; the second of a
// width is for devices with less of it.
constexpr BackwardTile kPlainTiles[] = {
    {64, 128, 64, 4, 2, 2, false}, {128, 128, 32, 4, 2, 2, false}, {128, 64, 64, 2, 4, 2, false},
    {256, 64, 32, 4, 2, 2, false}, {256, 32, 32, 2, 4, 2, false},
};

// Every option, and dQ on its own.
constexpr BackwardTile kSmallTiles[] = {
    {64, 128, 64, 4, 2, 2, false},
    {128, 64, 64, 2, 4, 2, false},
    {256, 32, 32, 2, 2, 2, false},
};

// float32: elements twice as wide, every option.
constexpr BackwardTile kFloat32Tiles[] = {
    {64, 128, 32, 4, 2, 1, true},
    {128, 32, 32, 2, 2, 2, false},
    {256, 32, 16, 2, 2, 1, true},
};

struct BackwardTiles {
  const BackwardTile* tiles;
  int count;
};

constexpr BackwardTiles backward_tiles(bool float32, Outer outer, bool featured) {
  if (float32) return {kFloat32Tiles, 3};
  if (outer == Outer::kKeys && !featured) return {kPlainTiles, 5};
  return {kSmallTiles, 3};
}

/**
 * Dynamic shared memory of a block: outer and inner rows, P and dS, and a RowState per inner row
 * and stage, or outer row.
 */
constexpr int backward_shared_bytes(const BackwardTile& t, Outer outer, int element_bytes) {
  const int rows = (2 * t.outer + (t.stages + 1) * t.inner) * t.width;
  const int score_buffers = outer == Outer::kKeys && !t.one_buffer ? 2 : 1;
  const int states = outer == Outer::kKeys ? t.stages * t.inner : t.outer;
  return (rows + score_buffers * t.outer * t.inner) * element_bytes + states * kRowStateBytes;
}

}  // namespace fa::cuda::sm80
