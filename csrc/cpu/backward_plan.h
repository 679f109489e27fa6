// How the gradients of a problem are cut into work items for the CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "core/attention.h"
#include "cpu/kernels/table.h"

namespace fa::cpu {

struct BackwardPlan {
  const KernelTable* kernels;
  int threads;
  int tile_k;
  int panels;                  // whose rows share a packed tile
  int64_t heads;               // (sequence, kv head)s
  int64_t parts;               // of a kv head's query rows: a work item each
  int64_t longest;             // keys of any sequence
  int64_t dk_pitch, dv_pitch;  // floats of a key in an item's sums of dK and dV
  int64_t sums;                // items that have theirs at a time
  std::vector<Sequence> sequences;

  int64_t items() const { return heads * parts; }
  int64_t sum_floats() const { return longest * (dk_pitch + dv_pitch); }
  /** Of all sums. */
  size_t scratch_bytes() const { return static_cast<size_t>(sums * sum_floats()) * sizeof(float); }
};

BackwardPlan plan_backward(const AttentionProblem& problem);

/** The kernel's arguments for item `index`, but for where its results go. */
BackwardArgs backward_args(const AttentionProblem& problem, const BackwardPlan& plan, int64_t index,
                           const float* sinks);

}  // namespace fa::cpu
