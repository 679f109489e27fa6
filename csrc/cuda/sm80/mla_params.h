// Parameters of the kernel of wide heads, and where to find it.
#pragma once

#include "cuda/sm80/forward_params.h"

namespace fa::cuda::sm80 {

struct MlaParams {
  ForwardParams forward;
  bool values_in_keys;  // each value is the first dims of its key
};

using MlaKernel = void (*)(MlaParams);

/** The kernel of a tile (mla_tiles.h). mla_kernels.def lists them. */
MlaKernel find_mla(KernelImage image, DType dtype, int rows);

// What a unit defines (mla.cu).
template <KernelImage kImage, class T, int kTileRows>
MlaKernel mla_entry();

}  // namespace fa::cuda::sm80
