// Entry points that have no implementation yet.
#include "core/error.h"
#include "cuda/runtime/backward.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/plan.h"

namespace fa::cuda {

namespace {
[[noreturn]] void missing(const char* what) {
  throw Error(ErrorCode::kDevice, "", std::string(what) + " is not implemented for this device");
}
}  // namespace

__attribute__((weak)) void attention_forward(const AttentionProblem&, const Queue&) {
  missing("The forward pass");
}
__attribute__((weak)) void attention_backward(const AttentionProblem&, const AttentionGradients&,
                                              const Queue&) {
  missing("The backward pass");
}
__attribute__((weak)) AttentionPlan plan_attention(const AttentionProblem&, const cudaDeviceProp&) {
  missing("The plan");
}

}  // namespace fa::cuda
