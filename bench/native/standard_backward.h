// The steps of standard attention's backward pass (Dao et al. 2022, Algorithm 3), each over one
// panel.
//
//   dV = P^T dO   dP = dO V^T   dS = P (dP - rowsum(P dP))   dQ = scale dS K   dK = scale dS^T Q
//
// P and dS come with queries as lanes. dV and dK sum over queries: for them the matrices are stored
// a second time, turned, with keys as lanes.
#pragma once

#include "standard_attention.h"
#include "standard_panels.h"

namespace fa::cpu::FA_ISA {
namespace {

using fa::bench::StandardGradients;
using fa::bench::StandardProblem;

FA_ALWAYS_INLINE float scale_of(const StandardProblem& p) {
  return 1 / std::sqrt(static_cast<float>(p.head_dim));
}

/** Where a panel of queries has its part of `scores` or `ds`. */
FA_ALWAYS_INLINE float* panel_of(const StandardProblem& p, float* all, int64_t head,
                                 int64_t panel) {
  return all + (head * panel_count(p.seqlen_q) + panel) * p.seqlen_k * kPanelRows;
}

/** Where a panel of keys has its part of `turned`. */
FA_ALWAYS_INLINE float* turned_panel(const StandardProblem& p, const StandardGradients& g,
                                     int64_t head, int64_t panel) {
  return g.turned + (head * panel_count(p.seqlen_k) + panel) * p.seqlen_q * kPanelRows;
}

/** dP^T = V dO^T. */
void dp_panel(const StandardProblem& p, const StandardGradients& g, int64_t head, int64_t panel) {
  alignas(64) float dout[kPanelFloats];
  const int64_t size = p.head_dim;
  pack(g.dout + head * p.seqlen_q * size, panel * kPanelRows, p.seqlen_q, p.head_dim, 1, dout);
  dot_products(p.v + head * p.seqlen_k * size, p.seqlen_k, p.head_dim, dout,
               panel_of(p, g.ds, head, panel));
}

/** dS from P and dP, in the place of dP. */
void ds_panel(const StandardProblem& p, const StandardGradients& g, int64_t head, int64_t panel) {
  const float* const weights = panel_of(p, p.scores, head, panel);
  float* const ds = panel_of(p, g.ds, head, panel);
  for (int group = 0; group < kRowVectors; ++group) {
    Vec expected{};
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      const int64_t at = (j * kRowVectors + group) * kLanes;
      expected += load<Vec>(weights + at) * load<Vec>(ds + at);
    }
    for (int64_t j = 0; j < p.seqlen_k; ++j) {
      const int64_t at = (j * kRowVectors + group) * kLanes;
      store(ds + at, load<Vec>(weights + at) * (load<Vec>(ds + at) - expected));
    }
  }
}

void dq_panel(const StandardProblem& p, const StandardGradients& g, int64_t head, int64_t panel) {
  alignas(64) float dq[kPanelFloats];
  const int64_t size = p.head_dim;
  weighted_sums(p.k + head * p.seqlen_k * size, p.seqlen_k, p.head_dim,
                panel_of(p, g.ds, head, panel), dq);
  unpack(dq, panel * kPanelRows, p.seqlen_q, p.head_dim, scale_of(p),
         g.dq + head * p.seqlen_q * size);
}

/**
 * A panel of keys of `matrix`, which has queries as lanes, with keys as lanes; keys past the end
 * are zero.
 */
void turn(const StandardProblem& p, float* matrix, int64_t head, int64_t panel, float* turned) {
  for (int64_t query = 0; query < p.seqlen_q; query += kLanes) {
    const float* const from = panel_of(p, matrix, head, query / kPanelRows) + query % kPanelRows;
    for (int g = 0; g < kRowVectors; ++g) {
      Vec block[kLanes];
      for (int c = 0; c < kLanes; ++c) {
        const int64_t key = panel * kPanelRows + g * kLanes + c;
        block[c] = key < p.seqlen_k ? load<Vec>(from + key * kPanelRows) : Vec{};
      }
      transpose(block);
      for (int lane = 0; lane < kLanes && query + lane < p.seqlen_q; ++lane)
        store(turned + ((query + lane) * kRowVectors + g) * kLanes, block[lane]);
    }
  }
}

void turn_p_panel(const StandardProblem& p, const StandardGradients& g, int64_t head,
                  int64_t panel) {
  turn(p, p.scores, head, panel, turned_panel(p, g, head, panel));
}

void turn_ds_panel(const StandardProblem& p, const StandardGradients& g, int64_t head,
                   int64_t panel) {
  turn(p, g.ds, head, panel, turned_panel(p, g, head, panel));
}

/** target = factor * turned^T rows, for a panel of keys. */
void key_panel(const StandardProblem& p, const StandardGradients& g, int64_t head, int64_t panel,
               const float* rows, float factor, float* target) {
  alignas(64) float sums[kPanelFloats];
  const int64_t size = p.head_dim;
  weighted_sums(rows + head * p.seqlen_q * size, p.seqlen_q, p.head_dim,
                turned_panel(p, g, head, panel), sums);
  unpack(sums, panel * kPanelRows, p.seqlen_k, p.head_dim, factor,
         target + head * p.seqlen_k * size);
}

void dv_panel(const StandardProblem& p, const StandardGradients& g, int64_t head, int64_t panel) {
  key_panel(p, g, head, panel, g.dout, 1, g.dv);
}

void dk_panel(const StandardProblem& p, const StandardGradients& g, int64_t head, int64_t panel) {
  key_panel(p, g, head, panel, p.q, scale_of(p), g.dk);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
