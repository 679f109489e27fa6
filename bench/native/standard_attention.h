// Standard attention with the micro-kernels of this package: the same products and the same
// exponential, but the N x N matrices go through memory. What is gained over it is gained by not
// materialising them.
#pragma once

#include <cstdint>

namespace fa::bench {

/** float32, contiguous [heads, seqlen, head_dim], any number of queries and keys. */
struct StandardProblem {
  const float* q;
  const float* k;
  const float* v;
  float* out;
  float* scores;  // [heads][panels][seqlen_k][panel_rows]: S^T, then P^T in its place
  int64_t heads, seqlen_q, seqlen_k;
  int head_dim;  // a multiple of 16
  bool causal;   // bottom-right; masked after the product, which computes all of S
};

/** The three steps over one panel of query rows; each runs over all panels before the next begins. */
struct StandardKernels {
  int panel_rows;
  void (*scores)(const StandardProblem& problem, int64_t head, int64_t panel);
  void (*softmax)(const StandardProblem& problem, int64_t head, int64_t panel);
  void (*output)(const StandardProblem& problem, int64_t head, int64_t panel);
};

extern const StandardKernels kStandardV2, kStandardV3, kStandardV4, kStandardNeon;

/** The best kernels this CPU runs. */
const StandardKernels& standard_kernels();

/** Floats of scores that the problem needs. */
int64_t standard_scores(int64_t heads, int64_t seqlen_q, int64_t seqlen_k);

void standard_attention(const StandardProblem& problem, int threads);

}  // namespace fa::bench
