#include "cuda/device/compiled_images.h"
#include "cuda/sm80/forward_params.h"

namespace fa::cuda::sm80 {

namespace {

template <KernelImage kImage>
ForwardKernel find(DType dtype, bool featured, int index) {
#define FA_KERNEL(architectures, T, kFeatured, kIndex)                  \
  if (dtype == kDTypeOf<T> && featured == kFeatured && index == kIndex) \
    return forward_entry<kImage, T, kFeatured, kIndex>();
#include "cuda/sm80/forward_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

ForwardKernel find_forward(KernelImage image, DType dtype, bool featured, int index) {
  return image == KernelImage::kPtx ? find<kPtxIfAny>(dtype, featured, index)
                                    : find<kMachineCodeIfAny>(dtype, featured, index);
}

}  // namespace fa::cuda::sm80
