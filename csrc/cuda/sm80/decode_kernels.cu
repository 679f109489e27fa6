#include "cuda/device/codes.h"
#include "cuda/device/compiled_images.h"
#include "cuda/sm80/forward_params.h"

namespace fa::cuda::sm80 {

namespace {

template <KernelImage kImage>
ForwardKernel find(DType dtype, bool codes, bool featured, int width) {
#define FA_KERNEL(architectures, T, kWidth, kFeatured)                                  \
  if ((kIsCode<T> ? codes : !codes && dtype == kDTypeOf<T> && featured == kFeatured) && \
      width == kWidth)                                                                  \
    return decode_entry<kImage, T, kWidth, kFeatured>();
#include "cuda/sm80/decode_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

ForwardKernel find_decode(KernelImage image, DType dtype, bool codes, bool featured, int width) {
  return image == KernelImage::kPtx ? find<kPtxIfAny>(dtype, codes, featured, width)
                                    : find<kMachineCodeIfAny>(dtype, codes, featured, width);
}

}  // namespace fa::cuda::sm80
