// What the kernels of the backward pass are told about a call.
#pragma once

#include "core/inline.h"
#include "cuda/device/params.h"

namespace fa::cuda {

/** What the backward pass needs to know of a query row beside the row itself. */
struct RowState {
  float lse;  // base 2; +infinity where probabilities are to be 0: for a row that saw nothing, and
              // for an extreme one
  float delta;  // sum over d of dO_d O_d
};
constexpr int kRowStateBytes = sizeof(RowState);

/** The same of an extreme row (elementwise/extreme_rows.h): P = exp(s - maximum) / sum. */
struct ExtremeRow {
  float maximum;  // of the scores and the sink, natural
  float rcp_sum;
  float delta;  // sum over j of P_j dP_j
  float unused;
};
constexpr int kExtremeRowBytes = sizeof(ExtremeRow);

struct ExtremeRows {
  float least_lse;   // the absolute value from which on a row is extreme
  int* found;        // not 0: there are some
  ExtremeRow* rows;  // as BackwardParams::states; of the extreme rows alone
};

struct BackwardParams {
  AttentionParams attention;  // out and lse: results of the forward pass
  Tensor dout, dq, dk, dv;    // dq, dk and dv are contiguous
  bool aligned;               // attention.aligned, and the rows of dout too
  int q_batches, q_rows;      // axes 0 and 1 of q
  RowState* states;           // [q_batches, heads, q_rows]
  ExtremeRows extreme;
  float* dq_sum;       // dq in float32, [q_batches, q_rows, heads, dq_pitch]; null: not wanted
  int dq_pitch;        // head_dim rounded up to 8
  float* dsinks;       // [heads]; null: not wanted
  FastDivide tiles;    // tiles of outer rows of the longest sequence (sm80/backward_tiles.h)
  FastDivide columns;  // heads of the outer rows
  FastDivide section;  // (sequence, head)s that are worked on at a time
};

/** NaN is not extreme: it belongs into the gradients. */
FA_INLINE bool is_extreme(const BackwardParams& p, float lse) {
  const float size = lse < 0 ? -lse : lse;
  return size >= p.extreme.least_lse && size < __builtin_huge_valf();
}

}  // namespace fa::cuda
