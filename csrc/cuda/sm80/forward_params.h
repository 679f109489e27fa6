// Parameters of the forward kernels, and where to find a kernel.
#pragma once

#include "core/dtype.h"
#include "cuda/device/params.h"
#include "cuda/device/work_item.h"

namespace fa::cuda::sm80 {

struct ForwardParams {
  AttentionParams attention;
  FastDivide pack;         // query heads packed as rows: 1, or the whole group
  FastDivide head_blocks;  // heads / pack
  FastDivide m_blocks;     // tiles of rows of a sequence, where all are alike
  SplitParams splits;
};

using ForwardKernel = void (*)(ForwardParams);

/** The kernel of a tile (forward_tiles.h). One definition per dtype: forward_f16.cu, ... */
ForwardKernel forward_f16(bool featured, int width);
ForwardKernel forward_bf16(bool featured, int width);
ForwardKernel forward_f32(bool featured, int width);

/** The same of few rows (decode_tiles.h). */
ForwardKernel decode_f16(bool featured, int width);
ForwardKernel decode_bf16(bool featured, int width);
/** Over keys and values in 8 bits, for q of either dtype, with every option. */
ForwardKernel decode_codes(int width);

}  // namespace fa::cuda::sm80
