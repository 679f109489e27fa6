// The operation that GPUs have no kernel for. A call is refused before it is enqueued.
#include "cuda/base/execution.h"
#include "cuda/runtime/cuda_backend.h"
#include "cuda/runtime/supported.h"

namespace fa {

void ops::DynamicConv::run(cuda::Execution& execution) const {
  cuda::refuse_convolution(execution.backend.device());
}

}  // namespace fa
