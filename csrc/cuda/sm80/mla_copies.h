// Copies of rows of wide heads into shared tiles: a thread copies a chunk of every panel of its
// rows.
#pragma once

#include "cuda/device/load_tile.h"
#include "cuda/sm80/forward_block.h"
#include "cuda/sm80/mla_traits.h"

namespace fa::cuda::sm80 {

constexpr int kMlaPanelChunks = kMlaPanel * 2 / kChunkBytes;

/**
 * Line `line` of a tile from `row`, zeros where that is not there and for dims from `columns` on:
 * the panels from kFirst to kLast. Asynchronous.
 */
template <class Tile, int kFirst = 0, int kLast = Tile::kChunks / kMlaPanelChunks, class T>
PTX_FN void load_wide_row(uint32_t tile, int line, const T* row, bool there, int columns) {
  const int chunk = this_thread() % kMlaPanelChunks;
  const char* const from = reinterpret_cast<const char*>(row) + chunk * kChunkBytes;
  const uint32_t to = tile + Tile::offset(line, chunk);
#pragma unroll
  for (int c = kFirst * kMlaPanelChunks; c < kLast * kMlaPanelChunks; c += kMlaPanelChunks)
    ptx::cp_async16(Tile::step(to, 0, c), from + c * kChunkBytes,
                    there && (chunk + c) * Tile::kChunkElements < columns);
}

/** The block's rows of q. */
template <class T, class Traits>
PTX_FN void load_wide_queries(uint32_t q_tile, const AttentionParams& a,
                              const ForwardBlock& block) {
  constexpr int kRowsAtOnce = Traits::kThreads / kMlaPanelChunks;
#pragma unroll 1
  for (int line = this_thread() / kMlaPanelChunks; line < Traits::kTile.rows; line += kRowsAtOnce) {
    const int row = block.row0 + line;
    load_wide_row<typename Traits::RowTile>(q_tile, line,
                                            packed_row<T>(a.q, block, block.rows.inside(row)),
                                            row < block.rows.count, a.head_dim);
  }
}

/** The rows of a tile of keys, or of values, that a thread copies, in global memory. */
template <class T, class Traits>
struct TileSource {
  static constexpr int kRowsAtOnce = Traits::kThreads / kMlaPanelChunks;
  using KeyTile = typename Traits::KeyTile;
  static constexpr int kPanels = KeyTile::kChunks / kMlaPanelChunks;
  static constexpr int kRows = KeyTile::kRows / kRowsAtOnce;
  const T* row[kRows];

  /** Of the keys from `key0` on; the last one in place of those that are not there. */
  PTX_FN void find(const KeyRows<T, true>& keys, int key0, int seqlen_k) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int key = key0 + r * kRowsAtOnce + this_thread() / kMlaPanelChunks;
      row[r] = keys.row(key < seqlen_k ? key : seqlen_k - 1);
    }
  }

  /** Copies the first `keys` of them: the panels from kFirst to kLast. */
  template <int kFirst = 0, int kLast = kPanels>
  PTX_FN void load(uint32_t tile, int keys, int columns) const {
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const int key = r * kRowsAtOnce + this_thread() / kMlaPanelChunks;
      load_wide_row<KeyTile, kFirst, kLast>(tile, key, row[r], key < keys, columns);
    }
  }
};

}  // namespace fa::cuda::sm80
