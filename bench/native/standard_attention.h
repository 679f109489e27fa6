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
  float* out;     // of the forward pass
  float* scores;  // [heads][query panels][seqlen_k][panel_rows]: S^T, then P^T in its place
  int64_t heads, seqlen_q, seqlen_k;
  int head_dim;  // a multiple of 16
  bool causal;   // bottom-right; masked after the product, which computes all of S
};

/** What the backward pass needs besides; like ours it computes P again instead of keeping it. */
struct StandardGradients {
  const float* dout;
  float* dq;
  float* dk;
  float* dv;
  float* ds;      // like scores: dP^T, then dS^T in its place
  float* turned;  // [heads][key panels][seqlen_q][panel_rows]: P, later dS
};

using StandardStep = void (*)(const StandardProblem& problem, int64_t head, int64_t panel);
using StandardGradientStep = void (*)(const StandardProblem& problem,
                                      const StandardGradients& gradients, int64_t head,
                                      int64_t panel);

/** The steps over one panel; each runs over all panels before the next begins. */
struct StandardKernels {
  int panel_rows;
  // Panels of query rows.
  StandardStep scores, softmax, output;
  StandardGradientStep dp, ds, dq;
  // Panels of keys.
  StandardGradientStep turn_p, turn_ds, dv, dk;
};

extern const StandardKernels kStandardV2, kStandardV3, kStandardV4, kStandardNeon;

/** The best kernels this CPU runs. */
const StandardKernels& standard_kernels();

/** Floats of `scores` and of `ds`; of `turned` with queries and keys swapped. */
int64_t standard_scores(int64_t heads, int64_t seqlen_q, int64_t seqlen_k);

void standard_attention(const StandardProblem& problem, int threads);

void standard_attention_backward(const StandardProblem& problem, const StandardGradients& gradients,
                                 int threads);

}  // namespace fa::bench
