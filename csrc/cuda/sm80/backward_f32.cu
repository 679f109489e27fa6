#include "cuda/sm80/backward.h"

namespace fa::cuda::sm80 {

BackwardKernel backward_f32(Outer outer, bool featured, int index) {
  return find_backward_kernel<float>(outer, featured, index);
}

}  // namespace fa::cuda::sm80
