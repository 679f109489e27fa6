// Where to find a backward kernel.
#pragma once

#include "core/dtype.h"
#include "cuda/device/backward_params.h"
#include "cuda/device/kernel_image.h"
#include "cuda/sm80/backward_tiles.h"

namespace fa::cuda::sm80 {

using BackwardKernel = void (*)(BackwardParams);

/** The kernel of tile `index` of backward_tiles(). backward_kernels.def lists them. */
BackwardKernel find_backward(KernelImage image, DType dtype, Outer outer, bool featured, int index);

// What a unit defines (backward.cu).
template <KernelImage kImage, class T, Outer kOuterRows, bool kFeatured, int kIndex>
BackwardKernel backward_entry();

}  // namespace fa::cuda::sm80
