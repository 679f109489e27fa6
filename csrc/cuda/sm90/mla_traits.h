// The types of the kernel of latents, the tiles that a block visits, and where things lie in its
// shared memory.
#pragma once

#include "cuda/device/shared_tile.h"
#include "cuda/sm80/forward_block.h"
#include "cuda/sm90/mla_tiles.h"
#include "cuda/sm90/panels.h"
#include "cuda/sm90/ring.h"

namespace fa::cuda::sm90 {

template <class Element, int kWidth>
struct MlaTraits {
  using T = Element;
  static_assert(kWidth == sm80::kMlaWidth, "the tile is of that width");
  static constexpr sm80::ForwardTile kTile = {kWidth, kMlaRows, kMlaKeys, 4, kMlaStages};
  static constexpr int kThreads = kWarpgroupThreads;  // that copy
  static constexpr int kStorers = kMlaComputing * kWarpgroupThreads;
  // Of 64 K registers an SM, what copies can do without goes to the products.
  static constexpr int kCopyRegisters = 40, kComputeRegisters = 232;
  static_assert(kCopyRegisters + kMlaComputing * kComputeRegisters <=
                registers_at_launch(kMlaThreads) * (1 + kMlaComputing));

  // As threads copy them, and, at the same places, as products read them.
  using RowTile = SharedTile<T, kMlaRows, kWidth>;
  using KeyTile = SharedTile<T, kMlaKeys, kWidth>;
  using QueryPanels = Panels<T, kMlaRows, kWidth>;
  using KeyPanels = Panels<T, kMlaKeys, kWidth>;
  using WeightPanels = Panels<T, kMlaRows, kMlaKeys>;
  static_assert(RowTile::kBytes == QueryPanels::kBytes && KeyTile::kBytes == KeyPanels::kBytes);

  // Panels of a half of the columns: those of a warpgroup's values; rotated dims are the second's.
  static constexpr int kPanels = KeyPanels::kPanels;
  static constexpr int kHalfPanels = kMlaHalfWidthV / KeyPanels::kPanelColumns;
  static constexpr int kPanelSteps = KeyPanels::kPanelColumns / KeyPanels::kStep;
  static constexpr int kKeySteps = kMlaKeys / KeyPanels::kStep;

  // Of a thread, laid out as those of mma.sync: one accumulator tile of 16 rows a warp.
  using Scores = float[1][kMlaKeys / 8][4];
  using Weights = uint32_t[kKeySteps][4];
  using Output = float[1][kMlaHalfWidthV / 8][4];
};

/**
 * The tiles of keys that a block visits, from the first one on. Warpgroups take turns at their
 * scores.
 */
template <class Traits>
struct LatentWalk {
  Window window;
  TileRange n_blocks;
  int i0, i1;  // queries
  int n_block;

  PTX_FN LatentWalk(const AttentionParams& a, const sm80::ForwardBlock& block)
      : window(window_of(a, block.sequence)),
        n_blocks(sm80::n_blocks_of<Traits>(block, window)),
        i0(block.rows.query_begin(block.row0)),
        i1(block.rows.query_end(block.row0 + kMlaRows)),
        n_block(n_blocks.begin - 1) {
    advance();
  }

  PTX_FN bool more() const { return n_block < n_blocks.end; }
  PTX_FN void advance() {
    do ++n_block;
    while (more() && kind() == TileKind::kSkip);
  }
  PTX_FN int key0() const { return n_block * kMlaKeys; }
  PTX_FN TileKind kind() const { return window.classify(i0, i1, key0(), key0() + kMlaKeys); }
};

/** Everything that the warps of a block share. A half is of the columns of a tile. */
template <class Traits>
struct MlaShared {
  static constexpr int kFloatBytes = 4;
  uint32_t queries = ptx::dyn_smem();
  uint32_t tiles = queries + Traits::RowTile::kBytes;
  uint32_t weights = tiles + kMlaStages * Traits::KeyTile::kBytes;
  uint32_t states = weights + Traits::WeightPanels::kBytes;
  uint32_t poisons = states + (1 + kMlaComputing) * kMlaRows * kFloatBytes;
  uint32_t barriers = poisons + kMlaComputing * kWarpgroupWarps * kFloatBytes;

  PTX_FN uint32_t tile(int stage) const {
    return tiles + static_cast<uint32_t>(stage * Traits::KeyTile::kBytes);
  }
  /** The values of a warpgroup in a tile. */
  PTX_FN uint32_t values(int stage, int half) const {
    return tile(stage) +
           static_cast<uint32_t>(half * Traits::kHalfPanels * Traits::KeyPanels::kPanelBytes);
  }
  /** What a row's weights are relative to. */
  PTX_FN uint32_t maximum(int row) const {
    return states + static_cast<uint32_t>(row * kFloatBytes);
  }
  /** The sum of a row's weights of a warpgroup's tiles. */
  PTX_FN uint32_t sum(int group, int row) const { return maximum((1 + group) * kMlaRows + row); }
  /** Whether a warp has cleared values. */
  PTX_FN uint32_t poison(int warp) const {
    return poisons + static_cast<uint32_t>(warp * kFloatBytes);
  }

  PTX_FN bool poisoned() const {
    uint32_t any = 0;
#pragma unroll
    for (int warp = 0; warp < kMlaComputing * kWarpgroupWarps; ++warp)
      any |= ptx::lds<uint32_t>(poison(warp));
    return any != 0;
  }

  PTX_FN uint32_t full(int stage, int half) const {
    return barriers + static_cast<uint32_t>((2 * stage + half) * kBarrierBytes);
  }
  PTX_FN uint32_t free(int stage, int half) const { return full(kMlaStages + stage, half); }
  PTX_FN uint32_t queries_full() const { return full(2 * kMlaStages, 0); }

  /** One thread, before all others go on. */
  PTX_FN void init_barriers() const {
    static_assert(kMlaComputing == 2);
    for (int stage = 0; stage < kMlaStages; ++stage) {
      for (int half = 0; half < kMlaComputing; ++half) {
        ptx::mbar_init(full(stage, half), Traits::kThreads);
        ptx::mbar_init(free(stage, half), kWarpgroupWarps);
      }
    }
    ptx::mbar_init(queries_full(), Traits::kThreads);
    ptx::fence_mbar_init();
  }
};

}  // namespace fa::cuda::sm90
