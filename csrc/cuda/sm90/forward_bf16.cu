#include "cuda/sm90/forward.h"

namespace fa::cuda::sm90 {

ForwardKernel forward_bf16(bool featured, int width, int width_v) {
  return forward_kernel<ptx::bf16>(featured, width, width_v);
}

}  // namespace fa::cuda::sm90
