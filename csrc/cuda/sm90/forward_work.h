// What the blocks of the forward pass work on, and in which order. Blocks are persistent, as many
// as there are SMs, and take tiles as they come to need them.
#pragma once

#include "cuda/device/tile_range.h"
#include "cuda/device/work_lookup.h"
#include "cuda/sm90/forward_params.h"

namespace fa::cuda::sm90 {

/**
 * One thread of a block: the next tile, in the order of their numbers; from p.tiles on there are no
 * more. A block begins with the tile of its own number, and the counter counts the others. Every
 * block draws once for each tile that it works on, so there are p.tiles draws: the last one takes
 * the counter back to 0, where the next launch expects it.
 */
PTX_FN int draw_tile(const ForwardParams& p) {
  return static_cast<int>(gridDim.x) + ptx::atomic_count(p.drawn, p.tiles - 1);
}

/** A tile of rows of one block of heads, and one split of the keys that it sees. */
struct ForwardWork {
  int batch, head_block, row0;
  WorkSplit part;
  SequenceRows sequence;
  PackedRows rows;

  PTX_FN ForwardWork(const ForwardParams& p, int index, int tile_rows) {
    int m_block;
    if (p.splits.items != nullptr) {
      const WorkItem item = item_of(p.splits, p.head_blocks, index, head_block);
      batch = item.batch;
      m_block = item.m_block;
      part = WorkSplit(item);
    } else {
      // The longest causal rows come first, those of a section's heads side by side so that their
      // keys meet in L2, and the splits of a tile, which are equally long, beside one another.
      const int of_splits = p.splits.count.quotient(index);
      part = WorkSplit(p.splits, p.splits.count.remainder(index));
      const int rest = p.section.quotient(of_splits);
      const int section = p.m_blocks.quotient(rest);
      const int m_blocks = static_cast<int>(p.m_blocks.divisor);
      m_block = m_blocks - 1 - (rest - section * m_blocks);
      const int of_batches =
          section * static_cast<int>(p.section.divisor) + p.section.remainder(of_splits);
      batch = p.head_blocks.quotient(of_batches);
      head_block = p.head_blocks.remainder(of_batches);
    }
    row0 = m_block * tile_rows;
    sequence = locate_sequence(p.attention, batch);
    const int pack = static_cast<int>(p.pack.divisor);
    rows = {p.pack, head_block * pack, sequence.seqlen_q * pack, sequence.q_begin};
  }
};

/**
 * The tiles of keys that a tile of rows sees, the last one first: masked tiles come before the
 * others.
 */
template <bool kFeatured, int kRows, int kKeys>
struct KeyWalk {
  TileMask<kFeatured> mask;
  int i0, i1;  // queries
  int n_block_min, n_block;

  PTX_FN KeyWalk(const ForwardParams& p, const ForwardWork& work)
      : mask{window_or_tree_of<kFeatured>(p.attention, work.sequence), &p.attention, work.batch,
             work.rows.head0} {
    i0 = work.rows.query_begin(work.row0);
    i1 = work.rows.query_end(work.row0 + kRows);
    TileRange range = visible_tiles<kKeys>(mask.window, i0, i1);
    if (work.part.parts > 1) range = range.split(work.part.split, work.part.parts);
    n_block_min = range.begin;
    n_block = range.end;
    advance();
  }

  PTX_FN bool more() const { return n_block >= n_block_min; }
  PTX_FN void advance() {
    do --n_block;
    while (kFeatured && n_block >= n_block_min &&
           mask.classify(i0, i1, key0(), key0() + kKeys) == TileKind::kSkip);
  }
  PTX_FN int key0() const { return n_block * kKeys; }
  /** Whether some row of the tile does not see some of the keys. */
  PTX_FN bool hides_pairs() const { return mask.hides_pairs(i0, i1, key0(), key0() + kKeys); }
};

}  // namespace fa::cuda::sm90
