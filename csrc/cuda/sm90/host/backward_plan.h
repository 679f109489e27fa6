// Which calls the backward kernels of sm_90a take, and how they are cut up.
#pragma once

#include <cstdint>

#include "core/attention.h"
#include "cuda/sm90/backward_tiles.h"

namespace fa::cuda::sm90 {

/** A tile, and how the sum of dQ is laid out for it (query_sum.h). */
struct BackwardLayout {
  BackwardTile tile;
  int64_t query_tiles;  // for each (axis 0 of q, head)

  int64_t sum_tiles(const AttentionProblem& problem) const {
    return problem.q.shape[0] * problem.heads() * query_tiles;
  }
  /** Float32 elements. */
  int64_t sum_size(const AttentionProblem& problem) const {
    return sum_tiles(problem) * tile.queries * tile.width;
  }
};

/** Whether the kernels take `problem`, on a GPU that runs them. */
bool takes_backward(const AttentionProblem& problem, const AttentionGradients& gradients);

/** For what they take. */
BackwardLayout plan_backward(const AttentionProblem& problem);

}  // namespace fa::cuda::sm90
