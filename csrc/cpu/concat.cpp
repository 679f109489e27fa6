#include "cpu/ops.h"

namespace fa {

void ops::Concat::run(cpu::Execution& execution) const {
  for (size_t i = 0; i < sources.size(); ++i) {
    cpu::convert(sources[i], parts[i], execution.cancel);
  }
}

}  // namespace fa
