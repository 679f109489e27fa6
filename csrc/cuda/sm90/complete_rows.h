// Where outputs of rows go that may still change before they leave.
#pragma once

#include "cuda/device/partial_row.h"
#include "cuda/sm90/forward_traits.h"

namespace fa::cuda::sm90 {

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
  /** Where a row of a split has its partial result. */
  PTX_FN float* partial(int line) const {
    const PartialResults& to = p.splits.partial;
    return to.out + partial_row(p.attention, work, row0 + line) * to.width;
  }
  PTX_FN Row row(int line) const {
    return {work.part.alone() ? nullptr : partial(line), staged, line};
  }
};

}  // namespace fa::cuda::sm90
