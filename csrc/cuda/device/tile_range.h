// Which tiles of keys a block of rows visits, and which of them need a mask.
#pragma once

#include "core/tile_range.h"
#include "cuda/device/packed_rows.h"
#include "cuda/device/sequence.h"

namespace fa::cuda {

/** Like BlockMaskTable::classify (core/mask.h), of heads [head, head + heads). */
PTX_FN TileKind classify_blocks(const BlockMaskParams& b, int batch, int head, int i0, int i1,
                                int j0, int j1) {
  const int32_t* const table = b.cells + batch * b.batch + head * b.head;
  bool any = false, all = true;
  for (int bq = b.block_q.quotient(i0); bq <= b.block_q.quotient(i1 - 1); ++bq) {
    for (int bk = b.block_k.quotient(j0); bk <= b.block_k.quotient(j1 - 1); ++bk) {
      const int32_t cell = ptx::ldg(table + bq * b.row + bk * b.column);
      any |= cell != 0;
      all &= cell == 1;
    }
  }
  return !any ? TileKind::kSkip : all ? TileKind::kFull : TileKind::kPartial;
}

/**
 * What hides keys from some rows of a block: the part of a mask that whole tiles can be judged by.
 */
template <bool kFeatured>
struct TileMask {
  Window window;
  const AttentionParams* p;
  int batch, head;

  /** Whether a tile that is not skipped hides pairs. */
  PTX_FN bool hides_pairs(int i0, int i1, int j0, int j1) const {
    if constexpr (kFeatured)
      return classify(i0, i1, j0, j1) != TileKind::kFull;
    else
      return j1 > window.end(i0) || j0 < window.begin(i1 - 1);
  }

  /** Queries [i0, i1) x keys [j0, j1). A dense mask may hide anything. */
  PTX_FN TileKind classify(int i0, int i1, int j0, int j1) const {
    TileKind kind = window.classify(i0, i1, j0, j1);
    if constexpr (kFeatured) {
      if (kind == TileKind::kSkip) return kind;
      if (p->block_mask.cells != nullptr) {
        const int end = j1 < window.seqlen_k ? j1 : window.seqlen_k;
        kind = both(kind, classify_blocks(p->block_mask, batch, head, i0, i1, j0, end));
      }
      if (p->mask.data != nullptr) kind = both(kind, TileKind::kPartial);
      if (is_tree(*p, window)) {
        const bool committed = j1 <= window.offset + (p->window_right < 0 ? p->window_right : 0);
        if (!committed || p->window_left < kFar) kind = both(kind, TileKind::kPartial);
      }
    }
    return kind;
  }
};

/** Tiles that hold every key that queries [i0, i1) see. */
template <int kKeys>
PTX_FN TileRange visible_tiles(const Window& window, int i0, int i1) {
  const int last = window.end(i1 - 1);
  int first = window.begin(i0);
  if (window.sink_tokens > 0) first = 0;
  return {first < last ? first / kKeys : 0, first < last ? (last + kKeys - 1) / kKeys : 0};
}

/**
 * The same of tiles of queries: [begin, end) holds every query that sees one of the keys [j0, j1).
 */
template <int kQueries>
PTX_FN TileRange visible_query_tiles(const Window& window, int j0, int j1, int seqlen_q) {
  int first = j0 - window.offset - window.right, last = j1 - window.offset + window.left;
  if (first < 0) first = 0;
  if (last > seqlen_q || j0 < window.sink_tokens) last = seqlen_q;
  return {first < last ? first / kQueries : 0, first < last ? (last + kQueries - 1) / kQueries : 0};
}

}  // namespace fa::cuda
