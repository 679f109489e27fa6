// Tiles of the forward kernels of sm_90a: the whole choice, as data. docs/kernels.md has the arithmetic.
#pragma once

namespace fa::cuda::sm90 {

struct ForwardTile {
  int width, width_v;  // head dims of Q K^T and of P V up to these run on it, padded
  int consumers;       // warpgroups that compute, 64 rows each; one more loads
  int keys;            // keys of a tile
  int stages;          // tiles of K, and of V, in shared memory

  constexpr int rows() const { return 64 * consumers; }
  constexpr int threads() const { return 128 * (consumers + 1); }
};

// Masks of intervals alone. Scores, weights and output of a row live in the registers of four threads:
// 3/4 keys + 1/2 width_v a thread, of 240 with two consumers and 160 with three.
constexpr ForwardTile kPlainTiles[] = {
    {64, 64, 3, 128, 3},   {96, 96, 2, 128, 2},  {128, 128, 2, 128, 2},
    {192, 128, 2, 128, 2}, {192, 192, 2, 96, 2}, {256, 256, 2, 80, 2},
};

// Every option: fewer keys, for the registers that options take.
constexpr ForwardTile kFeaturedTiles[] = {
    {64, 64, 2, 96, 3},   {96, 96, 2, 96, 2},   {128, 128, 2, 96, 2},
    {192, 128, 2, 80, 2}, {192, 192, 2, 64, 2}, {256, 256, 2, 32, 3},
};

constexpr int kForwardTiles = 6;

/** The narrowest tile that holds the head dims; its width is 0 when there is none. */
constexpr ForwardTile forward_tile(bool featured, int head_dim, int head_dim_v) {
  for (const ForwardTile& tile : featured ? kFeaturedTiles : kPlainTiles)
    if (head_dim <= tile.width && head_dim_v <= tile.width_v) return tile;
  return {};
}

constexpr int kMaxSharedBytes = 227 * 1024;

/** Bytes of `rows` rows of 16-bit elements, in panels of 64 columns. */
constexpr int panel_bytes(int rows, int width) { return (width + 63) / 64 * rows * 128; }

/** Q, the stages of K and V, and what keeps them apart (forward.h, SharedLayout). */
constexpr int forward_operand_bytes(const ForwardTile& t) {
  return panel_bytes(t.rows(), t.width) +
         t.stages * (panel_bytes(t.keys, t.width) + panel_bytes(t.keys, t.width_v));
}

/** Whether the output has memory of its own on its way out; else it takes that of Q, whose next tile then waits for it. */
constexpr bool forward_stages_apart(const ForwardTile& t) {
  return forward_operand_bytes(t) + panel_bytes(t.rows(), t.width_v) + 1024 <= kMaxSharedBytes;
}

/** Dynamic shared memory of a block; the last kilobyte holds barriers. */
constexpr int forward_shared_bytes(const ForwardTile& t) {
  return forward_operand_bytes(t) +
         (forward_stages_apart(t) ? panel_bytes(t.rows(), t.width_v) : 0) + 1024;
}

}  // namespace fa::cuda::sm90
