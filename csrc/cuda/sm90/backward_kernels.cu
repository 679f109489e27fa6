#include "cuda/device/compiled_images.h"
#include "cuda/sm90/backward_kernels.h"

namespace fa::cuda::sm90 {

namespace {

template <KernelImage kImage>
BackwardKernel find(DType dtype, bool featured, int width) {
#define FA_KERNEL(architectures, T, kWidth, kFeatured)                  \
  if (dtype == kDTypeOf<T> && featured == kFeatured && width == kWidth) \
    return backward_entry<kImage, T, kWidth, kFeatured>();
#include "cuda/sm90/backward_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

BackwardKernel find_backward(DType dtype, bool featured, int width) {
  return find<kMachineCodeIfAny>(dtype, featured, width);
}

}  // namespace fa::cuda::sm90
