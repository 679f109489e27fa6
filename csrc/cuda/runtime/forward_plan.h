// How a forward call is cut into blocks: one function decides kernel, tile, packing and splits.
#pragma once

#include <cuda_runtime.h>

#include <memory>

#include "core/attention.h"
#include "cuda/base/forward_launch.h"
#include "cuda/runtime/work_list.h"

namespace fa::cuda {

/**
 * The kernel is chosen for each sequence by its own length, so that a sequence's bits do not depend
 * on its neighbours: a batch of short and long ones takes several launches.
 */
struct ForwardPlan {
  ForwardLaunch launches[3];  // that of the longest sequences first
  int launch_count;
  int num_splits;                  // of the sequence that has most
  std::shared_ptr<WorkList> work;  // of a ragged call; else all sequences are alike

  /** What takes a sequence of `seqlen_q` queries. */
  const ForwardLaunch& launch_of(int64_t seqlen_q) const;
  int64_t tiles() const;
  /** Launches that have work. */
  int filled_launches() const;

  /** Floats of a partial result's row: head_dim_v, padded. */
  static int64_t partial_width(const AttentionProblem& problem);
  int64_t partial_rows(const AttentionProblem& problem) const;
  /** Partial results, when there is more than one split. */
  int64_t scratch_bytes(const AttentionProblem& problem) const;
};

/** Upper bound of the tiles of keys that the rows of one tile visit. */
int64_t key_tiles(const AttentionProblem& problem, const ForwardLaunch& launch);

/** Blocks of a launch that run at a time. */
int64_t places_of(const ForwardLaunch& launch, const cudaDeviceProp& properties);

/** Gives a launch tiles; blocks of sm_90a draw them. */
void set_tiles(ForwardLaunch& launch, int64_t tiles, const cudaDeviceProp& properties);

/**
 * Looks at shapes, strides, options and the lengths of sequences, never at the device's memory.
 * Throws fa::Error for what no kernel can do.
 */
ForwardPlan plan_forward(const AttentionProblem& problem, const cudaDeviceProp& properties);

}  // namespace fa::cuda
