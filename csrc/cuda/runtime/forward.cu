#include "core/ops.h"
#include "cuda/base/execution.h"
#include "cuda/base/launch.h"
#include "cuda/base/scratch.h"
#include "cuda/elementwise/combine.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/forward_plan.h"
#include "cuda/runtime/forward_sm90.h"
#include "cuda/runtime/index_contents.h"
#include "cuda/runtime/params.h"
#include "cuda/sm80/forward_params.h"

namespace fa::cuda {

namespace {

template <typename Params>
void launch_forward(void (*kernel)(Params), const ForwardPlan& plan, const Params& params,
                    const Queue& queue) {
  launch(kernel, plan.blocks, plan.threads, static_cast<size_t>(plan.shared_bytes), queue, params);
}

FastDivide divide(int64_t by) { return FastDivide(by > 0 ? by : 1); }

sm80::ForwardKernel sm80_kernel(const ForwardPlan& plan, DType dtype) {
  switch (dtype) {
    case DType::kFloat16: return sm80::forward_f16(plan.featured, plan.width);
    case DType::kBFloat16: return sm80::forward_bf16(plan.featured, plan.width);
    default: return sm80::forward_f32(plan.featured, plan.width);
  }
}

void forward_sm80(const AttentionProblem& p, const ForwardPlan& plan, const Queue& queue) {
  sm80::ForwardParams params{};
  params.attention = attention_params(p);
  params.pack = divide(plan.pack);
  params.head_blocks = divide(plan.head_blocks);
  params.splits = divide(plan.num_splits);
  params.row_tiles = divide(plan.row_tiles);
  if (plan.num_splits == 1)
    return launch_forward(sm80_kernel(plan, p.q.dtype), plan, params, queue);

  // Of every split, like out and lse: float32 [B, S, H, Dv, padded] and twice [B, H, S].
  CombineParams merge{};
  merge.attention = params.attention;
  merge.batches = static_cast<int>(p.q.shape[0]);
  merge.rows = static_cast<int>(p.q.shape[1]);
  Scratch scratch(queue);
  const int64_t batches = p.q.shape[0], rows = p.q.shape[1], heads = p.heads();
  const int64_t width = ForwardPlan::partial_width(p);
  const int64_t scalars = batches * heads * rows;
  float* const out = static_cast<float*>(scratch.take(static_cast<size_t>(plan.scratch_bytes(p))));
  merge.splits = plan.num_splits;
  merge.partial_out = {out, rows * heads * width, heads * width, width, 1};
  merge.partial_top = {out + plan.num_splits * scalars * width, heads * rows, rows, 1};
  merge.unit = plan.featured ? kSplitUnit<true> : kSplitUnit<false>;
  merge.out_split = params.out_split = scalars * width;
  merge.row_split = params.row_split = scalars;
  merge.row_sums = params.row_sums = plan.num_splits * scalars;
  params.attention.out = merge.partial_out;
  params.attention.lse = merge.partial_top;
  launch_forward(sm80_kernel(plan, p.q.dtype), plan, params, queue);
  combine(merge, p.q.dtype, queue);
}

/** Rows that see nothing: all, or those of packed tensors that no sequence has. */
void clear_rows(const AttentionProblem& p, bool uncovered_alone, const Queue& queue) {
  CombineParams none{};
  none.complete = uncovered_alone;
  none.attention = attention_params(p);
  none.batches = static_cast<int>(p.q.shape[0]);
  none.rows = static_cast<int>(p.q.shape[1]);
  combine(none, p.out.dtype, queue);
}

/** [batch, heads, blocks of tokens], or [batch, heads] for all tokens. */
sm90::BlockScales block_scales(const View& scales) {
  return {static_cast<const float*>(scales.data), scales.strides[0], scales.strides[1],
          scales.rank == 3 ? scales.strides[2] : 0, FastDivide(kScaleTokens)};
}

void forward_sm90(const AttentionProblem& p, const ForwardPlan& plan, const Queue& queue) {
  if (plan.tiles == 0) return;
  if (p.float8()) {
    if (p.max_seqlen_k == 0) return clear_rows(p, false, queue);  // nothing for TMA
    sm90::ForwardParams params = sm90_forward_params(p, plan);
    params.q_scales = block_scales(p.q_scale);
    params.k_scales = block_scales(p.k_scale);
    params.v_scales = block_scales(p.v_scale);
    return launch_forward(sm90::forward_e4m3(plan.width), plan, params, queue);
  }
  const auto kernel = p.q.dtype == DType::kFloat16 ? sm90::forward_f16 : sm90::forward_bf16;
  launch_forward(kernel(plan.featured, plan.width, plan.width_v), plan,
                 sm90_forward_params(p, plan), queue);
}

}  // namespace

void attention_forward(const AttentionProblem& p, const Queue& queue) {
  const ForwardPlan plan = plan_forward(p, queue.properties);
  if (plan.family == ForwardKernelFamily::kSm90)
    forward_sm90(p, plan, queue);
  else
    forward_sm80(p, plan, queue);
  if (plan.num_splits == 1 && p.varlen()) clear_rows(p, true, queue);
}

}  // namespace fa::cuda

namespace fa {

void ops::Attention::run(cuda::Execution& execution) const {
  if (check_contents) cuda::validate_contents_on_device(problem, execution.queue);
  cuda::attention_forward(problem, execution.queue);
}

}  // namespace fa
