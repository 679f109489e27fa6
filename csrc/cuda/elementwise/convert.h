// Element-wise conversion.
#pragma once

#include "core/view.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/**
 * Enqueues target[i] = source[i] in row-major order: any strides and dtype into a contiguous view
 * of the same shape.
 */
void convert(const View& source, const View& target, const Queue& queue);

}  // namespace fa::cuda
