#include "standard_attention.h"

#include <atomic>

#include "threads.h"

namespace fa::bench {

namespace {

int64_t panels(int64_t seqlen_q) {
  const int64_t rows = standard_kernels().panel_rows;
  return (seqlen_q + rows - 1) / rows;
}

}  // namespace

const StandardKernels& standard_kernels() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4")) return kStandardV4;
  if (__builtin_cpu_supports("x86-64-v3")) return kStandardV3;
  return kStandardV2;
#else
  return kStandardNeon;
#endif
}

int64_t standard_scores(int64_t heads, int64_t seqlen_q, int64_t seqlen_k) {
  return heads * panels(seqlen_q) * standard_kernels().panel_rows * seqlen_k;
}

void standard_attention(const StandardProblem& problem, int threads) {
  const StandardKernels& kernels = standard_kernels();
  const int64_t per_head = panels(problem.seqlen_q);
  const int64_t count = problem.heads * per_head;
  for (const auto step : {kernels.scores, kernels.softmax, kernels.output}) {
    std::atomic<int64_t> next{0};
    run_together(threads, [&](int) {
      for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        step(problem, i / per_head, i % per_head);
      }
    });
  }
}

}  // namespace fa::bench
