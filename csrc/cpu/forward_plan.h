// How a problem is cut into work items for the CPU: one function decides panels, tile and splits.
#pragma once

#include <cstdint>
#include <vector>

#include "core/attention.h"
#include "cpu/kernels/table.h"

namespace fa::cpu {

struct ForwardPlan {
  const KernelTable* kernels;
  int threads;
  bool decode;  // few rows: the decode kernel
  int tile_k;
  int panels;
  int num_splits;
  int64_t rows_per_item;
  int64_t heads_per_item;           // kv heads; more than one only in decoding
  std::vector<int64_t> first_item;  // per batch, and the total: work items before it

  int64_t work_items() const { return first_item.back(); }
};

/** Fills `plan`, whose memory is used again. */
void plan_forward(const AttentionProblem& problem, ForwardPlan& plan);

/** One work item of the plan. */
struct WorkItem {
  int64_t batch, kv_head, row_begin, row_end;  // kv_head is the first one
  int split;
};

/** Items of a head lie together, its longest causal rows first. */
WorkItem work_item(const AttentionProblem& problem, const ForwardPlan& plan, int64_t index);

/**
 * The kernel's arguments for a (batch, kv head) of the problem, all rows and keys. `sinks` holds
 * the logits of all heads as float32, or is null.
 */
ForwardArgs forward_args(const AttentionProblem& problem, const ForwardPlan& plan, int64_t batch,
                         int64_t kv_head, const float* sinks);

/** The sink logits of all heads as float32; the problem has sinks. */
void load_sink_logits(const AttentionProblem& problem, float* logits);
/** The same; empty without sinks. */
std::vector<float> sink_logits(const AttentionProblem& problem);

/** Keys of one split: whole tiles. */
void set_split(ForwardArgs& args, int split, int num_splits);

}  // namespace fa::cpu
