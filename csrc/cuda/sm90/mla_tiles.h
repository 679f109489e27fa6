// The tile of the kernel of latents on Hopper: the whole choice, as data. docs/design/mla.md has
// the arithmetic.
#pragma once

#include "cuda/sm80/mla_tiles.h"
#include "cuda/sm90/forward_tiles.h"

namespace fa::cuda::sm90 {

constexpr int kMlaRows = 64, kMlaKeys = 64;
constexpr int kMlaStages = 2;  // tiles of latents; each computing warpgroup has the scores of one
constexpr int kMlaComputing = 2, kMlaThreads = (1 + kMlaComputing) * 128;
constexpr int kMlaHalfWidthV = sm80::kMlaWidthV / kMlaComputing;  // of a warpgroup's output
// Each half of each stage is full or free, and queries are there.
constexpr int kMlaBarriers = 2 * kMlaStages * kMlaComputing + 1;

/**
 * Dynamic shared memory of a block: Q, the latents, the weights of one tile, the maxima of its
 * rows, the sums of each warpgroup, a word of each computing warp, and mbarriers.
 */
constexpr int mla_shared_bytes() {
  constexpr int kElement = 2, kFloat = 4, kBarrier = 8;
  return (kMlaRows + kMlaStages * kMlaKeys) * sm80::kMlaWidth * kElement +
         kMlaRows * kMlaKeys * kElement + (1 + kMlaComputing) * kMlaRows * kFloat +
         4 * kMlaComputing * kFloat + kMlaBarriers * kBarrier;
}
static_assert(mla_shared_bytes() <= kMaxSharedBytes);

}  // namespace fa::cuda::sm90
