// Tiles of the forward kernels of sm_90a: the whole choice, as data.
// docs/design/forward-hopper.md has the arithmetic.
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

// Masks of intervals alone. Scores, weights and output of a row live in the registers of four
// threads: 3/4 keys + 1/2 width_v a thread, of 240 with two consumers and 160 with three.
constexpr ForwardTile kPlainTiles[] = {
    {64, 64, 3, 128, 3},   {96, 96, 2, 128, 2},  {128, 128, 2, 128, 2},
    {192, 128, 2, 128, 2}, {192, 192, 2, 96, 2}, {256, 256, 2, 80, 2},
};

// Every option: fewer keys, for the registers that options take.
constexpr ForwardTile kFeaturedTiles[] = {
    {64, 64, 2, 96, 3},   {96, 96, 2, 96, 2},   {128, 128, 2, 96, 2},
    {192, 128, 2, 80, 2}, {192, 192, 2, 64, 2}, {256, 256, 2, 32, 3},
};

// float8 e4m3, masks of intervals alone. Tiles of keys lie within a block that shares a scale;
// weights take half the registers, V lies in shared memory twice.
constexpr ForwardTile kFp8Tiles[] = {
    {64, 64, 3, 128, 3},
    {128, 128, 2, 128, 3},
    {256, 256, 2, 64, 2},
};

enum class ForwardVariant { kPlain, kFeatured, kFp8 };

template <int kTiles>
constexpr ForwardTile narrowest(const ForwardTile (&tiles)[kTiles], int head_dim, int head_dim_v) {
  for (const ForwardTile& tile : tiles)
    if (head_dim <= tile.width && head_dim_v <= tile.width_v) return tile;
  return {};
}

/** The narrowest tile that holds the head dims; its width is 0 when there is none. */
constexpr ForwardTile forward_tile(ForwardVariant variant, int head_dim, int head_dim_v) {
  switch (variant) {
    case ForwardVariant::kPlain: return narrowest(kPlainTiles, head_dim, head_dim_v);
    case ForwardVariant::kFeatured: return narrowest(kFeaturedTiles, head_dim, head_dim_v);
    case ForwardVariant::kFp8: return narrowest(kFp8Tiles, head_dim, head_dim_v);
  }
  return {};
}

constexpr int kMaxSharedBytes = 227 * 1024;

/** Bytes of `rows` rows of `width` elements, in panels of 128 bytes. */
constexpr int panel_bytes(int rows, int width, int element_bytes) {
  return (width * element_bytes + 127) / 128 * rows * 128;
}

/** Q, and the stages of K and V; of 8-bit V transposed, too. */
constexpr int forward_operand_bytes(const ForwardTile& t, int element_bytes) {
  const int stage = panel_bytes(t.keys, t.width, element_bytes) +
                    panel_bytes(t.keys, t.width_v, element_bytes) +
                    (element_bytes == 1 ? panel_bytes(t.width_v, t.keys, 1) : 0);
  return panel_bytes(t.rows(), t.width, element_bytes) + t.stages * stage;
}

/** The output, 16 bits an element, on its way out. */
constexpr int forward_output_bytes(const ForwardTile& t) {
  return panel_bytes(t.rows(), t.width_v, 2);
}

constexpr int kBarriersBytes = 1024;  // and flags

/**
 * Whether the output has memory of its own; else it takes that of Q, whose next tile then waits for
 * it.
 */
constexpr bool forward_stages_apart(const ForwardTile& t, int element_bytes) {
  return forward_operand_bytes(t, element_bytes) + forward_output_bytes(t) + kBarriersBytes <=
         kMaxSharedBytes;
}

/** Dynamic shared memory of a block. */
constexpr int forward_shared_bytes(const ForwardTile& t, int element_bytes) {
  return forward_operand_bytes(t, element_bytes) +
         (forward_stages_apart(t, element_bytes) ? forward_output_bytes(t) : 0) + kBarriersBytes;
}

}  // namespace fa::cuda::sm90
