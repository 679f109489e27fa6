#include <algorithm>
#include <string>

#include "core/error.h"
#include "core/ops.h"
#include "cuda/base/execution.h"
#include "cuda/base/image_for.h"
#include "cuda/base/launch.h"
#include "cuda/base/params.h"
#include "cuda/base/scratch.h"
#include "cuda/base/section.h"
#include "cuda/elementwise/convert.h"
#include "cuda/elementwise/delta.h"
#include "cuda/elementwise/extreme_rows.h"
#include "cuda/elementwise/fill.h"
#include "cuda/elementwise/index_contents.h"
#include "cuda/runtime/backward.h"
#include "cuda/runtime/backward_plan.h"
#include "cuda/sm80/backward_kernels.h"
#include "cuda/sm90/host/backward_launch.h"

namespace fa::cuda {

namespace {

using sm80::BackwardTile;
using sm80::Outer;

/** Index of the first tile that holds the head dims and fits into the device's shared memory. */
int choose_tile(const AttentionProblem& p, Outer outer, bool featured, const Queue& queue) {
  const bool float32 = p.q.dtype == DType::kFloat32;
  const int width = static_cast<int>(std::max(p.head_dim(), p.head_dim_v()));
  const sm80::BackwardTiles tiles = sm80::backward_tiles(float32, outer, featured);
  for (int i = 0; i < tiles.count; ++i) {
    const BackwardTile& tile = tiles.tiles[i];
    const int bytes = sm80::backward_shared_bytes(tile, outer, float32 ? 4 : 2);
    if (width <= tile.width &&
        static_cast<size_t>(bytes) <= queue.properties.sharedMemPerBlockOptin)
      return i;
  }
  throw Error(
      ErrorCode::kShape, "q",
      "Expected head dims of at most 256 on a CUDA device but received " + std::to_string(width));
}

/** Runs the kernel of sm_80 whose blocks keep the rows of `outer`. */
void launch_backward(const AttentionProblem& problem, const BackwardPlan& plan, BackwardParams p,
                     Outer outer, const Queue& queue) {
  const DType dtype = problem.q.dtype;
  const int index = choose_tile(problem, outer, plan.featured, queue);
  const BackwardTile& tile =
      sm80::backward_tiles(dtype == DType::kFloat32, outer, plan.featured).tiles[index];
  const int64_t rows = outer == Outer::kKeys ? problem.max_seqlen_k : problem.max_seqlen_q;
  const int64_t heads = outer == Outer::kKeys ? problem.kv_heads() : problem.heads();
  const int64_t tiles = (rows + tile.outer - 1) / tile.outer;
  if (tiles == 0) return;
  p.tiles = FastDivide(tiles);
  p.columns = FastDivide(heads);
  p.section = FastDivide(backward_section(problem, outer == Outer::kKeys, queue.properties));
  const auto kernel =
      sm80::find_backward(image_for(queue.properties), dtype, outer, plan.featured, index);
  launch(kernel, tiles * heads * problem.batch(), tile.warps() * 32,
         static_cast<size_t>(
             sm80::backward_shared_bytes(tile, outer, static_cast<int>(dtype_size(dtype)))),
         queue, p);
}

/** The kernels of sm_80. */
void differentiate_on_sm80(const AttentionProblem& problem, const AttentionGradients& gradients,
                           const BackwardPlan& plan, const BackwardParams& call, Scratch& scratch,
                           const Queue& queue) {
  BackwardParams p = call;
  if (problem.deterministic) {
    launch_backward(problem, plan, p, Outer::kKeys, queue);
    launch_backward(problem, plan, p, Outer::kQueries, queue);
    return;
  }
  const View& q = problem.q;
  p.dq_pitch = static_cast<int>(BackwardPlan::sum_pitch(problem));
  View sum =
      contiguous_view(nullptr, DType::kFloat32, {q.shape[0], q.shape[1], q.shape[2], p.dq_pitch});
  sum.data = p.dq_sum = scratch.take_array<float>(static_cast<size_t>(sum.size()));
  fill_zero(sum, queue);
  launch_backward(problem, plan, p, Outer::kKeys, queue);
  sum.shape[3] = problem.head_dim();
  // convert() writes row by row as dq lies, which is [B, S, H, D] or [B, H, S, D].
  if (gradients.dq.contiguous())
    convert(sum, gradients.dq, queue);
  else
    convert(permuted(sum, {0, 2, 1, 3}), permuted(gradients.dq, {0, 2, 1, 3}), queue);
}

}  // namespace

void attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                        const Queue& queue) {
  const View& q = problem.q;
  const BackwardPlan plan = plan_backward(problem, gradients, queue.properties);
  BackwardParams p{};
  p.attention = attention_params(problem);
  p.dout = tensor_params(gradients.dout);
  p.dq = tensor_params(gradients.dq);
  p.dk = tensor_params(gradients.dk);
  p.dv = tensor_params(gradients.dv);
  p.aligned = plan.aligned;
  p.q_batches = static_cast<int>(q.shape[0]);
  p.q_rows = static_cast<int>(q.shape[1]);
  p.dsinks = static_cast<float*>(gradients.dsinks.data);

  // Rows that no sequence covers, and sequences without partners, are left to these zeros.
  const bool empty = problem.max_seqlen_q == 0 || problem.max_seqlen_k == 0;
  if (problem.ragged() || empty)
    for (const View* view : {&gradients.dq, &gradients.dk, &gradients.dv}) fill_zero(*view, queue);
  if (gradients.dsinks.present()) fill_zero(gradients.dsinks, queue);
  if (problem.batch() == 0 || problem.max_seqlen_q == 0) return;

  Scratch scratch(queue);
  p.states =
      scratch.take_array<RowState>(static_cast<size_t>(q.shape[0] * q.shape[1] * q.shape[2]));
  View found = contiguous_view(nullptr, DType::kInt32, {1});
  found.data = p.extreme.found = scratch.take_array<int>(1);
  fill_zero(found, queue);
  p.extreme.rows =
      scratch.take_array<ExtremeRow>(static_cast<size_t>(q.shape[0] * q.shape[1] * q.shape[2]));
  p.extreme.least_lse = least_extreme_lse(q.dtype);
  compute_row_states(p, q.dtype, queue);
  if (problem.max_seqlen_k > 0) {
    if (plan.sm90)
      sm90::launch_backward(problem, gradients, plan.layout, plan.featured, p, scratch, queue);
    else
      differentiate_on_sm80(problem, gradients, plan, p, scratch, queue);
  }
  differentiate_extreme_rows(p, queue);
  if (gradients.dsinks.present()) compute_sink_gradients(p, queue);
}

}  // namespace fa::cuda

namespace fa {

void ops::AttentionBackward::run(cuda::Execution& execution) const {
  if (check_contents) cuda::validate_contents_on_device(problem, execution.queue);
  cuda::attention_backward(problem, gradients, execution.queue);
}

}  // namespace fa
