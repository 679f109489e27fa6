// The query heads that share a kv head, packed as rows of one problem: row = i * pack + h, so that
// a tile reads its keys once for all of them, and causal rows of a tile stay close together.
#pragma once

#include "cuda/device/params.h"
#include "cuda/device/shared_tile.h"

namespace fa::cuda {

struct PackedRows {
  FastDivide pack;  // heads packed
  int head0;        // the first of them
  int count;        // seqlen_q * pack
  int first;        // query 0 among the packed ones of all sequences

  PTX_FN int query(int row) const { return pack.quotient(row); }
  PTX_FN int head(int row) const { return head0 + pack.remainder(row); }
  /** Rows beyond the end stand for the last one, so that whatever is looked up for them exists. */
  PTX_FN int inside(int row) const { return row < count ? row : count - 1; }

  /** Queries of rows [row0, row1). */
  PTX_FN int query_begin(int row0) const { return query(row0); }
  PTX_FN int query_end(int row1) const { return query(inside(row1 - 1)) + 1; }
};

/**
 * What a lane of a warp owns of an accumulator of 16 rows: rows g and g + 8, columns 2t and 2t + 1
 * of every 8.
 */
struct LanePosition {
  int g, t;
  PTX_FN LanePosition() {
    const int lane = this_thread() % 32;
    g = lane / 4;
    t = lane % 4;
  }
};

}  // namespace fa::cuda
