// A panel of query rows in the backward pass: Q, dO, dQ and what turns scores into P and dS.
#pragma once

#include "cpu/kernels/backward_tile.h"

namespace fa::cpu::FA_ISA {
namespace {

struct BackwardPanel {
  Panel rows;     // rows.q: Q, packed; rows.o: dQ, packed
  float* dout;    // dO, packed like Q
  float* q_rows;  // Q and dO as rows, [kPanelRows][scratch_stride]
  float* dout_rows;
  bool finite;           // neither NaN nor infinity in Q and dO
  Vec lse[kRowVectors];  // in the panel's units; the maximum where `renewed`
  Vec delta[kRowVectors];
  VecI live[kRowVectors];     // rows that saw something
  VecI renewed[kRowVectors];  // rows whose softmax is computed again
  bool renews;                // some are
};

/** Rows of the panel as floats; rows past the end are zero. */
void load_panel_rows(const ForwardArgs& a, const Rows& source, int64_t head_stride, int dim,
                     const Panel& panel, float* rows) {
  const int64_t size = element_size(source.dtype);
  const int stride = scratch_stride(dim);
  for (int at = 0; at < kPanelRows; ++at, rows += stride) {
    const int64_t row = panel.row_begin + at;
    if (row < panel.row_end) {
      prefetch_packed_row(source, head_stride, dim, a.group, row + kRowsAhead, a.row_end);
      const int64_t element = panel.query[at] * source.row_stride + panel.head[at] * head_stride;
      load_padded(source.base + element * size, source, dim, rows);
    } else {
      std::memset(rows, 0, static_cast<size_t>(stride) * sizeof(float));
    }
  }
}

/**
 * P = exp(s - lse) inherits the rounding of lse, and its sum over the keys is off by as much. Rows
 * whose |lse| exceeds this have their softmax computed again, from the scores themselves.
 */
constexpr float kPreciseLse = 128;

FA_ALWAYS_INLINE float lse_of(const ForwardArgs& a, int64_t i, int64_t head) {
  return a.lse[i * a.lse_row_stride + head * a.lse_head_stride];
}

/** What a panel computes its scores in: see out_of_base_2. */
const Units& units_of(const ForwardArgs& a, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const auto [i, head] = packed_row(a.group, row);
    const float lse = lse_of(a, i, head);
    if (lse != -kInfinity && std::fabs(lse) > kSafeScore) return kNatural;
  }
  return kBase2;
}

void load_backward_panel(const BackwardArgs& b, int64_t row_begin, int64_t row_end, float* rows,
                         BackwardPanel& panel) {
  const ForwardArgs& a = b.forward;
  load_panel(a, row_begin, row_end, units_of(a, row_begin, row_end), rows, panel.rows);
  load_panel_rows(a, a.q, a.q_head_stride, a.head_dim, panel.rows, panel.q_rows);
  load_panel_rows(a, b.dout, b.dout_head_stride, a.head_dim_v, panel.rows, panel.dout_rows);
  const int stride = scratch_stride(a.head_dim), stride_v = scratch_stride(a.head_dim_v);
  panel.finite = all_finite(panel.q_rows, stride, kPanelRows, a.head_dim) &&
                 all_finite(panel.dout_rows, stride_v, kPanelRows, a.head_dim_v);
  for (int g = 0; g < kRowVectors; ++g) {
    for (int d = 0; d < padded_dim(a.head_dim_v); d += kLanes) {
      Vec block[kLanes];
      FA_UNROLL
      for (int lane = 0; lane < kLanes; ++lane)
        block[lane] = load<Vec>(panel.dout_rows + (g * kLanes + lane) * stride_v + d);
      transpose(block);
      FA_UNROLL
      for (int c = 0; c < kLanes; ++c)
        store(panel.dout + ((d + c) * kRowVectors + g) * kLanes, block[c]);
    }
  }
  for (int64_t i = 0; i < padded_dim(a.head_dim) * kPanelRows; i += kLanes)
    store(panel.rows.o + i, Vec{});

  panel.renews = false;
  const int64_t size = element_size(a.out.dtype);
  for (int at = 0; at < kPanelRows; ++at) {
    const int g = at / kLanes, lane = at % kLanes;
    panel.live[g][lane] = 0;
    panel.renewed[g][lane] = 0;
    panel.lse[g][lane] = 0;
    panel.delta[g][lane] = 0;
    const int64_t row = row_begin + at;
    if (row >= row_end) continue;
    prefetch_packed_row(a.out, a.out_head_stride, a.head_dim_v, a.group, row + kRowsAhead,
                        a.row_end);
    const int64_t i = panel.rows.query[at], head = panel.rows.head[at];
    load_row(a.out.base + (i * a.out.row_stride + head * a.out_head_stride) * size, a.out.dtype,
             a.out.dim_stride, a.head_dim_v, rows);
    Vec sum{};
    for (int d = 0; d < round_up(a.head_dim_v, kLanes); d += kLanes)
      sum += load<Vec>(rows + d) * load<Vec>(panel.dout_rows + at * stride_v + d);
    float delta = 0;
    for (int l = 0; l < kLanes; ++l) delta += sum[l];
    const float lse = lse_of(a, i, head);
    if (lse == -kInfinity) continue;
    panel.live[g][lane] = -1;
    panel.lse[g][lane] = lse * panel.rows.units.per_natural;
    panel.delta[g][lane] = delta;
    if (std::fabs(lse) > kPreciseLse) {
      panel.renewed[g][lane] = -1;
      panel.renews = true;
    }
  }
}

/** Has the sums of the scores' exponentials follow: keys of a stretch, as [keys][kPanelRows]. */
void add_to_softmax(Panel& rows, int first, int keys, const float* s) {
  const Vec to_base_2 = splat(rows.units.to_base_2);
  for (int g = first; g < rows.groups; ++g) {
    const float* const column = s + g * kLanes;
    Vec max = rows.max[g];
    for (int j = 0; j < keys; ++j) max = max_or_second(load<Vec>(column + j * kPanelRows), max);
    Vec sum = rows.sum[g] * exp2_or_zero((rows.max[g] - max) * to_base_2);
    for (int j = 0; j < keys; ++j)
      sum += exp2_or_zero((load<Vec>(column + j * kPanelRows) - max) * to_base_2);
    rows.max[g] = max;
    rows.sum[g] = sum;
  }
}

/**
 * Lets the renewed rows take P relative to their maximum. What is linear in P is divided by its sum
 * here, once a row: dV = P^T (dO / sum) and dS = P (dP - delta) / sum.
 */
void renew_rows(const ForwardArgs& a, BackwardPanel& panel) {
  for (int at = 0; at < kPanelRows; ++at) {
    const int g = at / kLanes, lane = at % kLanes;
    if (panel.renewed[g][lane] == 0) continue;
    const float sum = panel.rows.sum[g][lane];
    if (sum == 0) {  // not this row's lse
      panel.live[g][lane] = 0;
      continue;
    }
    const float inverse = 1 / sum;
    panel.lse[g][lane] = panel.rows.max[g][lane];
    panel.delta[g][lane] *= inverse;
    float* const row = panel.dout_rows + at * scratch_stride(a.head_dim_v);
    for (int d = 0; d < a.head_dim_v; ++d) {
      row[d] *= inverse;
      panel.dout[d * kPanelRows + at] *= inverse;
    }
  }
}

/** d(sink) = -sum_i P(sink) delta_i: the sink is a key whose value is zero. */
void add_sink_gradients(const BackwardArgs& b, const BackwardPanel& panel) {
  const Units& units = panel.rows.units;
  for (int at = 0; at < kPanelRows; ++at) {
    const int g = at / kLanes, lane = at % kLanes, head = panel.rows.head[at];
    if (panel.live[g][lane] == 0) continue;
    float logit, count;  // with the rounding that a renewed maximum has
    begin_softmax(units, b.forward.sink_logits + head, logit, count);
    if (count == 0) continue;
    b.dsinks[head] -=
        std::exp2((logit - panel.lse[g][lane]) * units.to_base_2) * panel.delta[g][lane];
  }
}

/** Writes dQ. */
void store_dq(const BackwardArgs& b, const Panel& panel, float* rows) {
  const Vec scale = splat(b.forward.scale);
  store_rows(b.forward, panel, b.dq, b.dq_head_stride, b.forward.head_dim, rows, [&](int g, int c) {
    return load<Vec>(panel.o + (c * kRowVectors + g) * kLanes) * scale;
  });
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
