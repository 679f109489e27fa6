#include "cuda/sm90/backward.h"

namespace fa::cuda::sm90 {

BackwardKernel backward_f16(bool featured, int width) {
  return find_backward_kernel<ptx::f16>(featured, width);
}
QuerySumKernel query_sum_f16(int width) { return find_query_sum_kernel<ptx::f16>(width); }

}  // namespace fa::cuda::sm90
