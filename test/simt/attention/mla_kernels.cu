// The kernels of wide heads: all of them.
#include "cuda/sm80/mla.h"

namespace fa::cuda::sm80 {

MlaKernel find_mla(KernelImage, DType dtype, int rows) {
  if (dtype == DType::kFloat16) return rows == 16 ? mla<ptx::f16, 16> : mla<ptx::f16, 64>;
  return rows == 16 ? mla<ptx::bf16, 16> : mla<ptx::bf16, 64>;
}

}  // namespace fa::cuda::sm80
