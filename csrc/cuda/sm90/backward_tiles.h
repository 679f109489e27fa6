// Tiles of the backward kernels of sm_90a: the whole choice, as data.
// docs/design/backward-hopper.md has the arithmetic.
#pragma once

#include "cuda/device/backward_params.h"

namespace fa::cuda::sm90 {

struct BackwardTile {
  int width;    // head dims, of V too, up to this one run on it, padded
  int keys;     // rows that a block keeps, 64 for each of its two computing warpgroups
  int queries;  // rows of a tile that streams past
};

// Of a thread's 240 registers, gradients of keys take width, scores and their derivatives
// `queries`. dQ of a tile is cut into two parts of 64 x 64, by queries or by columns: one for each
// warpgroup.
constexpr BackwardTile kBackwardTiles[] = {{64, 128, 128}, {96, 128, 64}, {128, 128, 64}};

/** The narrowest tile that holds `head_dim`; its width is 0 when there is none. */
constexpr BackwardTile backward_tile(int head_dim) {
  for (const BackwardTile& tile : kBackwardTiles)
    if (head_dim <= tile.width) return tile;
  return {};
}

constexpr int kBackwardConsumers = 2;  // warpgroups that compute; one more moves data
constexpr int kBackwardThreads = 128 * (kBackwardConsumers + 1);
constexpr int kQuerySumThreads = 128 * kBackwardConsumers;
constexpr int kBackwardStages = 2;  // tiles of Q and of dO in shared memory, and of dS

/**
 * Dynamic shared memory of a block: K and V, Q and dO, dS, dQ on its way out, row states; the last
 * kilobyte holds barriers.
 */
constexpr int backward_shared_bytes(const BackwardTile& t) {
  const int row = (t.width + 63) / 64 * 128;  // bytes of a row, in panels of 64 columns
  return 2 * t.keys * row + 2 * kBackwardStages * t.queries * row +
         kBackwardStages * t.keys * t.queries * 2 + kBackwardConsumers * 64 * 64 * 4 +
         kBackwardStages * t.queries * kRowStateBytes + 1024;
}

}  // namespace fa::cuda::sm90
