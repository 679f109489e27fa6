// What a device decides to do with an attention call.
#pragma once

#include <cuda_runtime.h>

#include "core/attention.h"
#include "core/plan.h"

namespace fa::cuda {

/**
 * Kernel, tiles, splits and cost of `problem`. Its index tensors (cu_seqlens, seqlens_k,
 * page_table, block-mask table) are host memory here, so that tiles can be counted; the rest may be
 * device memory and is not looked at.
 */
AttentionPlan plan_attention(const AttentionProblem& problem, const cudaDeviceProp& properties);

/** See Backend::decode_list_bytes. */
size_t decode_list_bytes(const AttentionProblem& problem, const cudaDeviceProp& properties);

}  // namespace fa::cuda
