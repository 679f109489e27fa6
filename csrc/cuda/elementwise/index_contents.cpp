#include "cuda/elementwise/index_contents.h"

#include "cuda/base/error.h"
#include "cuda/elementwise/convert.h"

namespace fa::cuda {

void FetchedIndices::fetch(View& view) {
  const size_t count = static_cast<size_t>(view.size());
  auto& host = contents_.emplace_back(count);
  const View packed = contiguous_like(view, view.dtype, scratch_.take_array<int32_t>(count));
  convert(view, packed, queue_);
  FA_CUDA(cudaMemcpyAsync, host.data(), packed.data, count * sizeof(int32_t),
          cudaMemcpyDeviceToHost, queue_.stream);
  view = contiguous_like(view, view.dtype, host.data());
}

void FetchedIndices::wait() { FA_CUDA(cudaStreamSynchronize, queue_.stream); }

}  // namespace fa::cuda
