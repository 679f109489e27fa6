#include "cuda/sm80/forward.h"

namespace fa::cuda::sm80 {

ForwardKernel forward_f16(bool featured, int width) {
  return forward_kernel<ptx::f16>(featured, width);
}

}  // namespace fa::cuda::sm80
