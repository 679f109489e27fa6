// The backward kernels that the cases use: the narrowest tile of float16 and float32, width 128 of
// bfloat16, and the tile of float32 that has one stage and one buffer.
#include "cuda/elementwise/delta.cu"
#include "cuda/elementwise/extreme_rows.cu"
#include "cuda/sm80/backward.h"

namespace fa::cuda::sm80 {

namespace {

template <class T, int kIndex>
BackwardKernel of_tile(Outer outer, bool featured) {
  const bool keys = outer == Outer::kKeys;
  if constexpr (sizeof(T) != 4) {
    if (!featured)
      return keys ? backward_kernel<T, Outer::kKeys, false, kIndex>
                  : backward_kernel<T, Outer::kQueries, false, kIndex>;
  }
  return keys ? backward_kernel<T, Outer::kKeys, true, kIndex>
              : backward_kernel<T, Outer::kQueries, true, kIndex>;
}

}  // namespace

BackwardKernel find_backward(KernelImage, DType dtype, Outer outer, bool featured, int index) {
  if (dtype == DType::kFloat16 && index == 0) return of_tile<ptx::f16, 0>(outer, featured);
  if (dtype == DType::kBFloat16 && index == 1) return of_tile<ptx::bf16, 1>(outer, featured);
  if (dtype == DType::kFloat32 && index == 0) return of_tile<float, 0>(outer, featured);
  if (dtype == DType::kFloat32 && index == 2) return of_tile<float, 2>(outer, featured);
  return nullptr;
}

}  // namespace fa::cuda::sm80
