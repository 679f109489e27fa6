// The forward kernels that the cases use; fewer than a device has, so that a changed one is
// compiled in seconds.
#include "cuda/elementwise/combine.cu"
#include "cuda/sm80/decode.h"
#include "cuda/sm80/forward.h"

namespace fa::cuda::sm80 {

namespace {

ForwardKernel forward_f16(bool featured, int width) {
  if (width == 32) return featured ? forward<ptx::f16, 32, true> : forward<ptx::f16, 32, false>;
  if (width == 96 && featured) return forward<ptx::f16, 96, true>;
  if (width == 256 && featured) return forward<ptx::f16, 256, true>;
  if (width != 64) return nullptr;
  return featured ? forward<ptx::f16, 64, true> : forward<ptx::f16, 64, false>;
}

ForwardKernel forward_bf16(bool featured, int width) {
  if (width == 192 && featured) return forward<ptx::bf16, 192, true>;
  if (width != 128) return nullptr;
  return featured ? forward<ptx::bf16, 128, true> : forward<ptx::bf16, 128, false>;
}

ForwardKernel decode_f16(bool featured, int width) {
  if (width == 32) return featured ? decode<ptx::f16, 32, true> : decode<ptx::f16, 32, false>;
  if (width == 96 && featured) return decode<ptx::f16, 96, true>;
  if (width == 256 && featured) return decode<ptx::f16, 256, true>;
  if (width != 64) return nullptr;
  return featured ? decode<ptx::f16, 64, true> : decode<ptx::f16, 64, false>;
}

ForwardKernel decode_bf16(bool featured, int width) {
  if (width == 192) return featured ? decode<ptx::bf16, 192, true> : decode<ptx::bf16, 192, false>;
  if (width != 128) return nullptr;
  return featured ? decode<ptx::bf16, 128, true> : decode<ptx::bf16, 128, false>;
}

ForwardKernel decode_codes(int width) {
  if (width == 64) return decode<Code, 64, true>;
  return width == 128 ? decode<Code, 128, true> : nullptr;
}

}  // namespace

ForwardKernel find_forward(KernelImage, DType dtype, bool featured, int width) {
  if (dtype == DType::kFloat32) return width == 32 ? forward<float, 32, true> : nullptr;
  return (dtype == DType::kFloat16 ? forward_f16 : forward_bf16)(featured, width);
}

ForwardKernel find_decode(KernelImage, DType dtype, bool codes, bool featured, int width) {
  if (codes) return decode_codes(width);
  return (dtype == DType::kFloat16 ? decode_f16 : decode_bf16)(featured, width);
}

}  // namespace fa::cuda::sm80
