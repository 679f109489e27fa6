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

// Keys and values in 8 bits: a multiple of 32 keys, whose scales the lanes share out.
constexpr DecodeTile kDecodeCodeTiles[] = {{64, 64, 3}, {128, 32, 3}, {256, 32, 2}};

/** The narrowest tile that holds `head_dim`; its width is 0 when there is none. */
constexpr DecodeTile decode_tile(bool codes, int head_dim) {
  const DecodeTile* tiles = codes ? kDecodeCodeTiles : kDecodeTiles;
  const int count = codes ? 3 : 6;
  for (int i = 0; i < count; ++i)
    if (head_dim <= tiles[i].width) return tiles[i];
  return {};
}

/** Dynamic shared memory of a block: Q, and every warp's K and V; with codes, scales of all. */
constexpr int decode_shared_bytes(bool codes, const DecodeTile& t) {
  constexpr int kScaleBytes = 4;
  const int queries = kDecodeRows * t.width * 2, keys = 2 * kDecodeWarps * t.keys;
  return queries + keys * t.width * (codes ? 1 : 2) +
         (codes ? (keys + kDecodeRows) * kScaleBytes : 0);
}

}  // namespace fa::cuda::sm80
