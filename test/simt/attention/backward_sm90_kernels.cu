// The backward kernels of sm_90a that the cases use.
#include "cuda/sm90/backward.h"
#include "cuda/sm90/query_sum.cu"

namespace fa::cuda::sm90 {

// backward_sm90_wide_kernels.cu
BackwardKernel wide_backward(DType dtype, bool featured, int width);

BackwardKernel find_backward(DType dtype, bool featured, int width) {
  if (width > 128) return wide_backward(dtype, featured, width);
  if (dtype == DType::kBFloat16)
    return width != 128 ? nullptr
           : featured   ? backward_kernel<ptx::bf16, 128, true>
                        : backward_kernel<ptx::bf16, 128, false>;
  if (width == 96) return featured ? nullptr : backward_kernel<ptx::f16, 96, false>;
  if (width != 64) return nullptr;
  return featured ? backward_kernel<ptx::f16, 64, true> : backward_kernel<ptx::f16, 64, false>;
}

}  // namespace fa::cuda::sm90
