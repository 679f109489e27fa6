// Merge of attention over disjoint key sets.
#pragma once

#include <vector>

#include "core/view.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/**
 * Enqueues the exact merge: outs [B, S, H, D] and lses (float32, [B, H, S]), one pair per state ->
 * out, lse.
 */
void merge_states(const std::vector<View>& outs, const std::vector<View>& lses, const View& out,
                  const View& lse, const Queue& queue);

}  // namespace fa::cuda
