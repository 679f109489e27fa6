#include "cuda/device/compiled_images.h"
#include "cuda/sm90/forward_params.h"

namespace fa::cuda::sm90 {

namespace {

template <KernelImage kImage>
ForwardKernel find(DType dtype, ForwardVariant variant, int width, int width_v) {
#define FA_KERNEL(architectures, T, kWidth, kWidthV, kVariant)                              \
  if (dtype == kDTypeOf<T> && variant == kVariant && width == kWidth && width_v == kWidthV) \
    return forward_entry<kImage, T, kWidth, kWidthV, kVariant>();
#include "cuda/sm90/forward_kernels.def"
#undef FA_KERNEL
  return nullptr;
}

}  // namespace

ForwardKernel find_forward(DType dtype, ForwardVariant variant, int width, int width_v) {
  return find<kMachineCodeIfAny>(dtype, variant, width, width_v);
}

}  // namespace fa::cuda::sm90
