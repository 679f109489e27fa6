// Runs an attention call: work items over the threads, then the merge of split keys.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <vector>

#include "core/validate.h"
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

/**
 * Where the partial results of split keys lie, float32 and contiguous: out [1 or B, S, H, Dv], lse
 * [1 or B, H, S] and what rounding left out of that lse, for each. An lse of -1e9 alone would not
 * tell how many keys its split saw.
 */
struct Partials {
  AttentionProblem first;  // the problem with out and lse of the first split
  int64_t rows = 0;
  int64_t stride = 0;  // floats from one split to the next
};

Partials partial_outputs(const AttentionProblem& p, int splits, Arena& arena) {
  const int64_t* s = p.q.shape;
  const int64_t rows = s[0] * s[1] * p.heads();
  Partials partials;
  partials.first = p;
  partials.rows = rows;
  partials.stride = rows * (p.head_dim_v() + 2);
  float* const data = reinterpret_cast<float*>(
      arena.reserve(static_cast<size_t>(partials.stride * splits) * sizeof(float)));
  partials.first.out = contiguous_view(data, DType::kFloat32, {s[0], s[1], s[2], p.head_dim_v()});
  partials.first.lse =
      contiguous_view(data + rows * p.head_dim_v(), DType::kFloat32, {s[0], s[2], s[1]});
  return partials;
}

View moved(View view, int64_t elements) {
  view.data = view.at(elements);
  return view;
}

/**
 * What a stream's thread keeps from call to call, so that a call like the last one allocates
 * nothing.
 */
struct Workspace {
  ForwardPlan plan;
  Arena sinks, partials;
  std::vector<View> outs, lses, rests;
};

}  // namespace

void attention_forward(const AttentionProblem& p, Cancel cancel) {
  static thread_local Workspace workspace;
  Workspace& work = workspace;  // of this thread, also in the loop's body
  plan_forward(p, work.plan);
  const ForwardPlan& plan = work.plan;
  const float* sinks = nullptr;
  if (p.sinks.present()) {
    float* const logits = reinterpret_cast<float*>(
        work.sinks.reserve(static_cast<size_t>(p.heads()) * sizeof(float)));
    load_sink_logits(p, logits);
    sinks = logits;
  }
  clear_uncovered_rows(p);

  const int splits = plan.num_splits;
  Partials partials;
  if (splits > 1) {
    partials = partial_outputs(p, splits, work.partials);
    work.outs.clear();
    work.lses.clear();
    work.rests.clear();
    for (int s = 0; s < splits; ++s) {
      AttentionProblem partial = partials.first;
      partial.out = moved(partial.out, s * partials.stride);
      partial.lse = moved(partial.lse, s * partials.stride);
      clear_uncovered_rows(partial);
      work.outs.push_back(partial.out);
      work.lses.push_back(partial.lse);
      work.rests.push_back(moved(partial.lse, partials.rows));
    }
  }

  const auto run_item = [&](int64_t index) {
    const WorkItem item = work_item(p, plan, index);
    ForwardArgs args =
        forward_args(splits > 1 ? partials.first : p, plan, item.batch, item.kv_head, sinks);
    if (splits > 1) {
      args.out.base += item.split * partials.stride * static_cast<int64_t>(sizeof(float));
      args.lse += item.split * partials.stride;
      args.lse_rest = args.lse + partials.rows;
    }
    args.row_begin = item.row_begin;
    args.row_end = item.row_end;
    set_split(args, item.split, splits);
    static thread_local Arena scratch;
    const KernelTable& table = *plan.kernels;
    if (plan.decode)
      table.decode(args, scratch.reserve(table.decode_scratch(args)));
    else
      table.forward(args, scratch.reserve(table.forward_scratch(args)));
  };
  ThreadPool::shared().parallel_for(plan.work_items(), std::ref(run_item), cancel);

  if (splits > 1) merge_states(work.outs, work.lses, work.rests, p.out, p.lse, cancel);
}

}  // namespace fa::cpu

namespace fa {

void ops::Attention::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(problem);
  cpu::attention_forward(problem, execution.cancel);
}

}  // namespace fa
