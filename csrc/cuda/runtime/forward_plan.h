// How a forward call is cut into blocks: one function decides kernel, tile, packing and splits.
#pragma once

#include <cuda_runtime.h>

#include "core/attention.h"
#include "cuda/sm80/forward_params.h"
#include "cuda/sm80/forward_tiles.h"

namespace fa::cuda {

struct ForwardPlan {
  bool featured;           // every option, tiles for few rows; else plain
  sm80::ForwardTile tile;  // sm80/forward_tiles.h
  int pack;                // query heads packed as rows of a tile
  int num_splits;
  int64_t row_tiles;    // of the longest sequence
  int64_t head_blocks;  // heads / pack
  int64_t blocks;
  int shared_bytes;  // of a block

  int threads() const { return tile.warps * 32; }
  sm80::ForwardKernel kernel(DType dtype) const;
  /** Floats of a partial result's row: head_dim_v, padded. */
  static int64_t partial_width(const AttentionProblem& problem);
  /** Partial results, when there is more than one split. */
  int64_t scratch_bytes(const AttentionProblem& problem) const;
};

/** Looks at shapes, strides and options alone, never at memory. Throws fa::Error for what no kernel can do. */
ForwardPlan plan_forward(const AttentionProblem& problem, const cudaDeviceProp& properties);

}  // namespace fa::cuda
