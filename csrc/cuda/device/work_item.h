// The items of a ragged call, dealt out on the host from the lengths of its sequences, as kernels
// read them: runtime/work_list.h makes them.
#pragma once

#include <cstdint>

#include "core/inline.h"
#include "cuda/device/fast_divide.h"

namespace fa::cuda {

/** Rows of a partial result: a query's heads lie side by side. */
using PartialRow = int32_t;

/** A tile of rows of one sequence and a range of the keys it sees, for every block of heads. */
struct alignas(16) WorkItem {
  int32_t batch, m_block;
  uint32_t range;  // see below
  // Of query 0's head 0 of the whole tensor q, had it a row; with one split: nothing.
  PartialRow partial;

  /** Stands for no work: what a list of fixed capacity is filled up with. */
  static WorkItem none() { return {-1, 0, 0, 0}; }

  static constexpr int kBits = 10;  // of 256 splits

  /**
   * `split` of the `parts` that the keys of the tile are cut into. Other tiles of the sequence may
   * be cut into more, `splits` at the most.
   */
  static uint32_t pack(int split, int parts, int splits) {
    return static_cast<uint32_t>(split | parts << kBits | splits << 2 * kBits);
  }
  FA_INLINE int split() const { return static_cast<int>(range & ((1u << kBits) - 1)); }
  FA_INLINE int parts() const { return static_cast<int>(range >> kBits & ((1u << kBits) - 1)); }
  FA_INLINE int splits() const { return static_cast<int>(range >> 2 * kBits); }
};

/** A query whose splits are to be merged. */
struct alignas(16) MergeItem {
  int32_t query;  // of axes 0 and 1 of q
  int32_t splits;
  PartialRow partial;  // of its head 0 in split 0
  int32_t stride;      // rows from one split to the next

  static MergeItem none() { return {-1, 0, 0, 0}; }
};

/** Partial results of splits, in float32. */
struct PartialResults {
  float* out;    // [rows, width]: complete, but for the other splits
  int width;     // a multiple of 4
  float* tops;   // [rows]: greatest scores, relative to which
  int64_t sums;  // sums are, so many elements behind the tops
};

/** How the tiles of rows and ranges of keys of a launch are dealt out. */
struct SplitParams {
  const WorkItem* items;  // of a ragged call; null: all sequences are alike, and their
  FastDivide count;       // splits, whose partial results lie
  int stride;             // rows apart
  PartialResults partial;
};

/** Which of the keys that a tile of rows sees are worked on, and where the result goes. */
struct WorkSplit {
  int split, parts, splits;  // see WorkItem
  PartialRow row0;

  WorkSplit() = default;
  FA_INLINE explicit WorkSplit(const WorkItem& item)
      : split(item.split()), parts(item.parts()), splits(item.splits()), row0(item.partial) {}
  FA_INLINE WorkSplit(const SplitParams& p, int index)
      : split(index),
        parts(static_cast<int>(p.count.divisor)),
        splits(parts),
        row0(index * p.stride) {}

  /** Whether the result is complete. */
  FA_INLINE bool alone() const { return splits == 1; }
};

}  // namespace fa::cuda
