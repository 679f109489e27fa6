// Tiles of the forward kernels: the whole choice, as data. docs/design/forward.md has the
// arithmetic.
#pragma once

namespace fa::cuda::sm80 {

struct ForwardTile {
  int width;   // head dims up to this one run on it, padded
  int rows;    // (query, head) rows of a block
  int keys;    // keys of a tile
  int warps;   // each takes rows / warps rows: 16 or 32
  int stages;  // tiles of K, and of V, in shared memory
};

// float16 and bfloat16, masks of intervals alone. Two accumulator tiles a warp: every byte of K and
// V that leaves shared memory feeds twice the tensor core work.
constexpr ForwardTile kPlainTiles[] = {
    {32, 128, 128, 4, 1}, {64, 128, 112, 4, 1}, {96, 128, 64, 4, 1},
    {128, 128, 64, 4, 1}, {192, 128, 64, 8, 1}, {256, 128, 64, 8, 1},
};

// Every option, and short queries: fewer rows, more copies in flight, registers to spare.
constexpr ForwardTile kFeaturedTiles[] = {
    {32, 64, 64, 4, 2},  {64, 64, 64, 4, 2},  {96, 64, 64, 4, 2},
    {128, 64, 64, 4, 2}, {192, 64, 64, 4, 1}, {256, 64, 32, 4, 1},
};

// float32: elements twice as wide, every option.
constexpr ForwardTile kFloat32Tiles[] = {
    {32, 64, 64, 4, 2},  {64, 64, 64, 4, 1},  {96, 64, 32, 4, 1},
    {128, 64, 32, 4, 1}, {192, 64, 32, 4, 1}, {256, 64, 16, 4, 1},
};

constexpr int kWidths = 6;

/** The narrowest tile that holds `head_dim`; its width is 0 when there is none. */
constexpr ForwardTile forward_tile(bool float32, bool featured, int head_dim) {
  const ForwardTile* tiles = float32 ? kFloat32Tiles : featured ? kFeaturedTiles : kPlainTiles;
  for (int i = 0; i < kWidths; ++i)
    if (head_dim <= tiles[i].width) return tiles[i];
  return {};
}

/** Dynamic shared memory of a block: Q, and the stages of K and V. */
constexpr int forward_shared_bytes(const ForwardTile& t, int element_bytes) {
  return (t.rows + 2 * t.stages * t.keys) * t.width * element_bytes;
}

}  // namespace fa::cuda::sm80
