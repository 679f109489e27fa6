// Parameters of the backward kernels of sm_90a, and where to find a kernel.
#pragma once

#include "core/dtype.h"
#include "cuda/device/backward_params.h"
#include "cuda/device/kernel_image.h"
#include "cuda/ptx/tma.h"
#include "cuda/sm90/backward_tiles.h"

namespace fa::cuda::sm90 {

struct BackwardKernelParams {
  BackwardParams call;  // dq_sum as query_sum.h lays it out
  int query_tiles;      // of dq_sum, for each (axis 0 of q, head)

  // Boxes of one panel of a tile; dimensions dim, row, head, batch.
  ptx::tensor_map q, dout, k, v;

  // For the same bits every time, else null: blocks take numbers from `ticket`, and of the blocks
  // that add to a part of dq_sum each waits for its turn: turns[parts tile + part] is 1 + the
  // number of the last tile of keys that has added.
  int* ticket;
  int* turns;
};

using BackwardKernel = void (*)(BackwardKernelParams);
using QuerySumKernel = void (*)(BackwardKernelParams);

/** The kernel of the tile of this width (backward_tiles.h). backward_kernels.def lists them. */
BackwardKernel find_backward(DType dtype, bool featured, int width);

/** The kernel that makes dq of dq_sum (query_sum.h). */
QuerySumKernel find_query_sum(DType dtype, int width);

// What a unit defines (backward.cu).
template <KernelImage kImage, class T, int kWidth, bool kFeatured>
BackwardKernel backward_entry();

}  // namespace fa::cuda::sm90
