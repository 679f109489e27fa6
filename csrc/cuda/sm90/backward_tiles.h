// Tiles of the backward kernels of sm_90a: the whole choice, as data.
// docs/design/backward-hopper.md has the arithmetic.
#pragma once

#include "cuda/device/backward_params.h"

namespace fa::cuda::sm90 {

struct BackwardTile {
  int width;      // head dims, of V too, up to this one run on it, padded
  int keys;       // rows that a block keeps
  int queries;    // rows of a tile that streams past
  int consumers;  // warpgroups that compute; one more moves data
  int stages;     // tiles of Q and of dO in shared memory

  /** Whether dK and dV are divided among the warpgroups by dims, else by keys, 64 each. */
  constexpr bool by_dims() const { return width > 128; }
  constexpr int threads() const { return 128 * (consumers + 1); }
  /** dQ of a tile is cut into parts of 64 x 64, by queries or by columns. */
  constexpr int sum_parts() const { return queries / 64 * ((width + 63) / 64); }
};

// Of a thread's registers, 240 or, with three warpgroups that compute, 160, gradients of keys take
// width * keys / (64 * consumers), scores and their derivatives queries * keys / (64 * consumers).
constexpr BackwardTile kBackwardTiles[] = {{64, 128, 128, 2, 2},
                                           {96, 128, 64, 2, 2},
                                           {128, 128, 64, 2, 2},
                                           {192, 96, 64, 3, 1},
                                           {256, 80, 64, 2, 1}};

/** The narrowest tile that holds `head_dim`; its width is 0 when there is none. */
constexpr BackwardTile backward_tile(int head_dim) {
  for (const BackwardTile& tile : kBackwardTiles)
    if (head_dim <= tile.width) return tile;
  return {};
}

/** Bytes of a row of 16-bit elements, in panels of 64 columns. */
constexpr int panel_row_bytes(int columns) { return (columns + 63) / 64 * 128; }

/**
 * Dynamic shared memory of a block: K and V, Q and dO, two tiles of dS or one of P and one of dS,
 * dQ on its way out, row states; the last kilobyte holds barriers.
 */
constexpr int backward_shared_bytes(const BackwardTile& t) {
  const int row = panel_row_bytes(t.width);
  const int scores =
      t.by_dims() ? t.queries * panel_row_bytes(t.keys) : t.keys * panel_row_bytes(t.queries);
  return 2 * t.keys * row + 2 * t.stages * t.queries * row + 2 * scores +
         t.consumers * 64 * 64 * 4 + t.stages * t.queries * kRowStateBytes + 1024;
}

}  // namespace fa::cuda::sm90
