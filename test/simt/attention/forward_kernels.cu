// The forward kernels that the cases use; fewer than a device has, so that a changed one is
// compiled in seconds.
#include "cuda/elementwise/combine.cu"
#include "cuda/sm80/decode.h"
#include "cuda/sm80/forward.h"

namespace fa::cuda::sm80 {

namespace {

template <class T, bool kFeatured, int kIndex, int... kMore>
ForwardKernel one_of(int index) {
  if (index == kIndex) return forward<T, kFeatured, kIndex>;
  if constexpr (sizeof...(kMore) > 0)
    return one_of<T, kFeatured, kMore...>(index);
  else
    return nullptr;
}

/** Widths 32, 64, 96 and 256; plain 32 and 64. */
ForwardKernel forward_f16(bool featured, int index) {
  return featured ? one_of<ptx::f16, true, 0, 1, 2, 6>(index)
                  : one_of<ptx::f16, false, 0, 1>(index);
}

/** All tiles of widths 128 and 192, of 256 the second; plain both of 128, of 256 the second. */
ForwardKernel forward_bf16(bool featured, int index) {
  return featured ? one_of<ptx::bf16, true, 3, 4, 5, 7>(index)
                  : one_of<ptx::bf16, false, 3, 4, 7>(index);
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

ForwardKernel find_forward(KernelImage, DType dtype, bool featured, int index) {
  if (dtype == DType::kFloat32) return one_of<float, true, 0>(index);
  return (dtype == DType::kFloat16 ? forward_f16 : forward_bf16)(featured, index);
}

ForwardKernel find_decode(KernelImage, DType dtype, bool codes, bool featured, int width) {
  if (codes) return decode_codes(width);
  return (dtype == DType::kFloat16 ? decode_f16 : decode_bf16)(featured, width);
}

}  // namespace fa::cuda::sm80
