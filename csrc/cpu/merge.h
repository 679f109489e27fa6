// The merge of one row's partial results, which split keys and merge_states() share.
#pragma once

#include <cstddef>

#include "core/view.h"

namespace fa::cpu {

/** One of the results to merge: out [B, S, H, D], lse [B, H, S]. */
struct MergeState {
  View out, lse;
  View rest;  // what rounding left out of lse; absent when that is not known
};

/** Row i of batch b, all heads, into out and lse; an absent lse is not wanted. */
void merge_row(const MergeState* states, size_t count, const View& out, const View& lse, int64_t b,
               int64_t i);

}  // namespace fa::cpu
