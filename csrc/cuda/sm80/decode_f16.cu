#include "cuda/sm80/decode.h"

namespace fa::cuda::sm80 {

ForwardKernel decode_f16(bool featured, int width) {
  return decode_kernel<ptx::f16>(featured, width);
}

}  // namespace fa::cuda::sm80
