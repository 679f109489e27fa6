// The last step of split-KV attention: partial results of ranges of keys become the result.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cuda/base/queue.h"
#include "cuda/device/params.h"

namespace fa::cuda {

struct CombineParams {
  AttentionParams attention;     // out and lse are those of the call
  Tensor partial_out;            // float32, of split 0; dims lie side by side
  RowScalars partial_top;        // a row's greatest score, relative to which its
  int64_t row_sums;              // sum is, so many elements further on
  int64_t out_split, row_split;  // elements from one split to the next
  int splits;                    // 0: no partial results, rows come out as if they saw nothing,
  bool complete;                 // but for rows of sequences, which are to stay as they are
  int batches, rows;             // of q
};

/**
 * Enqueues the exact merge of the splits (Flash-Decoding; Rabe & Staats 2021, section 2):
 *   lse = log sum_s exp(lse_s),   out = sum_s exp(lse_s - lse) out_s.
 * Of lse = top + log(sum) the two parts come apart: where scores are large, their sum in float32
 * would be too coarse for weights.
 * Rows of a packed batch that no sequence covers come out as 0 and -infinity.
 */
void combine(const CombineParams& params, DType dtype, const Queue& queue);

}  // namespace fa::cuda
