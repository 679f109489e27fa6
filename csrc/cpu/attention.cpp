// Runs an attention call: work items over the threads, then the merge of split keys.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/arena.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/ops.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/** Varlen rows that no sequence covers: nothing is attended, so out is 0 and lse -infinity. */
void clear_uncovered_rows(const AttentionProblem& p) {
  if (!p.varlen()) return;
  const int64_t batch = p.batch();
  const int64_t covered =
      batch == 0 ? 0 : sequence(p, batch - 1).q_begin + sequence(p, batch - 1).seqlen_q;
  const size_t size = dtype_size(p.out.dtype);
  for (int64_t i = covered; i < p.q.shape[1]; ++i) {
    for (int64_t h = 0; h < p.heads(); ++h) {
      char* const row = p.out.at(i * p.out.strides[1] + h * p.out.strides[2]);
      for (int64_t d = 0; d < p.head_dim_v(); ++d)
        std::memset(row + d * p.out.strides[3] * static_cast<int64_t>(size), 0, size);
      if (p.lse.present())
        static_cast<float*>(p.lse.data)[h * p.lse.strides[1] + i * p.lse.strides[2]] = -kInfinity;
    }
  }
}

/** `problem` with out and lse of one split in the workspace, float32 and contiguous: [1 or B, S, H, Dv] and [1 or B, H, S]. */
AttentionProblem with_partial_outputs(const AttentionProblem& p, float* out, float* lse) {
  AttentionProblem partial = p;
  const int64_t* s = p.q.shape;
  partial.out = contiguous_view(out, DType::kFloat32, {s[0], s[1], s[2], p.head_dim_v()});
  partial.lse = contiguous_view(lse, DType::kFloat32, {s[0], s[2], s[1]});
  return partial;
}

}  // namespace

void attention_forward(const AttentionProblem& p, Cancel cancel) {
  const ForwardPlan plan = plan_forward(p);
  const std::vector<float> sinks = sink_logits(p);
  const float* const sink_data = sinks.empty() ? nullptr : sinks.data();
  clear_uncovered_rows(p);

  const int splits = plan.num_splits;
  std::vector<AttentionProblem> partials;
  if (splits > 1) {
    static thread_local Arena workspace;  // one per stream: its thread runs this
    const int64_t rows = p.q.shape[0] * p.q.shape[1] * p.heads();
    const int64_t floats = rows * (p.head_dim_v() + 1);
    float* const data = reinterpret_cast<float*>(
        workspace.reserve(static_cast<size_t>(floats * splits) * sizeof(float)));
    for (int s = 0; s < splits; ++s) {
      float* const out = data + floats * s;
      partials.push_back(with_partial_outputs(p, out, out + rows * p.head_dim_v()));
      if (p.varlen()) clear_uncovered_rows(partials.back());
    }
  }

  ThreadPool::shared().parallel_for(
      plan.work_items(),
      [&](int64_t index) {
        const WorkItem item = work_item(p, plan, index);
        ForwardArgs args = forward_args(splits > 1 ? partials[static_cast<size_t>(item.split)] : p,
                                        plan, item.batch, item.kv_head, sink_data);
        args.row_begin = item.row_begin;
        args.row_end = item.row_end;
        set_split(args, item.split, splits);
        static thread_local Arena scratch;
        const KernelTable& table = *plan.kernels;
        if (plan.decode)
          table.decode(args, scratch.reserve(table.decode_scratch(args)));
        else
          table.forward(args, scratch.reserve(table.forward_scratch(args)));
      },
      cancel);

  if (splits > 1) {
    std::vector<View> outs, lses;
    for (const AttentionProblem& partial : partials) {
      outs.push_back(partial.out);
      lses.push_back(partial.lse);
    }
    merge_states(outs, lses, p.out, p.lse, cancel);
  }
}

}  // namespace fa::cpu
