// Parameters of the forward kernels, and where to find a kernel.
#pragma once

#include "core/dtype.h"
#include "cuda/device/kernel_image.h"
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

/** The kernel of tile `index` of forward_tiles(). forward_kernels.def lists them. */
ForwardKernel find_forward(KernelImage image, DType dtype, bool featured, int index);

/**
 * The same of few rows (decode_tiles.h, decode_kernels.def). Over codes, keys and values in 8 bits,
 * there is one for q of either dtype, with every option.
 */
ForwardKernel find_decode(KernelImage image, DType dtype, bool codes, bool featured, int width);

// What a unit defines (forward.cu, decode.cu).
template <KernelImage kImage, class T, bool kFeatured, int kIndex>
ForwardKernel forward_entry();
template <KernelImage kImage, class T, int kWidth, bool kFeatured>
ForwardKernel decode_entry();

}  // namespace fa::cuda::sm80
