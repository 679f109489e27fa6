// What a block of the forward kernels works on: its tile of rows, and its tiles of keys.
#pragma once

#include "cuda/device/overlap.h"
#include "cuda/device/partial_row.h"
#include "cuda/device/shared_tile.h"
#include "cuda/device/tile_range.h"
#include "cuda/device/work_lookup.h"
#include "cuda/sm80/forward_params.h"
#include "cuda/sm80/forward_tiles.h"

namespace fa::cuda::sm80 {

/** The part of the problem that one block works on. */
struct ForwardBlock {
  int batch, kv_head, row0;
  WorkSplit part;
  SequenceRows sequence;
  PackedRows rows;

  PTX_FN ForwardBlock(const ForwardParams& p, int index, int tile_rows) {
    const AttentionParams& a = p.attention;
    int head_block, m_block;
    if (p.splits.items != nullptr) {
      const WorkItem item = item_of(p.splits, p.head_blocks, index, head_block);
      batch = item.batch;
      m_block = item.m_block;
      part = WorkSplit(item);
    } else {
      // Blocks of a head lie side by side, for their keys to stay in L2, the longest causal rows
      // first.
      int rest = p.m_blocks.quotient(index);
      const int m_blocks = static_cast<int>(p.m_blocks.divisor);
      m_block = m_blocks - 1 - (index - rest * m_blocks);
      part = WorkSplit(p.splits, p.splits.count.remainder(rest));
      rest = p.splits.count.quotient(rest);
      head_block = p.head_blocks.remainder(rest);
      batch = p.head_blocks.quotient(rest);
    }
    row0 = m_block * tile_rows;
    sequence = locate_sequence(a, batch);
    const int head0 = head_block * static_cast<int>(p.pack.divisor);
    kv_head = a.group.quotient(head0);
    rows = {p.pack, head0, sequence.seqlen_q * static_cast<int>(p.pack.divisor), sequence.q_begin};
  }
};

/**
 * The running block's part once more: worked out anew after the loop, so that the loop need not
 * keep it in registers.
 */
PTX_FN ForwardBlock block_again(const ForwardParams& p, int tile_rows) {
  return {p, ptx::opaque(static_cast<int>(blockIdx.x)), tile_rows};
}

template <class T, bool kFeatured, int kIndex>
struct ForwardTraits {
  static constexpr ForwardTile kTile = forward_tiles(sizeof(T) == 4, kFeatured).tiles[kIndex];
  static constexpr int kWidth = kTile.width;
  static constexpr int kThreads = kTile.warps * 32;
  static constexpr int kRowTiles = kTile.rows / kTile.warps / 16;
  static constexpr int kKeyTiles = kTile.keys / 8;
  static constexpr int kColumnTiles = kWidth / 8;
  static constexpr int kStages = kTile.stages;
  static constexpr bool kPaged = kFeatured, kConverts = kFeatured;
  using RowTile = SharedTile<T, kTile.rows, kWidth>;
  using KeyTile = SharedTile<T, kTile.keys, kWidth>;
  using Scores = float[kRowTiles][kKeyTiles][4];
  using Output = float[kRowTiles][kColumnTiles][4];
};

/** First element of a packed row of q or out, whose elements are of type U. */
template <class U>
PTX_FN U* packed_row(const Tensor& tensor, const ForwardBlock& block, int row) {
  const int64_t i = block.sequence.q_begin + block.rows.query(row);
  return static_cast<U*>(tensor.data) + block.sequence.q_batch * tensor.batch + i * tensor.row +
         block.rows.head(row) * tensor.head;
}

/** The same of the float32 results of a block, partial ones or not. */
PTX_FN float* float32_row(const ForwardParams& p, const ForwardBlock& block, int row) {
  if (block.part.alone()) return packed_row<float>(p.attention.out, block, row);
  return p.splits.partial.out + partial_row(p.attention, block, row) * p.splits.partial.width;
}

/** The tiles of keys that a block visits: those that its rows see, of its split. */
template <class Traits>
PTX_FN TileRange n_blocks_of(const ForwardBlock& block, const Window& window) {
  return visible_tiles<Traits::kTile.keys>(window, block.rows.query_begin(block.row0),
                                           block.rows.query_end(block.row0 + Traits::kTile.rows))
      .split(block.part.split, block.part.parts);
}

}  // namespace fa::cuda::sm80
