#include "cuda/sm80/forward.h"

namespace fa::cuda::sm80 {

ForwardKernel forward_f32(bool featured, int width) {
  return forward_kernel<float>(featured, width);
}

}  // namespace fa::cuda::sm80
