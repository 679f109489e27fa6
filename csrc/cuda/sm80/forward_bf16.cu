#include "cuda/sm80/forward.h"

namespace fa::cuda::sm80 {

ForwardKernel forward_bf16(bool featured, int width) {
  return forward_kernel<ptx::bf16>(featured, width);
}

}  // namespace fa::cuda::sm80
