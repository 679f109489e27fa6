// Tiles of the decode kernel: the whole choice, as data. docs/design/decode.md has the arithmetic.
#pragma once

namespace fa::cuda::sm80 {

struct DecodeTile {
  int width;   // head dims up to this one run on it, padded
  int keys;    // of a warp's tile: a multiple of 16
  int blocks;  // of an SM, which registers are to allow
};

/** Query rows of a block: one tile of mma.m16n8k16. */
constexpr int kDecodeRows = 16;
/** Each has tiles of keys of its own. */
constexpr int kDecodeWarps = 4;

constexpr DecodeTile kDecodeTiles[] = {
    {32, 32, 3}, {64, 32, 3}, {96, 32, 3}, {128, 32, 3}, {192, 16, 2}, {256, 16, 2},
};

/** The narrowest tile that holds `head_dim`; its width is 0 when there is none. */
constexpr DecodeTile decode_tile(int head_dim) {
  for (const DecodeTile& tile : kDecodeTiles)
    if (head_dim <= tile.width) return tile;
  return {};
}

/** Dynamic shared memory of a block: Q, and every warp's K and V. Elements have two bytes. */
constexpr int decode_shared_bytes(const DecodeTile& t) {
  return (kDecodeRows + 2 * kDecodeWarps * t.keys) * t.width * 2;
}

}  // namespace fa::cuda::sm80
