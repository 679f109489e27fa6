// Where to find a backward kernel.
#pragma once

#include "cuda/device/backward_params.h"
#include "cuda/sm80/backward_tiles.h"

namespace fa::cuda::sm80 {

using BackwardKernel = void (*)(BackwardParams);

/**
 * The kernel of tile `index` of backward_tiles(). One definition per dtype: backward_f16.cu, ...
 */
BackwardKernel backward_f16(Outer outer, bool featured, int index);
BackwardKernel backward_bf16(Outer outer, bool featured, int index);
BackwardKernel backward_f32(Outer outer, bool featured, int index);

}  // namespace fa::cuda::sm80
