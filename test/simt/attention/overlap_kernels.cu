// The kernels of calls whose launches overlap, but for those of forward_sm90_kernels.cu.
#include "cuda/elementwise/combine.cu"
#include "cuda/sm80/decode.h"
#include "cuda/sm80/forward.h"
#include "mla_kernels.cu"
#include "mla_sm90_kernels.cu"

namespace fa::cuda::sm80 {

ForwardKernel find_forward(KernelImage, DType, bool featured, int) {
  return featured ? forward<ptx::f16, true, 1> : forward<ptx::f16, false, 1>;
}

ForwardKernel find_decode(KernelImage, DType, bool, bool featured, int) {
  return featured ? decode<ptx::f16, 64, true> : decode<ptx::f16, 64, false>;
}

}  // namespace fa::cuda::sm80
