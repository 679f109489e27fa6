#include "cuda/sm90/query_sum.h"

namespace fa::cuda::sm90 {

namespace {

template <class T>
QuerySumKernel find(int width) {
  return width == 64    ? query_sum_kernel<T, 64>
         : width == 96  ? query_sum_kernel<T, 96>
         : width == 128 ? query_sum_kernel<T, 128>
         : width == 192 ? query_sum_kernel<T, 192>
                        : query_sum_kernel<T, 256>;
}

}  // namespace

QuerySumKernel find_query_sum(DType dtype, int width) {
  return dtype == DType::kFloat16 ? find<ptx::f16>(width) : find<ptx::bf16>(width);
}

}  // namespace fa::cuda::sm90
