// Copies between devices.
#pragma once

#include "core/stream.h"

namespace fa {

/**
 * Enqueues the copy of a tensor to another stream, through host memory, with conversion: `target`
 * is contiguous and has the shape of `source`.
 */
void transfer(const TensorRef& source, const TensorRef& target);

}  // namespace fa
