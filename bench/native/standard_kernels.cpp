// The steps of standard attention for one instruction set; compiled once per level, like the kernels
// whose products it borrows.
#include "cpu/kernels/panel.h"
#include "standard_attention.h"

namespace fa::cpu::FA_ISA {
namespace {

using fa::bench::StandardProblem;

constexpr int kTileKeys = 128;
constexpr int kMaxDim = 256;

/** Padded to whole panels, so that a panel's rows never depend on where it ends. */
FA_ALWAYS_INLINE int64_t panels(const StandardProblem& p) {
  return (p.seqlen_q + kPanelRows - 1) / kPanelRows;
}

FA_ALWAYS_INLINE float* panel_scores(const StandardProblem& p, int64_t head, int64_t panel) {
  return p.scores + (head * panels(p) + panel) * p.seqlen_k * kPanelRows;
}

/** Rows past the end repeat the last one. */
FA_ALWAYS_INLINE int64_t row_of(const StandardProblem& p, int64_t panel, int lane) {
  return smaller(panel * kPanelRows + lane, p.seqlen_q - 1);
}

/** S^T = K Q^T / sqrt(d), in base 2. */
void score_panel(const StandardProblem& p, int64_t head, int64_t panel) {
  alignas(64) float q[kMaxDim * kPanelRows];
  const Vec scale = splat(kLog2E / std::sqrt(static_cast<float>(p.head_dim)));
  const float* const rows = p.q + head * p.seqlen_q * p.head_dim;
  for (int g = 0; g < kGroups; ++g) {
    for (int d = 0; d < p.head_dim; d += kLanes) {
      Vec block[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        block[lane] = load<Vec>(rows + row_of(p, panel, g * kLanes + lane) * p.head_dim + d);
      }
      transpose(block);
      for (int c = 0; c < kLanes; ++c)
        store(q + ((d + c) * kGroups + g) * kLanes, block[c] * scale);
    }
  }
  Vec unused[kGroups] = {};
  scores<kGroups, false>(p.k + head * p.seqlen_k * p.head_dim, p.head_dim,
                         static_cast<int>(p.seqlen_k), p.head_dim, q, panel_scores(p, head, panel),
                         unused);
}

/** P = softmax(S), a row being a lane: maximum, exponential and sum, division. */
void softmax_panel(const StandardProblem& p, int64_t head, int64_t panel) {
  float* const s = panel_scores(p, head, panel);
  for (int g = 0; g < kGroups; ++g) {
    VecI last;  // the last key each row sees
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t row = row_of(p, panel, g * kLanes + lane);
      last[lane] = static_cast<int32_t>(p.causal ? row + p.seqlen_k - p.seqlen_q : p.seqlen_k);
    }
    Vec maximum = splat(kLowest), sum = {};
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      float* const at = s + (j * kGroups + g) * kLanes;
      Vec x = load<Vec>(at);
      if (p.causal) {
        x = select(last < splat(static_cast<int32_t>(j)), splat(-kInfinity), x);
        store(at, x);
      }
      maximum = max_or_second(x, maximum);
    }
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      float* const at = s + (j * kGroups + g) * kLanes;
      const Vec x = exp2_or_zero(load<Vec>(at) - maximum);
      sum += x;
      store(at, x);
    }
    const Vec inverse = 1.f / sum;
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      float* const at = s + (j * kGroups + g) * kLanes;
      store(at, load<Vec>(at) * inverse);
    }
  }
}

/** O^T = V^T P^T, in blocks of keys whose P stays in L1. */
void output_panel(const StandardProblem& p, int64_t head, int64_t panel) {
  alignas(64) float o[kMaxDim * kPanelRows];
  const float* const v = p.v + head * p.seqlen_k * p.head_dim;
  Vec one[kGroups], unused[kGroups] = {};
  for (Vec& x : one) x = splat(1.f);
  for (int64_t j = 0; j < p.seqlen_k; j += kTileKeys) {
    values<kGroups, false>(
        v + j * p.head_dim, p.head_dim, static_cast<int>(smaller(kTileKeys, p.seqlen_k - j)),
        p.head_dim, panel_scores(p, head, panel) + j * kPanelRows, o, one, j == 0, unused, unused);
  }
  float* const out = p.out + head * p.seqlen_q * p.head_dim;
  for (int g = 0; g < kGroups; ++g) {
    for (int d = 0; d < p.head_dim; d += kLanes) {
      Vec block[kLanes];
      for (int c = 0; c < kLanes; ++c) block[c] = load<Vec>(o + ((d + c) * kGroups + g) * kLanes);
      transpose(block);
      for (int lane = 0; lane < kLanes; ++lane) {
        // Rows past the end must not write: another thread may own the row they repeat.
        if (panel * kPanelRows + g * kLanes + lane >= p.seqlen_q) break;
        store(out + row_of(p, panel, g * kLanes + lane) * p.head_dim + d, block[lane]);
      }
    }
  }
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

const StandardKernels FA_CONCAT(FA_STANDARD_, FA_ISA) = {
    cpu::FA_ISA::kPanelRows,
    cpu::FA_ISA::score_panel,
    cpu::FA_ISA::softmax_panel,
    cpu::FA_ISA::output_panel,
};

}  // namespace fa::bench
