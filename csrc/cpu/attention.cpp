// Runs an attention call: work items over the threads, then the merge of split keys.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <vector>

#include "core/validate.h"
#include "cpu/arena.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/merge.h"
#include "cpu/ops.h"
#include "cpu/scratch.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

/** Packed rows that no sequence covers: nothing is attended, so out is 0 and lse -infinity. */
void clear_uncovered_rows(const AttentionProblem& p) {
  if (!p.packed_queries()) return;
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
 * What a stream's thread keeps from call to call, so that a call like the last one allocates
 * nothing.
 */
struct Workspace {
  ForwardPlan plan;
  Arena sinks, partials, prefix_queries;
  std::vector<MergeState> states;  // of all sequences
};

/** `view`, [B, S, H, D] or [B, H, S], from an element on. */
View moved(View view, int64_t elements) {
  if (view.present()) view.data = view.at(elements);
  return view;
}

/** A partial result of a prefix, from the first query of one of its sequences on. */
MergeState from_row(const MergeState& state, int64_t row) {
  return {.out = moved(state.out, row * state.out.strides[1]),
          .lse = moved(state.lse, row * state.lse.strides[2]),
          .rest = moved(state.rest, row * state.rest.strides[2])};
}

/**
 * Lays out the partial results of every split, float32: out [1, S, H, Dv], lse [1, H, S] and what
 * rounding left out of that lse. An lse of -1e9 alone would not tell how many keys its split saw.
 */
void lay_out_partials(const AttentionProblem& p, Workspace& work, float* at) {
  work.states.resize(static_cast<size_t>(work.plan.states));
  const int64_t heads = p.heads(), dim = p.head_dim_v();
  const auto place = [&](std::initializer_list<int64_t> shape) {
    const View view = contiguous_view(at, DType::kFloat32, shape);
    at += view.size();
    return view;
  };
  const std::vector<SequencePlan>& sequences = work.plan.sequences;
  for (const SequencePlan& s : sequences) {
    const int64_t rows = s.rows.seqlen_q;
    MergeState* const states = work.states.data() + s.first_state;
    for (int split = 0; s.partial() && split < s.num_splits; ++split) {
      states[split] = {.out = place({1, rows, heads, dim}),
                       .lse = place({1, heads, rows}),
                       .rest = place({1, heads, rows})};
    }
  }
  for (const SequencePlan& s : sequences) {
    if (s.prefix < 0) continue;
    const SequencePlan& prefix = sequences[static_cast<size_t>(s.prefix)];
    for (int split = 0; split < prefix.num_splits; ++split)
      work.states[static_cast<size_t>(s.first_state + s.num_splits + split)] =
          from_row(work.states[static_cast<size_t>(prefix.first_state + split)], s.prefix_row);
  }
}

/**
 * The call that prefixes are: the queries of all sequences that have one side by side, which see
 * all its keys. `at` has room for them.
 */
AttentionProblem prefix_problem(const AttentionProblem& p, const ForwardPlan& plan, char* at) {
  AttentionProblem shared = p;
  shared.q = contiguous_view(at, p.q.dtype, {1, plan.prefix_rows, p.heads(), p.head_dim()});
  for (const SequencePlan& s : plan.sequences) {
    if (s.prefix < 0) continue;
    const int64_t first = plan.sequences[static_cast<size_t>(s.prefix)].rows.q_begin + s.prefix_row;
    View from = moved(p.q, s.rows.q_batch * p.q.strides[0] + s.rows.q_begin * p.q.strides[1]);
    View to = moved(shared.q, first * shared.q.strides[1]);
    from.shape[0] = to.shape[0] = 1;
    from.shape[1] = to.shape[1] = s.rows.seqlen_q;
    convert(from, to, nullptr);
  }
  shared.lse = shared.tree_mask = {};
  shared.window_left = shared.window_right = kUnbounded;
  return shared;
}

/** Has the kernel write a split's partial result. */
void redirect(ForwardArgs& args, const MergeState& to, int64_t head) {
  const View &out = to.out, &lse = to.lse;
  args.out = {out.at(head * out.strides[2]), static_cast<int>(DType::kFloat32), out.strides[1], 1};
  args.out_head_stride = out.strides[2];
  args.lse = static_cast<float*>(lse.data) + head * lse.strides[1];
  args.lse_rest = static_cast<float*>(to.rest.data) + head * lse.strides[1];
  args.lse_head_stride = lse.strides[1];
  args.lse_row_stride = 1;
}

/** Merges the partial results of row `index` of all rows that have some. */
void merge_splits(const AttentionProblem& p, const Workspace& work, int64_t index) {
  const std::vector<SequencePlan>& sequences = work.plan.sequences;
  // Sequences without split rows begin where the next one does.
  const auto after =
      std::upper_bound(sequences.begin(), sequences.end(), index,
                       [](int64_t row, const SequencePlan& s) { return row < s.first_split_row; });
  const SequencePlan& s = *(after - 1);
  const View out =
      moved(p.out, s.rows.q_batch * p.out.strides[0] + s.rows.q_begin * p.out.strides[1]);
  const View lse =
      moved(p.lse, s.rows.q_batch * p.lse.strides[0] + s.rows.q_begin * p.lse.strides[2]);
  merge_row(work.states.data() + s.first_state, static_cast<size_t>(work.plan.states_of(s)), out,
            lse, 0, index - s.first_split_row);
}

/** One block. */
struct KernelCall {
  ForwardArgs args;
  bool decode;

  void run(const KernelTable& table) const {
    static thread_local Arena scratch;
    if (decode)
      table.decode(args, scratch.reserve(table.decode_scratch(args)));
    else
      table.forward(args, scratch.reserve(table.forward_scratch(args)));
  }
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
  const Scratch partials(work.partials, plan.partial_bytes());
  lay_out_partials(p, work, partials.floats());

  AttentionProblem shared;
  if (plan.prefix_rows > 0) {
    const int64_t size = plan.prefix_rows * p.heads() * p.head_dim();
    const size_t bytes = static_cast<size_t>(size) * dtype_size(p.q.dtype);
    shared = prefix_problem(p, plan, work.prefix_queries.reserve(bytes));
  }

  const auto call_of = [&](int64_t index) {
    const Block block = block_at(p, plan, index);
    const SequencePlan& s = plan.sequences[static_cast<size_t>(block.sequence)];
    KernelCall call{forward_args(s.is_prefix ? shared : p, s.rows, s.batch, block.kv_head,
                                 s.is_prefix ? nullptr : sinks),
                    s.decode};
    ForwardArgs& args = call.args;
    args.kv_heads = static_cast<int>(plan.heads_per_block(s));
    args.panels = s.decode ? 1 : plan.panels();
    args.tile_k = plan.tile_k;
    args.row_begin = block.row_begin;
    args.row_end = block.row_end;
    set_split(args, s, block.split);
    if (s.partial()) {
      const size_t state = static_cast<size_t>(s.first_state + block.split);
      redirect(args, work.states[state], block.kv_head * p.group());
    }
    return call;
  };
  const auto run_item = [&](int64_t item) {
    const int64_t begin = item * plan.blocks_per_item;
    const int64_t end = std::min(begin + plan.blocks_per_item, plan.blocks);
    KernelCall call = call_of(begin);
    for (int64_t index = begin; index < end; ++index) {
      const bool last = index + 1 == end;
      const KernelCall next = last ? call : call_of(index + 1);
      if (!last && !next.decode) call.args.next = &next.args;
      call.run(*plan.kernels);
      call = next;
    }
  };
  parallel_for(plan.work_items(), std::ref(run_item), cancel, "attention", plan.threads);

  if (plan.split_rows == 0) return;
  const auto merge = [&](int64_t index) { merge_splits(p, work, index); };
  parallel_for(plan.split_rows, std::ref(merge), cancel, "merge splits", plan.threads);
}

}  // namespace fa::cpu

namespace fa {

void ops::Attention::run(cpu::Execution& execution) const {
  if (check_contents) validate_contents(problem);
  cpu::attention_forward(problem, execution.cancel);
}

}  // namespace fa
