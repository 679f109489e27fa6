// How a problem is cut into work items for the CPU: one function decides kernels, panels, tile,
// splits and items.
#pragma once

#include <cstdint>
#include <vector>

#include "core/attention.h"
#include "core/divide.h"
#include "cpu/kernels/table.h"

namespace fa::cpu {

/** What a sequence's own lengths decide, and where it comes in the batch. */
struct SequencePlan {
  Sequence rows;
  int64_t batch;        // its place in the batch; of a prefix that of a sequence which has it
  bool decode;          // few rows: the decode kernel
  bool is_prefix;       // what several sequences begin with, and the queries of all of them
  int prefix;           // the sequence of the plan that sees its first keys for it; -1: none
  int64_t prefix_row;   // its first query there
  int64_t first_key;    // after those keys: a multiple of tile_k
  int num_splits;       // of the others
  int64_t first_block;  // blocks, rows that are merged and partial results before it
  int64_t first_split_row;
  int64_t first_state;

  /** Whether what it computes is merged with something else. */
  bool partial() const { return num_splits > 1 || prefix >= 0 || is_prefix; }
};

struct ForwardPlan {
  const KernelTable* kernels;
  int threads;
  int tile_k;
  int64_t block_rows;        // whole vectors of packed rows that share a pass over the keys
  int64_t heads_per_decode;  // kv heads of a block of the decode kernel
  int num_splits;            // the most of any sequence
  int64_t blocks;            // what kernels are called for
  int64_t blocks_per_item;   // one after the other on one thread
  int64_t split_rows;        // queries whose partial results are merged
  int64_t states;            // partial results: of each split, and of a prefix for each that has it
  int64_t partial_floats;    // that they take
  int64_t prefix_rows;       // queries of all prefixes
  std::vector<SequencePlan> sequences;  // those of the batch, then prefixes that some share

  /** Partial results of a query: those of its splits, then those of its prefix. */
  int64_t states_of(const SequencePlan& sequence) const;
  size_t partial_bytes() const { return static_cast<size_t>(partial_floats) * sizeof(float); }
  int64_t work_items() const { return ceil_div(blocks, blocks_per_item); }
  int64_t heads_per_block(const SequencePlan& sequence) const {
    return sequence.decode ? heads_per_decode : 1;
  }
  int64_t rows_per_block(const SequencePlan& sequence) const {
    return sequence.decode ? kernels->decode_rows : block_rows;
  }
  /** Register tiles of such a block. */
  int panels() const { return static_cast<int>(ceil_div(block_rows, kernels->panel_rows)); }
};

/** Fills `plan`, whose memory is used again. */
void plan_forward(const AttentionProblem& problem, ForwardPlan& plan);

/** What one call of a kernel computes: rows of a kv head, or of several, over one split. */
struct Block {
  int64_t sequence, kv_head, row_begin, row_end;  // of the plan; kv_head is the first one
  int split;
};

/** Blocks of a head, or of a few, lie together, those that take longest first. */
Block block_at(const AttentionProblem& problem, const ForwardPlan& plan, int64_t index);

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

/** Keys of one split of a sequence: whole tiles. */
void set_split(ForwardArgs& args, const SequencePlan& sequence, int split);

}  // namespace fa::cpu
