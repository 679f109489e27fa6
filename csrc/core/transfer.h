// Copies between devices.
#pragma once

#include "core/stream.h"

namespace fa {

/**
 * Enqueues the copy of a tensor to another device, through host memory, with conversion: by a task
 * of `from`, a stream of the source's device, and one of the target's stream. `target` is
 * contiguous and has the shape of `source`.
 */
void transfer(const TensorRef& source, Stream& from, const TensorRef& target);

}  // namespace fa
