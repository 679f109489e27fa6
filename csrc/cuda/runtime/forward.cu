#include "core/ops.h"
#include "cuda/base/execution.h"
#include "cuda/base/launch.h"
#include "cuda/base/params.h"
#include "cuda/base/scratch.h"
#include "cuda/elementwise/combine.h"
#include "cuda/elementwise/index_contents.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/forward_plan.h"
#include "cuda/sm80/forward_params.h"
#include "cuda/sm90/host/forward_launch.h"

namespace fa::cuda {

namespace {

FastDivide divide(int64_t by) { return FastDivide(by > 0 ? by : 1); }

void launch_on_sm80(const AttentionProblem& p, const ForwardLaunch& with,
                    sm80::ForwardParams params, const Queue& queue) {
  params.pack = divide(with.pack);
  params.head_blocks = divide(with.head_blocks);
  params.m_blocks = divide(with.m_blocks);
  params.queries = with.queries;
  const bool decode = with.family == ForwardKernelFamily::kSm80Decode;
  const auto find = p.q.dtype == DType::kFloat16 ? (decode ? sm80::decode_f16 : sm80::forward_f16)
                    : p.q.dtype == DType::kBFloat16
                        ? (decode ? sm80::decode_bf16 : sm80::forward_bf16)
                        : sm80::forward_f32;
  const auto kernel = decode && p.quantized_pages() ? sm80::decode_codes(with.width)
                                                    : find(with.featured, with.width);
  launch(kernel, with.blocks, with.threads, static_cast<size_t>(with.shared_bytes), queue, params);
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

void launch_all(const AttentionProblem& p, const ForwardPlan& plan,
                const sm80::ForwardParams& params, const Queue& queue) {
  for (int i = 0; i < plan.launch_count; ++i) {
    const ForwardLaunch& with = plan.launches[i];
    if (with.family == ForwardKernelFamily::kSm90)
      sm90::launch_forward(p, with,
                           {params.splits, params.out_split, params.row_split, params.row_sums},
                           params.attention.out, params.attention.lse, queue);
    else
      launch_on_sm80(p, with, params, queue);
  }
}

/** Ranges of keys side by side, then their merge. */
void forward_in_splits(const AttentionProblem& p, const ForwardPlan& plan,
                       sm80::ForwardParams params, const Queue& queue) {
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
  merge.out_split = params.out_split = scalars * width;
  merge.row_split = params.row_split = scalars;
  merge.row_sums = params.row_sums = plan.num_splits * scalars;
  params.attention.out = merge.partial_out;
  params.attention.lse = merge.partial_top;
  launch_all(p, plan, params, queue);
  combine(merge, p.out.dtype, queue);
}

}  // namespace

void attention_forward(const AttentionProblem& p, const Queue& queue) {
  const ForwardPlan plan = plan_forward(p, queue.properties);
  if (p.float8() && p.max_seqlen_k == 0) return clear_rows(p, false, queue);  // nothing for TMA
  sm80::ForwardParams params{};
  params.attention = attention_params(p);
  params.splits = divide(plan.num_splits);
  if (plan.num_splits > 1) return forward_in_splits(p, plan, params, queue);
  launch_all(p, plan, params, queue);
  if (p.packed_queries() && !p.queries_covered) clear_rows(p, true, queue);
}

}  // namespace fa::cuda

namespace fa {

void ops::Attention::run(cuda::Execution& execution) const {
  if (check_contents) cuda::validate_contents_on_device(problem, execution.queue);
  cuda::attention_forward(problem, execution.queue);
}

}  // namespace fa
