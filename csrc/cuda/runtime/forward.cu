#include "cuda/any/combine.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/forward_plan.h"
#include "cuda/runtime/launch.h"
#include "cuda/runtime/params.h"
#include "cuda/runtime/scratch.h"

namespace fa::cuda {

void attention_forward(const AttentionProblem& p, const Queue& queue) {
  const ForwardPlan plan = plan_forward(p, queue.properties);
  sm80::ForwardParams params{};
  params.attention = attention_params(p);
  params.pack = FastDivide(plan.pack);
  params.head_blocks = FastDivide(plan.head_blocks);
  params.splits = FastDivide(plan.num_splits);
  params.row_tiles = FastDivide(plan.row_tiles > 0 ? plan.row_tiles : 1);

  CombineParams merge{};
  merge.attention = params.attention;
  merge.batches = static_cast<int>(p.q.shape[0]);
  merge.rows = static_cast<int>(p.q.shape[1]);
  Scratch scratch(queue);
  if (plan.num_splits > 1) {
    // Of every split, like out and lse: float32 [B, S, H, Dv, padded] and [B, H, S].
    const int64_t batches = p.q.shape[0], rows = p.q.shape[1], heads = p.heads();
    const int64_t width = ForwardPlan::partial_width(p);
    const int64_t scalars = batches * heads * rows;
    float* const out =
        static_cast<float*>(scratch.take(static_cast<size_t>(plan.scratch_bytes(p))));
    merge.splits = plan.num_splits;
    merge.partial_out = {out, rows * heads * width, heads * width, width, 1};
    merge.partial_lse = {out + plan.num_splits * scalars * width, heads * rows, rows, 1};
    merge.out_split = params.out_split = scalars * width;
    merge.lse_split = params.lse_split = scalars;
    params.attention.out = merge.partial_out;
    params.attention.lse = merge.partial_lse;
  }
  launch(plan.kernel(p.q.dtype), dim3(static_cast<unsigned>(plan.blocks)),
         dim3(static_cast<unsigned>(plan.threads())), static_cast<size_t>(plan.shared_bytes), queue,
         params);
  if (plan.num_splits > 1 || p.varlen()) combine(merge, p.q.dtype, queue);
}

}  // namespace fa::cuda
