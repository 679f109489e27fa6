#include "cuda/sm90/forward.h"

namespace fa::cuda::sm90 {

ForwardKernel forward_f16(bool featured, int width, int width_v) {
  return forward_kernel<ptx::f16>(featured, width, width_v);
}

}  // namespace fa::cuda::sm90
