// What the kernels of the backward pass are told about a call.
#pragma once

#include "cuda/device/params.h"

namespace fa::cuda {

/** What the backward pass needs to know of a query row beside the row itself. */
struct RowState {
  float lse;    // base 2; +infinity for a row that saw nothing, so that its probabilities are 0
  float delta;  // sum over d of dO_d O_d
};
constexpr int kRowStateBytes = sizeof(RowState);

struct BackwardParams {
  AttentionParams attention;  // out and lse: results of the forward pass
  Tensor dout, dq, dk, dv;    // dq, dk and dv are contiguous
  bool aligned;               // attention.aligned, and the rows of dout too
  int q_batches, q_rows;      // axes 0 and 1 of q
  RowState* states;           // [q_batches, heads, q_rows]
  float* dq_sum;       // dq in float32, [q_batches, q_rows, heads, dq_pitch]; null: not wanted
  int dq_pitch;        // head_dim rounded up to 8
  float* dsinks;       // [heads]; null: not wanted
  FastDivide tiles;    // tiles of outer rows of the longest sequence (sm80/backward_tiles.h)
  FastDivide columns;  // heads of the outer rows
};

}  // namespace fa::cuda
