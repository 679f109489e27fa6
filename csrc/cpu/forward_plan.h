// How a problem is cut into work items for the CPU: one function decides kernels, panels, tile and
// splits.
#pragma once

#include <cstdint>
#include <vector>

#include "core/attention.h"
#include "cpu/kernels/table.h"

namespace fa::cpu {

/** What a sequence's own lengths decide, and where it comes in the batch. */
struct SequencePlan {
  Sequence rows;
  bool decode;         // few rows: the decode kernel
  int num_splits;      // of its keys
  int64_t first_item;  // work items, rows of split sequences and partial results before it
  int64_t first_split_row;
  int64_t first_state;
};

struct ForwardPlan {
  const KernelTable* kernels;
  int threads;
  int tile_k;
  int panels;                // that share a pass over the keys
  int64_t heads_per_decode;  // kv heads of an item of the decode kernel
  int num_splits;            // the most of any sequence
  int64_t work_items;
  int64_t split_rows;      // of sequences whose keys are split
  int64_t states;          // partial results: one per split of those
  int64_t partial_floats;  // that they take
  std::vector<SequencePlan> sequences;

  size_t partial_bytes() const { return static_cast<size_t>(partial_floats) * sizeof(float); }
  int64_t heads_per_item(const SequencePlan& sequence) const {
    return sequence.decode ? heads_per_decode : 1;
  }
  int64_t rows_per_item(const SequencePlan& sequence) const {
    return sequence.decode ? kernels->decode_rows : int64_t{panels} * kernels->panel_rows;
  }
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
 * The kernel's arguments for a (batch, kv head) of the problem, all rows and keys of `sequence`;
 * panels and tile are left to the caller. `sinks` holds the logits of all heads as float32, or is
 * null.
 */
ForwardArgs forward_args(const AttentionProblem& problem, const Sequence& sequence, int64_t batch,
                         int64_t kv_head, const float* sinks);

/** The sink logits of all heads as float32; the problem has sinks. */
void load_sink_logits(const AttentionProblem& problem, float* logits);
/** The same; empty without sinks. */
std::vector<float> sink_logits(const AttentionProblem& problem);

/** Keys of one split: whole tiles. */
void set_split(ForwardArgs& args, int split, int num_splits);

}  // namespace fa::cpu
