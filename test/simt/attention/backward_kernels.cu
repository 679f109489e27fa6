// The backward kernels that the cases use: the narrowest tile of float16 and float32, width 128 of
// bfloat16, and the tile of float32 that has one stage and one buffer; of sm_90a also width 96 of float16.
#include "cuda/any/delta.cu"
#include "cuda/sm80/backward.h"
#include "cuda/sm90/backward.h"

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

BackwardKernel backward_f16(Outer outer, bool featured, int index) {
  return index == 0 ? of_tile<ptx::f16, 0>(outer, featured) : nullptr;
}
BackwardKernel backward_bf16(Outer outer, bool featured, int index) {
  return index == 1 ? of_tile<ptx::bf16, 1>(outer, featured) : nullptr;
}
BackwardKernel backward_f32(Outer outer, bool featured, int index) {
  if (index == 0) return of_tile<float, 0>(outer, featured);
  return index == 2 ? of_tile<float, 2>(outer, featured) : nullptr;
}

}  // namespace fa::cuda::sm80

namespace fa::cuda::sm90 {

BackwardKernel backward_f16(bool featured, int width) {
  if (width == 96) return featured ? nullptr : backward_kernel<ptx::f16, 96, false>;
  if (width != 64) return nullptr;
  return featured ? backward_kernel<ptx::f16, 64, true> : backward_kernel<ptx::f16, 64, false>;
}
BackwardKernel backward_bf16(bool featured, int width) {
  if (width != 128) return nullptr;
  return featured ? backward_kernel<ptx::bf16, 128, true> : backward_kernel<ptx::bf16, 128, false>;
}
QuerySumKernel query_sum_f16(int width) { return find_query_sum_kernel<ptx::f16>(width); }
QuerySumKernel query_sum_bf16(int width) { return find_query_sum_kernel<ptx::bf16>(width); }

}  // namespace fa::cuda::sm90
