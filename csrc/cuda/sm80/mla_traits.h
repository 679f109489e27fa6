// What the kernel of wide heads is of one dtype and tile.
#pragma once

#include "cuda/device/shared_tile.h"
#include "cuda/sm80/forward_tiles.h"
#include "cuda/sm80/mla_tiles.h"

namespace fa::cuda::sm80 {

template <class T, int kTileRows>
struct MlaTraits {
  static_assert(sizeof(T) == 2);
  static constexpr MlaTile kMla = mla_tile(kTileRows);
  static constexpr ForwardTile kTile = {kMlaWidth, kTileRows, kMlaKeys, kMla.warps, 2};
  static constexpr int kThreads = kMla.warps * 32;
  static constexpr int kGroups = kMla.groups();
  static constexpr int kGroupKeys = kMlaKeys / kGroups;
  static constexpr int kKeyTiles = kGroupKeys / 8;
  static constexpr int kOutputTiles = kTileRows / 16;
  static constexpr int kColumns = kMla.columns();
  static constexpr int kColumnTiles = kColumns / 8;
  using RowTile = SharedTile<T, kTileRows, kMlaWidth>;
  using KeyTile = SharedTile<T, kMlaKeys, kMlaWidth>;
  using ValueTile = SharedTile<T, kMlaKeys, kMlaWidthV>;  // the first panels of a KeyTile
  using WeightTile = SharedTile<T, kTileRows, kMlaKeys>;
  using Scores = float[1][kKeyTiles][4];
  using Output = float[kOutputTiles][kColumnTiles][4];

  static constexpr int kFloatBytes = sizeof(float);
  static constexpr int kWeights = RowTile::kBytes + 2 * KeyTile::kBytes;  // where they lie
  static constexpr int kRowStates = kWeights + WeightTile::kBytes;
  static constexpr int kFactors = kRowStates + kGroups * kTileRows * kFloatBytes;
  static_assert(kFactors + kTileRows * kFloatBytes == mla_shared_bytes(kMla));
};

/** The part of a block's work that falls to a warp: rows and keys of scores, dims of the output. */
template <class Traits>
struct WarpPart {
  int row0, group, key0, column0;

  PTX_FN WarpPart() {
    const int warp = this_thread() / 32;
    row0 = warp % Traits::kOutputTiles * 16;
    group = warp / Traits::kOutputTiles;
    key0 = group * Traits::kGroupKeys;
    column0 = warp * Traits::kColumns;
  }
};

}  // namespace fa::cuda::sm80
