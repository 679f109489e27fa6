// The five products of the backward pass. S, dP and dQ have query rows as lanes, like the forward
// pass; dV and dK sum over query rows, so there a lane is a column. Each keeps a register tile of a
// dozen (or two dozen) accumulators, which needs at most 7 loads for 12 multiply-adds.
#pragma once

#include "cpu/kernels/register_tile.h"
#include "cpu/kernels/rows.h"

namespace fa::cpu::FA_ISA {
namespace {

/**
 * Distance between rows of `dim` floats in scratch: an odd number of cache lines, so that a column
 * of rows spreads over all sets of the L1 cache whatever the head dim.
 */
FA_ALWAYS_INLINE int scratch_stride(int dim) { return ((round_up(dim, 16) / 16) | 1) * 16; }

/** The bits of -0: the probability of a pair that a mask hides, which no visible pair has. */
constexpr int32_t kHidden = INT32_MIN;

/**
 * rows[j] . packed[row] for keys j < keys and Groups vectors of query rows, each result goes to
 * finish(index of its vector in [keys][kRowVectors], g, sum).
 */
template <int Groups, int Keys, class Finish>
FA_ALWAYS_INLINE void dot_tile(const float* rows, int64_t stride, int dim, const float* packed,
                               int key, Finish finish) {
  Vec acc[Keys][Groups] = {};
  for (int d = 0; d < dim; ++d) {
    Vec q[Groups];
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) q[g] = pin(load<Vec>(packed + (d * kRowVectors + g) * kLanes));
    FA_UNROLL
    for (int r = 0; r < Keys; ++r) {
      const Vec k = pin(splat(rows[r * stride + d]));
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) acc[r][g] += k * q[g];
    }
  }
  FA_UNROLL
  for (int r = 0; r < Keys; ++r) {
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) finish((key + r) * kRowVectors + g, g, acc[r][g]);
  }
}

template <int Groups, class Finish>
FA_ALWAYS_INLINE void dot(const float* rows, int64_t stride, int keys, int dim, const float* packed,
                          Finish finish) {
  constexpr int step = kStep<Groups>;
  int j = 0;
  for (; j + step <= keys; j += step)
    dot_tile<Groups, step>(rows + j * stride, stride, dim, packed, j, finish);
  for (; j < keys; ++j) dot_tile<Groups, 1>(rows + j * stride, stride, dim, packed, j, finish);
}

/** S or dP as they are. */
template <int Groups>
__attribute__((noinline)) void raw_products(const float* rows, int64_t stride, int keys, int dim,
                                            const float* packed, float* products) {
  dot<Groups>(
      rows, stride, keys, dim, packed, [=](int at, int, Vec sum) __attribute__((always_inline)) {
        store(products + at * kLanes, sum);
      });
}

/** P = exp2(S - lse) where nothing modifies or hides a pair; 0 in lanes that are not live. */
template <int Groups>
__attribute__((noinline)) void probabilities(const float* k, int64_t stride, int keys, int dim,
                                             const float* q, const Vec* lse, const VecI* live,
                                             float* p) {
  dot<Groups>(
      k, stride, keys, dim, q, [=](int at, int g, Vec s) __attribute__((always_inline)) {
        store(p + at * kLanes, (Vec)((VecI)exp2_clamped(s - lse[g]) & live[g]));
      });
}

/** dS = P (dP - delta) for such pairs. */
template <int Groups>
__attribute__((noinline)) void score_gradients(const float* v, int64_t stride, int keys, int dim,
                                               const float* dout, const Vec* delta,
                                               const VecI* live, const float* p, float* ds) {
  dot<Groups>(
      v, stride, keys, dim, dout, [=](int at, int g, Vec dp) __attribute__((always_inline)) {
        const Vec product = load<Vec>(p + at * kLanes) * (dp - delta[g]);
        store(ds + at * kLanes, (Vec)((VecI)product & live[g]));
      });
}

template <int Groups, int Columns>
FA_ALWAYS_INLINE void dq_tile(const float* k, int64_t stride, int keys, const float* ds,
                              float* dq) {
  Vec acc[Columns][Groups] = {};
  for (int j = 0; j < keys; ++j) {
    Vec weight[Groups];
    FA_UNROLL
    for (int g = 0; g < Groups; ++g)
      weight[g] = pin(load<Vec>(ds + (j * kRowVectors + g) * kLanes));
    FA_UNROLL
    for (int c = 0; c < Columns; ++c) {
      const Vec kc = pin(splat(k[j * stride + c]));
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) acc[c][g] += kc * weight[g];
    }
  }
  FA_UNROLL
  for (int c = 0; c < Columns; ++c) {
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) {
      float* const at = dq + (c * kRowVectors + g) * kLanes;
      store(at, load<Vec>(at) + acc[c][g]);
    }
  }
}

/** dQ += dS K; `columns` is a multiple of kColumnStep. */
template <int Groups>
__attribute__((noinline)) void add_dq(const float* k, int64_t stride, int keys, int columns,
                                      const float* ds, float* dq) {
  constexpr int step = kStep<Groups>;
  for (int c = 0; c < columns; c += step)
    dq_tile<Groups, step>(k + c, stride, keys, ds, dq + c * kPanelRows);
}

/**
 * The same where K may be NaN or infinite: the product of a hidden pair is left out, because 0 *
 * NaN would leak.
 */
