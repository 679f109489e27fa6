// The parameters of a kernel from the problem a device is given.
#pragma once

#include "core/attention.h"
#include "cuda/device/params.h"

namespace fa::cuda {

/** `problem` is valid; absent tensors (out, lse) come out as null. Nothing it points to is read. */
AttentionParams attention_params(const AttentionProblem& problem);

/** `view` with axes [batch, row, head, dim]. */
Tensor tensor_params(const View& view);

/** True when rows of `view` can be copied 16 bytes at a time. */
bool aligned_rows(const View& view);

}  // namespace fa::cuda
