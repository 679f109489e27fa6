// One register tile of query rows while it travels over the keys: packed Q, the running softmax
// state and the unnormalised output, all with rows as lanes.
#pragma once

#include <cmath>

#include "core/mask.h"
#include "cpu/kernels/products.h"
#include "cpu/kernels/rows.h"

namespace fa::cpu::FA_ISA {
namespace {

/** Below every score; finite, so that differences of maxima are never NaN. */
constexpr float kLowest = -std::numeric_limits<float>::max();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Panel {
  // [head_dim][kRowVectors][kLanes], times scale * log2(e); or unscaled pairs, [head_dim /
  // 2][kRowVectors][kLanes]
  float* q;
  float* o;  // [columns][kRowVectors][kLanes]
  Vec max
      [kRowVectors];  // what exponents are taken relative to: the maximum, give or take a few units
  Vec sum[kRowVectors];
  int64_t row_begin, row_end;      // packed rows; lanes past the end repeat the last row
  int64_t i_begin, i_end;          // their queries
  int64_t key_begin, key_end;      // keys that some row may see
  int64_t group_end[kRowVectors];  // one past the last key that some row of the vector sees
  int groups;                      // vectors in use
  bool started;                    // o holds something

  // Per lane.
  alignas(64) int32_t query[kPanelRows];  // i
  alignas(64) int32_t head[kPanelRows];   // head within the group
  alignas(64) int32_t window_begin[kPanelRows];
  alignas(64) int32_t window_end[kPanelRows];
};

FA_ALWAYS_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
FA_ALWAYS_INLINE int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

FA_ALWAYS_INLINE WindowMask window_of(const ForwardArgs& a) {
  return {a.window_left, a.window_right, a.sink_tokens, a.seqlen_k, a.seqlen_k - a.seqlen_q};
}

/**
 * Loads rows [row_begin, row_end) of Q, transposed. `rows` has room for kLanes rows of head_dim
 * rounded up to kLanes.
 */
void load_panel(const ForwardArgs& a, int64_t row_begin, int64_t row_end, float* rows, Panel& panel,
                Element of = Element::kFloat) {
  const WindowMask window = window_of(a);
  panel.row_begin = row_begin;
  panel.row_end = row_end;
  panel.i_begin = row_begin / a.group;
  panel.i_end = (row_end - 1) / a.group + 1;
  panel.groups = static_cast<int>((row_end - row_begin + kLanes - 1) / kLanes);
  panel.started = false;
  panel.key_begin = larger(a.key_begin, a.sink_tokens > 0 ? 0 : window.begin(panel.i_begin));
  panel.key_end = smaller(a.key_end, window.end(panel.i_end - 1));

  const int64_t size = element_size(a.q.dtype);
  const int padded = round_up(a.head_dim, kLanes);
  const Vec scale = splat(a.scale * kLog2E);
  for (int g = 0; g < kRowVectors; ++g) {
    panel.max[g] = splat(kLowest);
    panel.sum[g] = Vec{};
    panel.group_end[g] = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int at = g * kLanes + lane;
      const int64_t row = smaller(row_begin + at, row_end - 1);
      const auto [i, head] = packed_row(a.group, row);
      panel.query[at] = static_cast<int32_t>(i);
      panel.head[at] = static_cast<int32_t>(head);
      panel.window_begin[at] = static_cast<int32_t>(smaller(window.begin(i), a.seqlen_k));
      panel.window_end[at] = static_cast<int32_t>(window.end(i));
      panel.group_end[g] = larger(panel.group_end[g], panel.window_end[at]);
      prefetch_packed_row(a.q, a.q_head_stride, a.head_dim, a.group, row + kRowsAhead, a.row_end);
      if (g < panel.groups)
        load_row(a.q.base + (i * a.q.row_stride + head * a.q_head_stride) * size, a.q.dtype,
                 a.q.dim_stride, a.head_dim, rows + lane * padded);
      if (a.sink_logits != nullptr && a.first_split) {
        // The sink takes part in the denominator like one more key without a value.
        panel.max[g][lane] = a.sink_logits[head] * kLog2E;
        panel.sum[g][lane] = 1.f;
      }
    }
    if (g >= panel.groups) continue;
    for (int d = 0; d < padded; d += kLanes) {
      Vec block[kLanes];
      FA_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) block[lane] = load<Vec>(rows + lane * padded + d);
      transpose(block);
      if (of == Element::kPair) {
        for (int c = 0; c < kLanes; c += 2) {
          store(panel.q + ((d + c) / 2 * kRowVectors + g) * kLanes,
                (VecU)block[c] >> 16 | ((VecU)block[c + 1] & 0xffff0000u));
        }
        continue;
      }
      FA_UNROLL
      for (int c = 0; c < kLanes; ++c)
        store(panel.q + ((d + c) * kRowVectors + g) * kLanes, block[c] * scale);
    }
  }
}

/**
 * Normalises and writes out and lse. `rows` has room for kLanes rows of head_dim_v rounded up to
 * kLanes.
 */
void store_panel(const ForwardArgs& a, float* rows, const Panel& panel) {
  const int64_t size = element_size(a.out.dtype);
  const int padded = round_up(a.head_dim_v, kLanes);
  for (int g = 0; g < panel.groups; ++g) {
    const Vec sum = panel.sum[g];
    // A row that saw nothing has sum 0 (or a maximum that no score ever raised): its output is 0,
    // never NaN. A NaN that it did see is in the sum.
    const VecI empty = (sum == Vec{}) | ((panel.max[g] == splat(kLowest)) & (sum == sum));
    const Vec inverse = select(empty, Vec{}, 1.f / sum);
    for (int d = 0; d < padded; d += kLanes) {
      Vec block[kLanes];
      FA_UNROLL
      for (int c = 0; c < kLanes; ++c) {
        // A select, not a product: an empty row's accumulator may be anything.
        const Vec o =
            panel.started ? load<Vec>(panel.o + ((d + c) * kRowVectors + g) * kLanes) : Vec{};
        block[c] = select(empty, Vec{}, o * inverse);
      }
      transpose(block);
      FA_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) store(rows + lane * padded + d, block[lane]);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int at = g * kLanes + lane;
      const int64_t row = panel.row_begin + at;
      if (row >= panel.row_end) break;
      prefetch_packed_row<true>(a.out, a.out_head_stride, a.head_dim_v, a.group, row + kRowsAhead,
                                a.row_end);
      const int64_t i = panel.query[at], head = panel.head[at];
      store_row(a.out.base + (i * a.out.row_stride + head * a.out_head_stride) * size, a.out.dtype,
                a.out.dim_stride, a.head_dim_v, rows + lane * padded);
      if (a.lse != nullptr) {
        a.lse[i * a.lse_row_stride + head * a.lse_head_stride] =
            empty[lane] != 0 ? -kInfinity : panel.max[g][lane] * kLn2 + std::log(sum[lane]);
      }
    }
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
