// The plan of a call and what it costs, from the same functions that run it.
#include <algorithm>

#include "core/cost.h"
#include "core/mask.h"
#include "core/tile_count.h"
#include "cpu/backward_plan.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/ops.h"

namespace fa::cpu {

namespace {

/** Query rows of a tile. */
int tile_rows(const ForwardPlan& plan, const SequencePlan& sequence) {
  return sequence.decode ? plan.kernels->decode_rows : plan.kernels->panel_rows;
}

/** The tiles of the query heads that share a kv head, in the sequence of `args`. */
TileCounts tiles_of(const ForwardPlan& plan, const SequencePlan& sequence, const WindowMask& window,
                    const ForwardArgs& args) {
  const Tiling tiling{.packed_heads = args.group,
                      .block_rows = plan.rows_per_block(sequence),
                      .tile_rows = tile_rows(plan, sequence),
                      .rows_together = tile_rows(plan, sequence),
                      .tile_keys = plan.tile_k,
                      .num_splits = 1};  // whole tiles: splits read no more keys
  const auto classify = [&](int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
    const int64_t end = std::min(j1, args.seqlen_k);
    return static_cast<TileKind>(plan.kernels->classify(args, i0, i1, j0, end));
  };
  return count_tiles(tiling, {.window = window,
                              .seqlen_q = args.seqlen_q,
                              .queries_there = args.seqlen_q,
                              .keys_there = args.seqlen_k,
                              .mask_block_k = args.block_mask.block_k,
                              .classify = classify});
}

/** The one with the most queries: what a plan says of one sequence is said of it. */
SequencePlan longest_of(const ForwardPlan& forward) {
  SequencePlan longest{};
  for (const SequencePlan& s : forward.sequences)
    if (!s.is_prefix && s.rows.seqlen_q >= longest.rows.seqlen_q) longest = s;
  return longest;
}

/** Sums of tiles, in the plan, and of what they read. */
struct TileSums {
  AttentionPlan& plan;
  Traffic& traffic;

  void add(const TileCounts& tiles, int64_t times) {
    plan.tiles_full += times * tiles.full;
    plan.tiles_partial += times * tiles.partial;
    plan.tiles_skipped += times * tiles.skipped;
    traffic.key_rows += static_cast<double>(times) * tiles.key_rows;
  }
};

/** Adds the tiles of all heads of all sequences, but for those of shared prefixes. */
CallSize add_sequences(const AttentionProblem& p, const ForwardPlan& forward, TileSums& sums) {
  return visit_heads(
      p, [&p](const Sequence&) { return p.group(); },
      [&](int64_t batch, const Sequence& s, int64_t head, int64_t times) {
        const SequencePlan& sequence = forward.sequences[static_cast<size_t>(batch)];
        ForwardArgs args = forward_args(p, s, batch, head / p.group(), nullptr);
        sums.add(tiles_of(forward, sequence, window_of(p, s), args), times);
        if (sequence.prefix < 0) return;
        // But for those before its first key, which are whole tiles.
        args.seqlen_k = sequence.first_key;
        sums.add(tiles_of(forward, sequence, window_of(p, s), args), -times);
      });
}

/** Adds the tiles of shared prefixes, and names these in the plan. */
void add_prefixes(const AttentionProblem& p, const ForwardPlan& forward, TileSums& sums) {
  AttentionProblem all = p;
  all.tree_mask = {};
  all.window_left = all.window_right = kUnbounded;
  for (const SequencePlan& prefix : forward.sequences) {
    if (!prefix.is_prefix) continue;
    const auto index = &prefix - forward.sequences.data();
    int64_t sequences = 0;
    for (const SequencePlan& s : forward.sequences) sequences += s.prefix == index;
    sums.plan.shared_prefixes.push_back({sequences, prefix.rows.seqlen_k});
    const ForwardArgs args = forward_args(all, prefix.rows, prefix.batch, 0, nullptr);
    sums.add(tiles_of(forward, prefix, window_of(all, prefix.rows), args), p.kv_heads());
  }
}

void plan_gradients(const AttentionProblem& p, AttentionPlan& plan) {
  const BackwardPlan backward = plan_backward(p);
  plan.backward_kernel = "cpu.backward";
  plan.backward_scratch_bytes = static_cast<int64_t>(backward.scratch_bytes());
  if (backward.items() == 0) return;
  const BackwardArgs args = backward_args(p, backward, 0, nullptr);
  plan.backward_scratch_bytes +=
      static_cast<int64_t>(backward.kernels->backward_scratch(args)) * backward.threads;
}

/** Bytes that threads and partial results take beside tensors. */
int64_t scratch_bytes(const AttentionProblem& p, const ForwardPlan& forward,
                      const SequencePlan& longest, int panels) {
  ForwardArgs args{};
  args.head_dim = static_cast<int>(p.head_dim());
  args.head_dim_v = static_cast<int>(p.head_dim_v());
  args.panels = panels;
  args.tile_k = forward.tile_k;
  args.kv_heads = static_cast<int>(forward.heads_per_block(longest));
  const auto scratch =
      longest.decode ? forward.kernels->decode_scratch : forward.kernels->forward_scratch;
  return static_cast<int64_t>(scratch(args)) * forward.threads +
         static_cast<int64_t>(forward.partial_bytes());
}

}  // namespace

AttentionPlan plan_attention(const AttentionProblem& problem) {
  AttentionProblem p = problem;
  if (!p.out.present()) {
    // Only addresses that are never followed come from it.
    p.out = p.q;
    p.out.shape[3] = p.head_dim_v();
  }
  ForwardPlan forward;
  plan_forward(p, forward);
  AttentionPlan plan;
  const SequencePlan longest = longest_of(forward);
  plan.kernel = longest.decode ? "cpu.decode" : "cpu.forward";
  plan.isa = forward.kernels->name;
  plan.threads = forward.threads;
  plan.tile_q = tile_rows(forward, longest);
  plan.tile_k = forward.tile_k;
  plan.panels = longest.decode ? 1 : forward.panels();
  plan.block_rows = forward.rows_per_block(longest);
  plan.packed_heads = static_cast<int>(p.group());
  plan.num_splits = forward.num_splits;
  plan.work_items = forward.work_items();
  plan.scratch_bytes = scratch_bytes(p, forward, longest, plan.panels);
  if (!p.paged() && !p.float8()) plan_gradients(p, plan);

  Traffic traffic{.partial_bytes = 2 * static_cast<double>(forward.partial_bytes())};
  TileSums sums{.plan = plan, .traffic = traffic};
  const CallSize size = add_sequences(p, forward, sums);
  add_prefixes(p, forward, sums);
  traffic.query_rows = size.rows;
  set_cost(plan, p, size, traffic);
  return plan;
}

}  // namespace fa::cpu