template <int Groups>
__attribute__((noinline)) void add_dq_excluding_hidden(const float* k, int64_t stride, int keys,
                                                       int columns, const float* p, const float* ds,
                                                       float* dq) {
  for (int c = 0; c < columns; ++c) {
    for (int g = 0; g < Groups; ++g) {
      Vec acc{};
      for (int j = 0; j < keys; ++j) {
        const int64_t at = (j * kRowVectors + g) * kLanes;
        const Vec sum = acc + splat(k[j * stride + c]) * load<Vec>(ds + at);
        acc = select(load<VecI>(p + at) == kHidden, acc, sum);
      }
      float* const at = dq + (c * kRowVectors + g) * kLanes;
      store(at, load<Vec>(at) + acc);
    }
  }
}

// ---- dV and dK ----

/** One panel's part of a sum over query rows: W[key][kPanelRows] and B[row][stride]. */
struct RowProduct {
  const float* weights;
  const float* rows;
  const uint8_t* first;  // [key]: first vector of rows that sees the key
  int groups;            // vectors of rows
};

/** Keys per register tile with so many vectors of columns. */
template <int Vectors>
constexpr int kRowSumKeys = kRegisters == 32 ? (Vectors == 4 ? 6 : 8)
                            : Vectors == 4   ? 3
                            : Vectors == 3   ? 4
                            : Vectors == 2   ? 6
                                             : 8;

/** P and dS have room for a multiple of every kRowSumKeys. */
constexpr int kRowSumStep = 24;

/**
 * C[key][column] += sum over panels and their rows of W[key][row] B[row][column]; the first `live`
 * keys are written.
 */
template <int Keys, int Vectors>
FA_ALWAYS_INLINE void row_sum_tile(const RowProduct* panels, int count, int key, int column,
                                   int64_t stride, int live, float* c, int64_t c_stride) {
  Vec acc[Keys][Vectors] = {};
  for (int panel = 0; panel < count; ++panel) {
    const RowProduct& from = panels[panel];
    int first = from.first[key];
    for (int r = 1; r < live; ++r)
      first = from.first[key + r] < first ? from.first[key + r] : first;
    const float* w = from.weights + key * kPanelRows + first * kLanes;
    const float* b = from.rows + first * kLanes * stride + column;
    for (int i = first * kLanes; i < from.groups * kLanes; ++i, ++w, b += stride) {
      if constexpr (Vectors <= Keys) {
        Vec row[Vectors];
        FA_UNROLL
        for (int n = 0; n < Vectors; ++n) row[n] = pin(load<Vec>(b + n * kLanes));
        FA_UNROLL
        for (int r = 0; r < Keys; ++r) {
          const Vec weight = pin(splat(w[r * kPanelRows]));
          FA_UNROLL
          for (int n = 0; n < Vectors; ++n) acc[r][n] += weight * row[n];
        }
      } else {
        Vec weight[Keys];
        FA_UNROLL
        for (int r = 0; r < Keys; ++r) weight[r] = pin(splat(w[r * kPanelRows]));
        FA_UNROLL
        for (int n = 0; n < Vectors; ++n) {
          const Vec row = pin(load<Vec>(b + n * kLanes));
          FA_UNROLL
          for (int r = 0; r < Keys; ++r) acc[r][n] += weight[r] * row;
        }
      }
    }
  }
  FA_UNROLL
  for (int r = 0; r < Keys; ++r) {
    if (r >= live) break;
    FA_UNROLL
    for (int n = 0; n < Vectors; ++n) {
      float* const at = c + r * c_stride + n * kLanes;
      store(at, load<Vec>(at) + acc[r][n]);
    }
  }
}

template <int Vectors>
__attribute__((noinline)) void row_sum_columns(const RowProduct* panels, int count, int keys,
                                               int column, int64_t stride, float* c,
                                               int64_t c_stride) {
  constexpr int step = kRowSumKeys<Vectors>;
  static_assert(kRowSumStep % step == 0);
  for (int j = 0; j < keys; j += step) {
    row_sum_tile<step, Vectors>(panels, count, j, column, stride, keys - j < step ? keys - j : step,
                                c + j * c_stride + column, c_stride);
  }
}

/** dV or dK of a tile, all columns: four vectors at a time, and no single one left over. */
void add_row_sums(const RowProduct* panels, int count, int keys, int dim, int64_t stride, float* c,
                  int64_t c_stride) {
  int vectors = round_up(dim, kLanes) / kLanes;
  for (int column = 0; vectors > 0;) {
    const int width = vectors == 5 ? 3 : vectors < 4 ? vectors : 4;
    if (width == 4)
      row_sum_columns<4>(panels, count, keys, column, stride, c, c_stride);
    else if (width == 3)
      row_sum_columns<3>(panels, count, keys, column, stride, c, c_stride);
    else if (width == 2)
      row_sum_columns<2>(panels, count, keys, column, stride, c, c_stride);
    else
      row_sum_columns<1>(panels, count, keys, column, stride, c, c_stride);
    column += width * kLanes;
    vectors -= width;
  }
}

/** The same where B may be NaN or infinite: hidden pairs, marked in `p`, are left out. */
void add_row_sums_excluding_hidden(const RowProduct* panels, const float* const* p, int count,
                                   int keys, int dim, int64_t stride, float* c, int64_t c_stride) {
  for (int panel = 0; panel < count; ++panel) {
    const RowProduct& from = panels[panel];
    for (int j = 0; j < keys; ++j) {
      for (int i = 0; i < from.groups * kLanes; ++i) {
        const int at = j * kPanelRows + i;
        if (load<int32_t>(p[panel] + at) == kHidden) continue;
        for (int d = 0; d < dim; d += kLanes) {
          float* const target = c + j * c_stride + d;
          store(target, load<Vec>(target) +
                            splat(from.weights[at]) * load<Vec>(from.rows + i * stride + d));
        }
      }
    }
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
