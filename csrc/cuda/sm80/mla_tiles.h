// Tiles of the kernel of wide heads: the whole choice, as data. docs/design/mla.md has the
// arithmetic.
#pragma once

namespace fa::cuda::sm80 {

/** Head dims of K and of V up to these run on it. */
constexpr int kMlaWidth = 576, kMlaWidthV = 512;
/** Keys of a tile. */
constexpr int kMlaKeys = 32;
/** Dims of a panel (device/shared_tile.h): products leave out those of K beyond the head dim. */
constexpr int kMlaPanel = 64;

struct MlaTile {
  int rows;    // of a block: a multiple of 16
  int warps;   // of scores each has 16 rows of some keys, of the output all rows of some dims
  int blocks;  // of an SM, which registers are to allow

  constexpr int groups() const { return warps / (rows / 16); }  // of keys
  constexpr int columns() const { return kMlaWidthV / warps; }  // of a warp's output
};

// That of 16 rows fits the 99 KB of a block of sm_86, that of 64 rows the 163 KB of sm_80.
constexpr MlaTile kMlaTiles[] = {{16, 4, 2}, {64, 8, 1}};

constexpr MlaTile mla_tile(int rows) { return rows == 16 ? kMlaTiles[0] : kMlaTiles[1]; }

/**
 * Dynamic shared memory of a block: Q, two tiles of latents (or one of K and one of V), the
 * weights, and what warps tell each other of rows.
 */
constexpr int mla_shared_bytes(const MlaTile& t) {
  constexpr int kElement = 2, kFloat = 4;
  return (t.rows + 2 * kMlaKeys) * kMlaWidth * kElement + t.rows * kMlaKeys * kElement +
         t.rows * (t.groups() + 1) * kFloat;
}

}  // namespace fa::cuda::sm80
