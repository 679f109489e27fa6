#include "cuda/runtime/backward_plan.h"

#include <algorithm>

#include "cuda/runtime/params.h"
#include "cuda/runtime/tensor_map.h"

namespace fa::cuda {

namespace {

/** Kernels without options know intervals of keys alone. */
bool has_options(const AttentionProblem& p) {
  return p.softcap > 0 || p.alibi_slopes.present() || p.mask.present() || p.block_mask.present() ||
         p.sink_tokens > 0 || p.dropout.p > 0;
}

}  // namespace

BackwardPlan plan_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                           const cudaDeviceProp& properties) {
  BackwardPlan plan{};
  bool addressable = plan.aligned = true;
  for (const View* view : {&problem.q, &problem.k, &problem.v, &problem.out, &gradients.dout}) {
    plan.aligned &= aligned_rows(*view);
    addressable &= tma_addressable(*view);
  }
  plan.featured = has_options(problem);

  // What stays on sm_80: other devices, float32, rows that TMA cannot take, head dims whose gradients fill the registers.
  const int64_t width = std::max(problem.head_dim(), problem.head_dim_v());
  plan.tile = sm90::backward_tile(static_cast<int>(std::min<int64_t>(width, 1 << 20)));
  plan.sm90 = properties.major == 9 && properties.minor == 0 &&
              problem.q.dtype != DType::kFloat32 && plan.aligned && addressable &&
              plan.tile.width > 0;
  if (plan.sm90) {
    const int64_t rows = problem.q.shape[1], queries = plan.tile.queries;
    plan.query_tiles =
        problem.varlen() ? rows / queries + problem.batch() : (rows + queries - 1) / queries;
  }
  return plan;
}

}  // namespace fa::cuda
