#include "cuda/sm80/backward.h"

namespace fa::cuda::sm80 {

BackwardKernel backward_bf16(Outer outer, bool featured, int index) {
  return find_backward_kernel<ptx::bf16>(outer, featured, index);
}

}  // namespace fa::cuda::sm80
