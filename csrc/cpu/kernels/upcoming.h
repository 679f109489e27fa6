// Rows that a thread needs soon, and how it asks for them.
//
// A short sequence ends before the memory of the next one could arrive: reading Q, K and V of 128
// tokens takes a fifth of the time of their products where they come from memory. So blocks of
// little work follow each other on one thread, and while the products of one run, the rows of the
// next are fetched into the second-level cache. A core drops prefetches beyond the two dozen lines
// it can wait for, so every register tile asks for a few rows.
#pragma once

#include "cpu/kernels/rows.h"

namespace fa::cpu::FA_ISA {
namespace {

class Upcoming {
 public:
  /** Nothing. */
  Upcoming() = default;

  /**
   * The rows that block `a` writes, then those that the next one reads. `tiles`: how often `fetch`
   * is going to be called.
   */
  Upcoming(const ForwardArgs& a, int64_t tiles) {
    expect_queries(a, a.out, a.out_head_stride, a.head_dim_v);
    written_ = count_;
    if (a.next != nullptr) {
      const ForwardArgs& next = *a.next;
      expect_queries(next, next.q, next.q_head_stride, next.head_dim);
      if (next.pages == nullptr) {
        expect(next.k, next.key_begin, next.key_end, next.head_dim);
        expect(next.v, next.key_begin, next.key_end, next.head_dim_v);
      }
    }
    int64_t rows = 0;
    for (int i = 0; i < count_; ++i) rows += runs_[i].rows;
    rows_per_tile_ = static_cast<int>((rows + tiles - 1) / larger(tiles, 1));
  }

  /** Called before each register tile of a product. */
  FA_ALWAYS_INLINE void fetch() {
    for (int i = 0; i < rows_per_tile_ && at_ < count_; ++i) {
      const Run& run = runs_[at_];
      if (at_ < written_)
        prefetch_row<2, true>(run.first + row_ * run.stride, run.bytes);
      else
        prefetch_row<2>(run.first + row_ * run.stride, run.bytes);
      if (++row_ < run.rows) continue;
      row_ = 0;
      ++at_;
    }
  }

 private:
  struct Run {
    const char* first;
    int64_t stride, rows, bytes;
  };

  void expect(const Rows& rows, int64_t begin, int64_t end, int dim) {
    const int64_t size = element_size(rows.dtype);
    if (begin >= end || rows.dim_stride != 1 || (end - begin) * dim * size > kMostBytes) return;
    runs_[count_++] = {rows.base + begin * rows.row_stride * size, rows.row_stride * size,
                       end - begin, dim * size};
  }

  /** Packed rows of a group lie side by side, or are not asked for. */
  void expect_queries(const ForwardArgs& a, const Rows& rows, int64_t head_stride, int dim) {
    if (a.group > 1 && head_stride != dim) return;
    expect(rows, a.row_begin / a.group, (a.row_end - 1) / a.group + 1, dim * a.group);
  }

  /** What lies longer in the second-level cache than it takes to come pushes others out. */
  static constexpr int64_t kMostBytes = 128 << 10;
  static constexpr int kMostRuns = 4;  // out; Q, K and V of the next block
  Run runs_[kMostRuns];
  int count_ = 0, written_ = 0, rows_per_tile_ = 0;
  int at_ = 0;
  int64_t row_ = 0;  // of runs_[at_]
};

}  // namespace
}  // namespace fa::cpu::FA_ISA
