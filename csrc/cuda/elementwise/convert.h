// Element-wise conversion.
#pragma once

#include "core/view.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/**
 * Enqueues target[i] = source[i] for two views of one shape, of any strides and dtypes; no two
 * elements of the target may lie in one place.
 */
void convert(const View& source, const View& target, const Queue& queue);

}  // namespace fa::cuda
