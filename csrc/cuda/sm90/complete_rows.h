// Where the results of rows go: softmax, and outputs that may still change before they leave.
#pragma once

#include "cuda/device/row_result.h"
#include "cuda/sm90/forward_traits.h"

namespace fa::cuda::sm90 {

PTX_FN bool is_split(const ForwardParams& p) { return p.splits.count.divisor > 1; }

/** lse of a row, or what the merge of splits needs to know of its softmax. */
PTX_FN void store_softmax(const ForwardParams& p, const ForwardWork& work, int row, float top,
                          float sum) {
  const RowScalars& lse = p.attention.lse;
  if (lse.data == nullptr) return;
  float* const to = lse.data + work.split * p.splits.row + work.sequence.q_batch * lse.batch +
                    work.rows.head(row) * lse.head +
                    (work.sequence.q_begin + work.rows.query(row)) * lse.row;
  if (is_split(p)) {
    ptx::stg(to, top);
    ptx::stg(to + p.splits.row_sums, sum);
  } else {
    ptx::stg(to, row_lse(top, sum));
  }
}

/** Where a row of a split has its partial result. */
PTX_FN float* partial_row(const ForwardParams& p, const ForwardWork& work, int row) {
  const Tensor& out = p.attention.out;
  return static_cast<float*>(out.data) + work.split * p.splits.out +
         work.sequence.q_batch * out.batch +
         (work.sequence.q_begin + work.rows.query(row)) * out.row + work.rows.head(row) * out.head;
}

/**
 * Rows of a warpgroup from row0 on that are complete, but not yet gone: staged, or those of a split
 * where they belong.
 */
template <class Traits>
struct CompleteRows {
  using Out = typename Traits::Out;
  const ForwardParams& p;
  const ForwardWork& work;
  int row0;
  uint32_t staged;

  struct Row {
    float* partial;  // null: staged
    uint32_t staged;
    int line;

    PTX_FN uint32_t element(int column) const {
      return staged + Traits::OutputTile::offset(line, column / 8) +
             static_cast<uint32_t>(column % 8 * 2);
    }
    PTX_FN float get(int column) const {
      return partial != nullptr ? ptx::ldg(partial + column)
                                : ptx::to_float(ptx::lds<Out>(element(column)));
    }
    PTX_FN void put(int column, float x) const {
      if (partial != nullptr)
        ptx::stg(partial + column, x);
      else
        ptx::sts<Out>(element(column), ptx::from_float<Out>(x));
    }
  };
  PTX_FN Row row(int line) const {
    return {is_split(p) ? partial_row(p, work, row0 + line) : nullptr, staged, line};
  }
};

}  // namespace fa::cuda::sm90
