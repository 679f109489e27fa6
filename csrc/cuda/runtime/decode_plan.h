// How decode steps of a graph are cut into blocks, whatever the lengths of their sequences.
#pragma once

#include "cuda/runtime/forward_plan.h"

namespace fa::cuda {

/**
 * The plan of a layer whose list, partial results and grid have room for every step. `problem` is
 * of as many queries for each sequence, and of the longest keys. Its list holds no work. Throws
 * Error{kShape} for heads that no kernel takes which blocks without work may leave at once.
 */
ForwardPlan plan_decode(const AttentionProblem& problem, const cudaDeviceProp& properties);

/** The list of a step, as long as that of `plan`: what is left of it stands for no work. */
WorkList decode_work(const AttentionProblem& step, const ForwardPlan& plan,
                     const cudaDeviceProp& properties);

}  // namespace fa::cuda
