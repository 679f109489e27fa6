// Tiles of the forward kernels: the whole choice, as data. docs/design/forward.md has the
// arithmetic.
#pragma once

#include <cstdint>

namespace fa::cuda::sm80 {

struct ForwardTile {
  int width;   // head dims up to this one run on it, padded
  int rows;    // (query, head) rows of a block
  int keys;    // keys of a tile
  int warps;   // each takes rows / warps rows: 16 or 32
  int stages;  // tiles of K, and of V, in shared memory

  /** Of an SM: its registers are enough for 8 warps, whatever a kernel needs of them. */
  constexpr int blocks() const { return 8 / warps; }
};

// float16 and bfloat16, masks of intervals alone. Two accumulator tiles a warp: every byte of K and
// V that leaves shared memory feeds twice the tensor core work. The second tile of a width is for
// SMs whose shared memory does not hold 8 warps of the first.
constexpr ForwardTile kPlainTiles[] = {
    {32, 128, 128, 4, 1}, {64, 128, 112, 4, 1}, {96, 128, 64, 4, 1},  {128, 128, 64, 4, 1},
    {128, 128, 32, 4, 1}, {192, 128, 64, 8, 1}, {256, 128, 64, 8, 1}, {256, 128, 32, 8, 1},
};

// Every option, and short queries: fewer rows, more copies in flight, registers to spare. One
// stage, or more rows, where an SM of 100 KB would else hold 4 warps.
constexpr ForwardTile kFeaturedTiles[] = {
    {32, 64, 64, 4, 2},  {64, 64, 64, 4, 2},   {96, 64, 64, 4, 1},  {128, 64, 64, 4, 2},
    {128, 64, 64, 4, 1}, {192, 128, 64, 8, 1}, {256, 64, 32, 4, 1}, {256, 128, 32, 8, 1},
};

// float32: elements twice as wide, every option.
constexpr ForwardTile kFloat32Tiles[] = {
    {32, 64, 64, 4, 2},  {64, 64, 64, 4, 1},  {96, 64, 32, 4, 1},
    {128, 64, 32, 4, 1}, {192, 64, 32, 4, 1}, {256, 64, 16, 4, 1},
};

struct ForwardTiles {
  const ForwardTile* tiles;
  int count;
};

constexpr ForwardTiles forward_tiles(bool float32, bool featured) {
  if (float32) return {kFloat32Tiles, 6};
  if (featured) return {kFeaturedTiles, 8};
  return {kPlainTiles, 8};
}

/** Dynamic shared memory of a block: Q, and the stages of K and V. */
constexpr int forward_shared_bytes(const ForwardTile& t, int element_bytes) {
  return (t.rows + 2 * t.stages * t.keys) * t.width * element_bytes;
}

/**
 * Index of the tile for head dims up to 256: of the narrowest width, the first of which an SM's
 * `shared_bytes` hold all blocks that its registers do, else the last. A block takes
 * `reserved_bytes` more than it asks for.
 */
constexpr int forward_tile_index(bool float32, bool featured, int head_dim, int64_t shared_bytes,
                                 int64_t reserved_bytes) {
  const auto [tiles, count] = forward_tiles(float32, featured);
  const auto has_room = [&](const ForwardTile& t) {
    const int64_t bytes = forward_shared_bytes(t, float32 ? 4 : 2);
    return t.blocks() * (bytes + reserved_bytes) <= shared_bytes;
  };
  int i = 0;
  while (i + 1 < count && tiles[i].width < head_dim) ++i;
  while (i + 1 < count && tiles[i + 1].width == tiles[i].width && !has_room(tiles[i])) ++i;
  return i;
}

}  // namespace fa::cuda::sm80
