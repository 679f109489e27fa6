// The forward kernels of sm_90a for float8: all of them.
#include "cuda/sm90/forward.h"

namespace fa::cuda::sm90 {

ForwardKernel fp8_kernel(int width) {
  switch (width) {
    case 64: return forward<ForwardTraits<ptx::e4m3, 64, 64, ForwardVariant::kFp8>>;
    case 128: return forward<ForwardTraits<ptx::e4m3, 128, 128, ForwardVariant::kFp8>>;
    case 256: return forward<ForwardTraits<ptx::e4m3, 256, 256, ForwardVariant::kFp8>>;
    default: return nullptr;
  }
}

}  // namespace fa::cuda::sm90
