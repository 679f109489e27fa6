#include "cuda/runtime/index_contents.h"

#include <list>
#include <vector>

#include "core/validate.h"
#include "cuda/base/error.h"
#include "cuda/base/scratch.h"
#include "cuda/elementwise/convert.h"

namespace fa::cuda {

void validate_contents_on_device(const AttentionProblem& problem, const Queue& queue) {
  AttentionProblem on_host = problem;
  Scratch scratch(queue);
  std::list<std::vector<int32_t>> contents;
  for_each_index(on_host, [&](View& view) {
    const size_t count = static_cast<size_t>(view.size());
    auto& host = contents.emplace_back(count);
    const View packed = contiguous_like(view, view.dtype, scratch.take_array<int32_t>(count));
    convert(view, packed, queue);
    FA_CUDA(cudaMemcpyAsync, host.data(), packed.data, count * sizeof(int32_t),
            cudaMemcpyDeviceToHost, queue.stream);
    view = contiguous_like(view, view.dtype, host.data());
  });
  FA_CUDA(cudaStreamSynchronize, queue.stream);
  validate_contents(on_host);
}

}  // namespace fa::cuda
