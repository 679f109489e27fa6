// Where the partial results of a tile's rows go.
#pragma once

#include "cuda/device/packed_rows.h"
#include "cuda/device/row_result.h"
#include "cuda/device/sequence.h"
#include "cuda/device/work_item.h"

namespace fa::cuda {

/** Of a packed row of `work`, which has a sequence, rows and a part of the keys. */
template <class Work>
PTX_FN int64_t partial_row(const AttentionParams& a, const Work& work, int row) {
  const SequenceRows& s = work.sequence;
  const int query = s.q_batch * a.seqlen_q + s.q_begin + work.rows.query(row);
  return work.part.row0 + int64_t{query} * a.heads + work.rows.head(row);
}

/** lse of a row, or what the merge of splits needs to know of its softmax. */
template <class Work>
PTX_FN void store_softmax(const AttentionParams& a, const PartialResults& partial, const Work& work,
                          int row, float top, float sum) {
  const SequenceRows& s = work.sequence;
  if (work.part.alone()) {
    if (a.lse.data != nullptr)
      ptx::stg(a.lse.data + s.q_batch * a.lse.batch + work.rows.head(row) * a.lse.head +
                   (s.q_begin + work.rows.query(row)) * a.lse.row,
               row_lse(top, sum));
    return;
  }
  float* const to = partial.tops + partial_row(a, work, row);
  ptx::stg(to, top);
  ptx::stg(to + partial.sums, sum);
  if (work.part.split > 0) return;
  // Splits that other tiles of the sequence need see nothing of these rows.
  for (int split = work.part.parts; split < work.part.splits; ++split) {
    float* const none = to + int64_t{split} * s.seqlen_q * a.heads;
    ptx::stg(none, -kInfinity);
    ptx::stg(none + partial.sums, 0.f);
  }
}

}  // namespace fa::cuda
