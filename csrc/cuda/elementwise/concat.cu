#include "cuda/base/execution.h"
#include "cuda/elementwise/convert.h"

namespace fa {

void ops::Concat::run(cuda::Execution& execution) const {
  for (size_t i = 0; i < sources.size(); ++i) {
    cuda::convert(sources[i], parts[i], execution.queue);
  }
}

}  // namespace fa
