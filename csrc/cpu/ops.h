// What the CPU can do with tensors, synchronously on the calling thread and the pool. The
// operations of core/ops.h run these.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/attention.h"
#include "core/cancel.h"
#include "core/ops.h"
#include "core/plan.h"
#include "core/quantize.h"

namespace fa::cpu {

using Clock = std::chrono::steady_clock;

/** What an operation needs of the stream that runs it. */
struct Execution {
  Cancel cancel;
  Clock::time_point& lap;  // when the last lap was
};

/**
 * Name of the instruction set in use ("x86-64-v3"); FLASH_ATTENTION_CPU_ISA pins one. Throws
 * Error{kOption} if it cannot run here.
 */
const std::string& isa();
/** Every level this binary holds that this machine can run, best first. */
std::vector<std::string> isa_levels();

AttentionPlan plan_attention(const AttentionProblem& problem);
void attention_forward(const AttentionProblem& problem, Cancel cancel);
void attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                        Cancel cancel);
void merge_states(const std::vector<View>& outs, const std::vector<View>& lses, const View& out,
                  const View& lse, Cancel cancel);
void convolve(const Convolution& convolution, Cancel cancel);
void convert(const View& source, const View& target, Cancel cancel);
void quantize(const View& plain, const Quantized& quantized, Cancel cancel);
void dequantize(const Quantized& quantized, const View& plain, Cancel cancel);
void fill_zero(const View& target, Cancel cancel);
void fill_normal(const View& target, uint64_t seed, Cancel cancel);

}  // namespace fa::cpu
