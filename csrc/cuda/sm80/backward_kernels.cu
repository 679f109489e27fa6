#include "cuda/device/compiled_images.h"
#include "cuda/sm80/backward_kernels.h"

namespace fa::cuda::sm80 {

namespace {

template <KernelImage kImage>
BackwardKernel find(DType dtype, Outer outer, bool featured, int index) {
#define FA_KERNEL(architectures, T, kOuter, kFeatured, kIndex)                             \
  if (dtype == kDTypeOf<T> && outer == kOuter && featured == kFeatured && index == kIndex) \
    return backward_entry<kImage, T, kOuter, kFeatured, kIndex>();
#include "cuda/sm80/backward_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

BackwardKernel find_backward(KernelImage image, DType dtype, Outer outer, bool featured,
                             int index) {
  return image == KernelImage::kPtx ? find<kPtxIfAny>(dtype, outer, featured, index)
                                    : find<kMachineCodeIfAny>(dtype, outer, featured, index);
}

}  // namespace fa::cuda::sm80
