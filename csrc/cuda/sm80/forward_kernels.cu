#include "cuda/device/compiled_images.h"
#include "cuda/sm80/forward_params.h"

namespace fa::cuda::sm80 {

namespace {

template <KernelImage kImage>
ForwardKernel find(DType dtype, bool featured, int width) {
#define FA_KERNEL(architectures, T, kWidth, kFeatured)                  \
  if (dtype == kDTypeOf<T> && featured == kFeatured && width == kWidth) \
    return forward_entry<kImage, T, kWidth, kFeatured>();
#include "cuda/sm80/forward_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

ForwardKernel find_forward(KernelImage image, DType dtype, bool featured, int width) {
  return image == KernelImage::kPtx ? find<kPtxIfAny>(dtype, featured, width)
                                    : find<kMachineCodeIfAny>(dtype, featured, width);
}

}  // namespace fa::cuda::sm80
