#include "cuda/sm90/host/backward_plan.h"

#include <algorithm>

#include "core/divide.h"
#include "cuda/sm90/host/tma_addressable.h"

namespace fa::cuda::sm90 {

namespace {

BackwardTile tile_of(const AttentionProblem& p) {
  constexpr int64_t kWidest = 1 << 20;  // an int holds it, no tile does
  return backward_tile(static_cast<int>(std::min(std::max(p.head_dim(), p.head_dim_v()), kWidest)));
}

}  // namespace

bool takes_backward(const AttentionProblem& p, const AttentionGradients& gradients) {
  // What stays on sm_80: float32, and rows that TMA cannot take.
  return p.q.dtype != DType::kFloat32 && tile_of(p).width > 0 && tma_addressable(p.q) &&
         tma_addressable(p.k) && tma_addressable(p.v) && tma_addressable(p.out) &&
         tma_addressable(gradients.dout);
}

BackwardLayout plan_backward(const AttentionProblem& p) {
  const BackwardTile tile = tile_of(p);
  const int64_t rows = p.q.shape[1];
  return {tile,
          p.packed_queries() ? rows / tile.queries + p.batch() : ceil_div(rows, tile.queries)};
}

}  // namespace fa::cuda::sm90
