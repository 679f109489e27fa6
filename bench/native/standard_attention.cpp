#include "standard_attention.h"

#include <atomic>

#include "threads.h"

namespace fa::bench {

namespace {

int64_t panels(int64_t rows) {
  const int64_t panel_rows = standard_kernels().panel_rows;
  return (rows + panel_rows - 1) / panel_rows;
}

/** step(head, panel) for all of them, shared out over threads. */
template <class Step>
void for_each_panel(int64_t heads, int64_t rows, int threads, const Step& step) {
  const int64_t per_head = panels(rows), count = heads * per_head;
  std::atomic<int64_t> next{0};
  run_together(threads, [&](int) {
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1))
      step(i / per_head, i % per_head);
  });
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
  for (const StandardStep step : {kernels.scores, kernels.softmax, kernels.output}) {
    for_each_panel(problem.heads, problem.seqlen_q, threads,
                   [&](int64_t head, int64_t panel) { step(problem, head, panel); });
  }
}

void standard_attention_backward(const StandardProblem& problem, const StandardGradients& gradients,
                                 int threads) {
  const StandardKernels& kernels = standard_kernels();
  const auto over = [&](int64_t rows, StandardGradientStep step) {
    for_each_panel(problem.heads, rows, threads,
                   [&](int64_t head, int64_t panel) { step(problem, gradients, head, panel); });
  };
  for (const StandardStep step : {kernels.scores, kernels.softmax}) {
    for_each_panel(problem.heads, problem.seqlen_q, threads,
                   [&](int64_t head, int64_t panel) { step(problem, head, panel); });
  }
  over(problem.seqlen_k, kernels.turn_p);
  over(problem.seqlen_k, kernels.dv);
  over(problem.seqlen_q, kernels.dp);
  over(problem.seqlen_q, kernels.ds);
  over(problem.seqlen_q, kernels.dq);
  over(problem.seqlen_k, kernels.turn_ds);
  over(problem.seqlen_k, kernels.dk);
}

}  // namespace fa::bench
