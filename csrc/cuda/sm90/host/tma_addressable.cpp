#include "cuda/sm90/host/tma_addressable.h"

#include "core/dtype.h"
#include "cuda/base/params.h"

namespace fa::cuda::sm90 {

bool tma_addressable(const View& view) {
  constexpr int64_t kStrideLimit = int64_t{1} << 40;  // bytes
  const int64_t element = static_cast<int64_t>(dtype_size(view.dtype));
  if (!aligned_rows(view)) return false;
  for (int axis = 0; axis < view.rank; ++axis) {
    const int64_t stride = view.strides[axis];
    if (view.shape[axis] == 0) return false;
    if (view.shape[axis] > 1 && (stride <= 0 || stride > kStrideLimit / element / view.shape[axis]))
      return false;
  }
  return true;
}

}  // namespace fa::cuda::sm90
