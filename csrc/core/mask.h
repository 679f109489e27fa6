// Which keys a query sees, and whether a tile of queries x keys needs a mask at all. Only partial
// tiles pay for masks; skipped ones are never read.
#pragma once

#include <cstdint>

#include "core/inline.h"

namespace fa {

enum class TileKind { kSkip, kPartial, kFull };

/** What causal, window, sink tokens and the sequence's length make of a row: an interval of keys, and the first few. */
struct WindowMask {
  int64_t left, right;  // kept on either side of the diagonal; kUnbounded when all are
  int64_t
      sink_tokens;  // the first keys, exempt from the left bound (StreamingLLM, Xiao et al. 2023)
  int64_t seqlen_k;
  int64_t offset;  // seqlen_k - seqlen_q

  /** First key that query i sees by the window alone. */
  FA_INLINE int64_t begin(int64_t i) const {
    const int64_t first = i + offset - left;
    return first < 0 ? 0 : first;
  }
  /** One past the last key that query i sees; at least 0. */
  FA_INLINE int64_t end(int64_t i) const {
    const int64_t last = i + offset + right + 1;
    return last < 0 ? 0 : (last < seqlen_k ? last : seqlen_k);
  }

  /** Queries [i0, i1) x keys [j0, j1). Both bounds grow with i, so the first and last row decide. */
  FA_INLINE TileKind classify(int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    const int64_t sinks = sink_tokens;
    if (j0 >= end(i1 - 1) || (j1 <= begin(i0) && j0 >= sinks)) return TileKind::kSkip;
    if (j1 <= end(i0) && (j0 >= begin(i1 - 1) || j1 <= sinks)) return TileKind::kFull;
    return TileKind::kPartial;
  }

  /** Visible keys of query i. */
  FA_INLINE int64_t count(int64_t i) const {
    const int64_t e = end(i);
    const int64_t b = begin(i) < e ? begin(i) : e;
    const int64_t sinks = sink_tokens < b ? sink_tokens : b;
    return e - b + sinks;
  }
};

/** One (batch, head)'s table of a block mask: 0 = skip, 1 = full, n >= 2 = partial with bitmap n - 2. */
struct BlockTable {
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
