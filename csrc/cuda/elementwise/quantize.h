// Tensors to float8 with scales, and back.
#pragma once

#include "core/quantize.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

/** Enqueues values and scales of `plain`. The same bits as on the CPU. */
void quantize(const View& plain, const Quantized& quantized, const Queue& queue);

/** Enqueues plain = values * scales, rotated back. */
void dequantize(const Quantized& quantized, const View& plain, const Queue& queue);

}  // namespace fa::cuda
