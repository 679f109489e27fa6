#include "cpu/backward_plan.h"

#include <algorithm>

#include "core/divide.h"
#include "cpu/forward_plan.h"
#include "cpu/isa.h"
#include "cpu/thread_pool.h"

namespace fa::cpu {

namespace {

constexpr int kTileKeys = 96;
constexpr int64_t kBlockBytes = 512 * 1024;  // packed rows that share a packed tile
constexpr int64_t kItemsPerThread = 4;
constexpr int64_t kDeterministicItems = 32;  // a count that does not depend on threads
constexpr int64_t kMaxParts = 16;
// Sums that may take this much are all kept until the end: one wave of items instead of several.
constexpr int64_t kOneWaveBytes = int64_t{64} << 20;

int64_t padded_dim(int64_t dim) { return ceil_div(dim, 16) * 16; }

}  // namespace

BackwardPlan plan_backward(const AttentionProblem& p) {
  BackwardPlan plan{};
  plan.kernels = &kernels();
  plan.threads = num_threads();
  plan.tile_k = kTileKeys;
  int64_t most_queries = 0;
  for (int64_t b = 0; b < p.batch(); ++b) {
    plan.sequences.push_back(sequence(p, b));
    most_queries = std::max(most_queries, plan.sequences.back().seqlen_q);
    plan.longest = std::max(plan.longest, plan.sequences.back().seqlen_k);
  }
  plan.dk_pitch = padded_dim(p.head_dim());
  plan.dv_pitch = padded_dim(p.head_dim_v());
  const int64_t row_bytes = (3 * plan.dk_pitch + 2 * plan.dv_pitch) * 4;
  const int64_t groups_per_block =
      std::clamp<int64_t>(kBlockBytes / (row_bytes * kBackwardGroupRows), 1, 64);
  plan.panels = static_cast<int>(groups_per_block * kBackwardGroupRows / plan.kernels->panel_rows);

  plan.heads = p.batch() * p.kv_heads();
  const bool alone = plan.threads == 1 || plan.heads >= 2 * plan.threads;
  const int64_t wanted = p.deterministic ? kDeterministicItems
                         : alone         ? 1
                                         : kItemsPerThread * plan.threads;
  const int64_t groups = ceil_div(most_queries * p.group(), kBackwardGroupRows);
  const int64_t parts = ceil_div(wanted, std::max<int64_t>(1, plan.heads));
  plan.parts = std::clamp<int64_t>(std::min(parts, groups), 1, kMaxParts);

  plan.sums = plan.threads;
  if (plan.parts > 1) {
    // One sum of the parts before, and at least one part to add.
    const int64_t sum_bytes = std::max<int64_t>(1, plan.sum_floats() * 4);
    plan.sums = std::max<int64_t>({2, plan.threads, kOneWaveBytes / sum_bytes});
  }
  plan.sums = std::min(plan.sums, plan.items());
  return plan;
}

BackwardArgs backward_args(const AttentionProblem& p, const BackwardPlan& plan, int64_t index,
                           const float* sinks) {
  const int64_t head = index / plan.parts, part = index % plan.parts;
  const int64_t batch = head / p.kv_heads(), kv_head = head % p.kv_heads();
  const Sequence& s = plan.sequences[static_cast<size_t>(batch)];
  BackwardArgs args{};
  ForwardArgs& forward = args.forward = forward_args(p, s, batch, kv_head, sinks);
  forward.panels = plan.panels;
  forward.tile_k = plan.tile_k;
  const int64_t rows = forward.row_end, groups = ceil_div(rows, kBackwardGroupRows);
  forward.row_begin = std::min(rows, groups * part / plan.parts * kBackwardGroupRows);
  forward.row_end = std::min(rows, groups * (part + 1) / plan.parts * kBackwardGroupRows);
  return args;
}

}  // namespace fa::cpu
