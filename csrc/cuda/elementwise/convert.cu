#include "core/ops.h"
#include "cuda/base/error.h"
#include "cuda/base/execution.h"
#include "cuda/base/launch.h"
#include "cuda/device/element.h"
#include "cuda/elementwise/convert.h"

namespace fa::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;

struct ConvertParams {
  const char* source;
  char* target;
  int source_dtype, target_dtype;
  int64_t size;
  int rank;
  int64_t shape[kMaxRank], source_strides[kMaxRank], target_strides[kMaxRank];
};

__global__ void __launch_bounds__(kThreads)
    convert_kernel(const __grid_constant__ ConvertParams p) {
  const int source_size = element_size(p.source_dtype), target_size = element_size(p.target_dtype);
  int64_t index = int64_t{blockIdx.x} * (kThreads * kPerThread) + threadIdx.x;
  for (int n = 0; n < kPerThread && index < p.size; ++n, index += kThreads) {
    int64_t rest = index, source = 0, target = 0;
    for (int axis = p.rank - 1; axis > 0; --axis) {
      const int64_t at = rest % p.shape[axis];
      source += at * p.source_strides[axis];
      target += at * p.target_strides[axis];
      rest /= p.shape[axis];
    }
    const char* const from = p.source + (source + rest * p.source_strides[0]) * source_size;
    char* const to = p.target + (target + rest * p.target_strides[0]) * target_size;
    if (p.source_dtype == p.target_dtype)
      copy_element(from, to, source_size);
    else
      store_element(to, p.target_dtype, load_element(from, p.source_dtype));
  }
}

/** Sets the axes of `p`: those of both views, neighbours that one stride walks in each as one. */
void set_axes(ConvertParams& p, const View& source, const View& target) {
  p.rank = 1;
  p.shape[0] = 1;
  p.source_strides[0] = p.target_strides[0] = 0;
  for (int axis = 0; axis < source.rank; ++axis) {
    const int64_t length = source.shape[axis];
    const int64_t from = source.strides[axis], to = target.strides[axis];
    if (length == 1) continue;
    int last = p.rank - 1;
    const bool goes_on =
        p.source_strides[last] == from * length && p.target_strides[last] == to * length;
    if (p.shape[last] == 1 || goes_on) {
      p.shape[last] *= length;
    } else {
      last = p.rank++;
      p.shape[last] = length;
    }
    p.source_strides[last] = from;
    p.target_strides[last] = to;
  }
}

}  // namespace

void convert(const View& source, const View& target, const Queue& queue) {
  const int64_t size = target.size();
  if (size == 0) return;
  if (source.dtype == target.dtype && source.contiguous() && target.contiguous()) {
    FA_CUDA(cudaMemcpyAsync, target.data, source.data,
            static_cast<size_t>(size) * dtype_size(target.dtype), cudaMemcpyDeviceToDevice,
            queue.stream);
    return;
  }
  ConvertParams p{};
  p.source = static_cast<const char*>(source.data);
  p.target = static_cast<char*>(target.data);
  p.source_dtype = static_cast<int>(source.dtype);
  p.target_dtype = static_cast<int>(target.dtype);
  p.size = size;
  set_axes(p, source, target);
  const int64_t per_block = kThreads * kPerThread;
  launch(convert_kernel, (size + per_block - 1) / per_block, kThreads, 0, queue, p);
}

}  // namespace fa::cuda

namespace fa {

void ops::Convert::run(cuda::Execution& execution) const {
  cuda::convert(source, target, execution.queue);
}

}  // namespace fa
