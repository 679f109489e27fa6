// How calls are cut for many threads, from the plan itself: no machine with as many is needed.
// Items go to threads as the pool hands them out, in order, each to the first thread that is free.
#include "cpu/forward_plan.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "check.h"
#include "core/layout.h"
#include "cpu/thread_pool.h"

namespace {

using fa::AttentionProblem;
using fa::ceil_div;
using fa::contiguous_view;
using fa::DType;
using fa::cpu::Block;
using fa::cpu::ForwardPlan;
using fa::cpu::SequencePlan;

constexpr int kThreads = 64;

struct Call {
  int64_t batch, seqlen_q, seqlen_k, heads, kv_heads, dim;
  bool causal;
  double most_idle = 0;
};

/** Views of no memory: a plan looks at shapes alone. */
AttentionProblem problem_of(const Call& c) {
  AttentionProblem p;
  p.q = contiguous_view(nullptr, DType::kFloat32, {c.batch, c.seqlen_q, c.heads, c.dim});
  p.out = p.q;
  p.k = contiguous_view(nullptr, DType::kFloat32, {c.batch, c.seqlen_k, c.kv_heads, c.dim});
  p.v = p.k;
  p.max_seqlen_q = c.seqlen_q;
  p.max_seqlen_k = c.seqlen_k;
  p.scale = 1;
  if (c.causal) p.window_right = 0;
  return p;
}

/** Pairs of packed rows and keys that a block computes; few rows are bound by reading the keys. */
int64_t work_of(const AttentionProblem& p, const ForwardPlan& plan, const Block& block) {
  const SequencePlan& s = plan.sequences[static_cast<size_t>(block.sequence)];
  const int64_t keys = ceil_div(s.rows.seqlen_k, s.num_splits), group = p.group();
  if (s.decode) return plan.heads_per_block(s) * keys * plan.kernels->decode_rows;
  if (p.window_right > 0) return (block.row_end - block.row_begin) * keys;
  int64_t pairs = 0;
  for (int64_t row = block.row_begin; row < block.row_end; ++row)
    pairs += std::min(keys, s.rows.first_position + row / group + 1);
  return pairs;
}

/** Share of all threads' time that they have no item, until the last one ends. */
double idle_share(const AttentionProblem& p, const ForwardPlan& plan) {
  std::vector<int64_t> free_at(kThreads, 0);
  int64_t all = 0;
  for (int64_t item = 0; item < plan.work_items(); ++item) {
    const int64_t begin = item * plan.blocks_per_item;
    const int64_t end = std::min(begin + plan.blocks_per_item, plan.blocks);
    int64_t work = 0;
    for (int64_t at = begin; at < end; ++at) work += work_of(p, plan, block_at(p, plan, at));
    *std::min_element(free_at.begin(), free_at.end()) += work;
    all += work;
  }
  const int64_t last = *std::max_element(free_at.begin(), free_at.end());
  return 1 - static_cast<double>(all) / (static_cast<double>(last) * kThreads);
}

void threads_have_work() {
  const Call calls[] = {
      {32, 128, 128, 12, 12, 32, false, 0.01},  {32, 128, 128, 12, 12, 64, false, 0.01},
      {8, 256, 256, 12, 12, 64, false, 0.01},   {64, 16, 16, 12, 12, 64, false, 0.01},
      {1, 512, 512, 16, 16, 64, false, 0.01},   {1, 1024, 1024, 16, 16, 64, false, 0.01},
      {1, 1024, 1024, 16, 16, 64, true, 0.05},  {1, 2048, 2048, 32, 8, 128, false, 0.05},
      {1, 2048, 2048, 32, 8, 128, true, 0.05},  {1, 4096, 4096, 16, 16, 64, true, 0.05},
      {1, 8192, 8192, 12, 12, 128, true, 0.05}, {3, 1000, 1000, 12, 12, 64, true, 0.05},
      {1, 1, 65536, 32, 8, 128, false, 0.01},   {8, 1, 4096, 32, 8, 128, false, 0.01},
  };
  for (const Call& call : calls) {
    const AttentionProblem p = problem_of(call);
    ForwardPlan plan;
    plan_forward(p, plan);
    CHECK(idle_share(p, plan) <= call.most_idle);
  }
}

/** A call of little work is one item, and no thread is woken for it. */
void small_calls_stay_together() {
  for (const Call& call : {Call{1, 1, 1, 1, 1, 64, false}, Call{1, 1, 8, 12, 12, 64, false},
                           Call{2, 4, 4, 12, 12, 64, true}}) {
    const AttentionProblem p = problem_of(call);
    ForwardPlan plan;
    plan_forward(p, plan);
    CHECK(plan.work_items() == 1);
  }
  const AttentionProblem none = problem_of({2, 0, 5, 4, 4, 64, false});
  ForwardPlan plan;
  plan_forward(none, plan);
  CHECK(plan.work_items() == 0);
}

}  // namespace

int main() {
  setenv("FLASH_ATTENTION_NUM_THREADS", "64", 1);
  CHECK(fa::cpu::num_threads() == kThreads);
  threads_have_work();
  small_calls_stay_together();
  std::puts("forward plan: ok");
  return 0;
}
