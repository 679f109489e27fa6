// The forward kernels of sm_90a that the cases use.
#include "cuda/sm90/forward.h"

namespace fa::cuda::sm90 {

ForwardKernel fp8_kernel(int width);  // forward_fp8_kernels.cu

namespace {

ForwardKernel forward_f16(bool featured, int width) {
  if (width == 64 && featured)
    return forward<ForwardTraits<ptx::f16, 64, 64, ForwardVariant::kFeatured>>;
  if (width == 64) return forward<ForwardTraits<ptx::f16, 64, 64, ForwardVariant::kPlain>>;
  if (width == 96) return forward<ForwardTraits<ptx::f16, 96, 96, ForwardVariant::kPlain>>;
  if (width == 256) return forward<ForwardTraits<ptx::f16, 256, 256, ForwardVariant::kPlain>>;
  return nullptr;
}

ForwardKernel forward_bf16(int width) {
  if (width == 128) return forward<ForwardTraits<ptx::bf16, 128, 128, ForwardVariant::kPlain>>;
  if (width == 192) return forward<ForwardTraits<ptx::bf16, 192, 128, ForwardVariant::kPlain>>;
  return nullptr;
}

}  // namespace

ForwardKernel find_forward(DType dtype, ForwardVariant variant, int width, int) {
  if (variant == ForwardVariant::kFp8) return fp8_kernel(width);
  return dtype == DType::kFloat16 ? forward_f16(variant == ForwardVariant::kFeatured, width)
                                  : forward_bf16(width);
}

}  // namespace fa::cuda::sm90
