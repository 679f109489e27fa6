// The kernels of latents of sm_90a: all of them.
#include "cuda/sm90/mla.h"

namespace fa::cuda::sm90 {

MlaKernel find_mla(DType dtype) {
  return dtype == DType::kFloat16 ? mla<ptx::f16, 576> : mla<ptx::bf16, 576>;
}

}  // namespace fa::cuda::sm90
