// The steps of standard attention for one instruction set; compiled once per level, like the
// kernels whose products it borrows.
#include "standard_backward.h"

namespace fa::cpu::FA_ISA {
namespace {

/** S^T = K Q^T / sqrt(d), in base 2. */
void score_panel(const StandardProblem& p, int64_t head, int64_t panel) {
  alignas(64) float q[kPanelFloats];
  const int64_t size = p.head_dim;
  pack(p.q + head * p.seqlen_q * size, panel * kPanelRows, p.seqlen_q, p.head_dim,
       scale_of(p) * kLog2E, q);
  dot_products(p.k + head * p.seqlen_k * size, p.seqlen_k, p.head_dim, q,
               panel_of(p, p.scores, head, panel));
}

/** P = softmax(S), a row being a lane: maximum, exponential and sum, division. */
void softmax_panel(const StandardProblem& p, int64_t head, int64_t panel) {
  float* const s = panel_of(p, p.scores, head, panel);
  for (int g = 0; g < kRowVectors; ++g) {
    VecI last;  // the last key each row sees
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t row = smaller(panel * kPanelRows + g * kLanes + lane, p.seqlen_q - 1);
      last[lane] = static_cast<int32_t>(p.causal ? row + p.seqlen_k - p.seqlen_q : p.seqlen_k);
    }
    Vec maximum = splat(kLowest), sum = {};
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      float* const at = s + (j * kRowVectors + g) * kLanes;
      Vec x = load<Vec>(at);
      if (p.causal) {
        x = select(last < splat(static_cast<int32_t>(j)), splat(-kInfinity), x);
        store(at, x);
      }
      maximum = max_or_second(x, maximum);
    }
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      float* const at = s + (j * kRowVectors + g) * kLanes;
      const Vec x = exp2_or_zero(load<Vec>(at) - maximum);
      sum += x;
      store(at, x);
    }
    const Vec inverse = 1.f / sum;
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      float* const at = s + (j * kRowVectors + g) * kLanes;
      store(at, load<Vec>(at) * inverse);
    }
  }
}

/** O^T = V^T P^T. */
void output_panel(const StandardProblem& p, int64_t head, int64_t panel) {
  alignas(64) float o[kPanelFloats];
  const int64_t size = p.head_dim;
  weighted_sums(p.v + head * p.seqlen_k * size, p.seqlen_k, p.head_dim,
                panel_of(p, p.scores, head, panel), o);
  unpack(o, panel * kPanelRows, p.seqlen_q, p.head_dim, 1, p.out + head * p.seqlen_q * size);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA

#define FA_STANDARD_v2 kStandardV2
#define FA_STANDARD_v3 kStandardV3
#define FA_STANDARD_v4 kStandardV4
#define FA_STANDARD_neon kStandardNeon
#define FA_CONCAT_(a, b) a##b
#define FA_CONCAT(a, b) FA_CONCAT_(a, b)

namespace fa::bench {

namespace kernels = cpu::FA_ISA;

const StandardKernels FA_CONCAT(FA_STANDARD_, FA_ISA) = {
    kernels::kPanelRows,    kernels::score_panel, kernels::softmax_panel, kernels::output_panel,
    kernels::dp_panel,      kernels::ds_panel,    kernels::dq_panel,      kernels::turn_p_panel,
    kernels::turn_ds_panel, kernels::dv_panel,    kernels::dk_panel,
};

}  // namespace fa::bench
