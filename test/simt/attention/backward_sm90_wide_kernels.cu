// The backward kernels of sm_90a for wide heads that the cases use.
#include "cuda/sm90/backward.h"

namespace fa::cuda::sm90 {

BackwardKernel wide_backward(DType dtype, bool featured, int width) {
  if ((dtype == DType::kFloat16) != (width == 256 ? !featured : featured)) return nullptr;
  if (width == 192)
    return featured ? backward_kernel<ptx::f16, 192, true> : backward_kernel<ptx::bf16, 192, false>;
  return featured ? backward_kernel<ptx::bf16, 256, true> : backward_kernel<ptx::f16, 256, false>;
}

}  // namespace fa::cuda::sm90
