// How a forward call is cut into blocks: one function decides kernel, tile, packing and splits.
#pragma once

#include <cuda_runtime.h>

#include "core/attention.h"
#include "cuda/device/params.h"

namespace fa::cuda {

enum class ForwardKernelFamily { kSm80, kSm90 };

/** One kernel, and the sequences it is for. */
struct ForwardLaunch {
  ForwardKernelFamily family;
  bool featured;       // every option; of sm_80 also the tiles for few rows; else plain
  int width, width_v;  // head dims of the products: padded
  int rows, keys;      // of a tile
  int rows_together;   // that leave out tiles of keys together: a warp's, or a warpgroup's
  int stages;
  int threads;          // of a block
  int shared_bytes;     // of a block
  int pack;             // query heads packed as rows of a tile
  QueryCounts queries;  // sequences of other lengths are left to the other launch
  int64_t row_tiles;    // of the longest of its sequences
  int64_t head_blocks;  // heads / pack
  int64_t tiles;        // of rows, over all heads, sequences and splits
  int64_t section;      // sm_90: (sequence, block of heads)s that are worked on at a time
  int64_t blocks;       // launched: all tiles, or as many as there are SMs
};

/**
 * The kernel is chosen for each sequence by its own length, so that a sequence's bits do not depend
 * on its neighbours: a batch of short and long ones takes two launches.
 */
struct ForwardPlan {
  ForwardLaunch launches[2];  // that of the longest sequence first
  int launch_count;
  int num_splits;

  /** What takes a sequence of `seqlen_q` queries. */
  const ForwardLaunch& launch_of(int64_t seqlen_q) const {
    return launches[launch_count == 2 && !launches[0].queries.hold(seqlen_q)];
  }
  int64_t tiles() const { return launches[0].tiles + (launch_count == 2 ? launches[1].tiles : 0); }

  /** Floats of a partial result's row: head_dim_v, padded. */
  static int64_t partial_width(const AttentionProblem& problem);
  /** Partial results, when there is more than one split. */
  int64_t scratch_bytes(const AttentionProblem& problem) const;
};

/**
 * Looks at shapes, strides and options alone, never at memory. Throws fa::Error for what no kernel
 * can do.
 */
ForwardPlan plan_forward(const AttentionProblem& problem, const cudaDeviceProp& properties);

}  // namespace fa::cuda
