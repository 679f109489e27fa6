// Which keys a query sees, and whether a tile of queries x keys needs a mask at all. Only partial
// tiles pay for masks; skipped ones are never read.
#pragma once

#include <cstdint>

#include "core/inline.h"

namespace fa {

/** Positions of queries and keys are int32 in kernels; a window's bounds may be added to them. */
constexpr int kMaxPosition = (1 << 30) - 1;

/** A window's bound that no position reaches from any other. */
constexpr int kFar = 1 << 30;

enum class TileKind { kSkip, kPartial, kFull };

/**
 * What causal, window, sink tokens and the sequence's length make of a row: an interval of keys,
 * and the first few. With Int = int32_t, bounds must lie within 2^30 of 0, which no sequence is
 * long enough to tell from unbounded.
 */
template <typename Int>
struct BasicWindowMask {
  Int left, right;  // kept on either side of the diagonal; kUnbounded when all are
  Int sink_tokens;  // the first keys, exempt from the left bound (StreamingLLM, Xiao et al. 2023)
  Int seqlen_k;
  Int offset;  // position of query 0 among the keys

  /** First key that query i sees by the window alone. */
  FA_INLINE Int begin(Int i) const {
    const Int first = i + offset - left;
    return first < 0 ? 0 : first;
  }
  /** One past the last key that query i sees; at least 0. */
  FA_INLINE Int end(Int i) const {
    const Int last = i + offset + right + 1;
    return last < 0 ? 0 : (last < seqlen_k ? last : seqlen_k);
  }

  /**
   * Queries [i0, i1) x keys [j0, j1). Both bounds grow with i, so the first and last row decide.
   */
  FA_INLINE TileKind classify(Int i0, Int i1, Int j0, Int j1) const {
    if (j0 >= end(i1 - 1) || (j1 <= begin(i0) && j0 >= sink_tokens)) return TileKind::kSkip;
    return shows_all(i0, i1, j0, j1) ? TileKind::kFull : TileKind::kPartial;
  }
  /** Whether every pair of the tile is visible. */
  FA_INLINE bool shows_all(Int i0, Int i1, Int j0, Int j1) const {
    return j1 <= end(i0) && (j0 >= begin(i1 - 1) || j1 <= sink_tokens);
  }

  /** Visible keys of query i. */
  FA_INLINE Int count(Int i) const {
    const Int e = end(i);
    const Int b = begin(i) < e ? begin(i) : e;
    const Int sinks = sink_tokens < b ? sink_tokens : b;
    return e - b + sinks;
  }
};

using WindowMask = BasicWindowMask<int64_t>;

/**
 * One (batch, head)'s table of a block mask: 0 = skip, 1 = full, n >= 2 = partial with bitmap n -
 * 2.
 */
struct BlockMaskTable {
  const int32_t* cells;  // null: no block mask
  int64_t row_stride, column_stride;
  int64_t block_q, block_k;

  FA_INLINE int32_t cell(int64_t bq, int64_t bk) const {
    return cells[bq * row_stride + bk * column_stride];
  }

  FA_INLINE TileKind classify(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    bool any = false, all = true;
    for (int64_t bq = i0 / block_q; bq <= (i1 - 1) / block_q; ++bq) {
      for (int64_t bk = j0 / block_k; bk <= (j1 - 1) / block_k; ++bk) {
        const int32_t value = cell(bq, bk);
        any |= value != 0;
        all &= value == 1;
      }
    }
    return !any ? TileKind::kSkip : all ? TileKind::kFull : TileKind::kPartial;
  }
};

static FA_INLINE TileKind both(TileKind a, TileKind b) {
  if (a == TileKind::kSkip || b == TileKind::kSkip) return TileKind::kSkip;
  return a == TileKind::kFull && b == TileKind::kFull ? TileKind::kFull : TileKind::kPartial;
}

}  // namespace fa
