// The backward kernels of sm_90a that the cases use.
#include "cuda/sm90/backward.h"

namespace fa::cuda::sm90 {

BackwardKernel backward_f16(bool featured, int width) {
  if (width == 96) return featured ? nullptr : backward_kernel<ptx::f16, 96, false>;
  if (width != 64) return nullptr;
  return featured ? backward_kernel<ptx::f16, 64, true> : backward_kernel<ptx::f16, 64, false>;
}
BackwardKernel backward_bf16(bool featured, int width) {
  if (width != 128) return nullptr;
  return featured ? backward_kernel<ptx::bf16, 128, true> : backward_kernel<ptx::bf16, 128, false>;
}
QuerySumKernel query_sum_f16(int width) { return find_query_sum_kernel<ptx::f16>(width); }
QuerySumKernel query_sum_bf16(int width) { return find_query_sum_kernel<ptx::bf16>(width); }

}  // namespace fa::cuda::sm90
