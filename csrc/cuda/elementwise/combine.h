// The last step of split-KV attention: partial results of ranges of keys become the result.
#pragma once

#include <cstdint>

#include "core/dtype.h"
#include "cuda/base/launch.h"
#include "cuda/base/queue.h"
#include "cuda/device/params.h"
#include "cuda/device/work_item.h"

namespace fa::cuda {

struct CombineParams {
  AttentionParams attention;
  PartialResults partial;
  const MergeItem* items;
  int item_count;
  // Behind the items: queries that lie side by side and are in as many splits. 0: no partial
  // results, rows come out as if they saw nothing.
  int first_query, query_count, splits;
  FastDivide rows;  // axis 1 of q
  FastDivide heads;
};

/**
 * Enqueues the exact merge of the splits (Flash-Decoding; Rabe & Staats 2021, section 2):
 *   lse = log sum_s exp(lse_s),   out = sum_s exp(lse_s - lse) out_s.
 * Of lse = top + log(sum) the two parts come apart: where scores are large, their sum in float32
 * would be too coarse for weights. One split alone comes out as it is: a sequence's bits do not
 * depend on whether it was merged.
 */
void combine(const CombineParams& params, DType dtype, const Queue& queue, Order order);

}  // namespace fa::cuda
