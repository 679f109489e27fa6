// The two products of a tile, with query rows as vector lanes: S^T = K Q^T and O^T += V^T P^T. A
// lane is one query row, so softmax needs no horizontal reduction and P comes out of the first
// product in the layout that the second one loads.
#pragma once

#include "cpu/kernels/math.h"

namespace fa::cpu::FA_ISA {
namespace {

/** Vectors of query rows in one register tile; the panel's layout [.][kGroups][kLanes] keeps this stride even when fewer are live. */
constexpr int kGroups = kRegisters == 16 && kLanes == 4 ? 2 : 3;
constexpr int kPanelRows = kGroups * kLanes;

/** Keys (first product) or columns of V (second) per register tile: groups * step accumulators, with room for groups + 1 operands. */
template <int Groups>
constexpr int kStep = kRegisters == 32 ? 8
                      : Groups == 1    ? 8
                                       : 4;

/** V tiles are padded to a multiple of this many columns. */
constexpr int kColumnStep = 8;

/** Keys [0, Keys) at `k`: scores of `Groups` vectors of queries, and their running maximum. */
template <int Groups, int Keys, bool Max>
FA_ALWAYS_INLINE void score_tile(const float* k, int64_t k_stride, int head_dim, const float* q,
                                 float* s, Vec (&maximum)[Groups]) {
  Vec acc[Keys][Groups];
  FA_UNROLL
  for (int r = 0; r < Keys; ++r) {
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) acc[r][g] = Vec{};
  }
  for (int d = 0; d < head_dim; ++d) {
    Vec qd[Groups];
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) qd[g] = pin(load<Vec>(q + (d * kGroups + g) * kLanes));
    FA_UNROLL
    for (int r = 0; r < Keys; ++r) {
      const Vec kd = pin(splat(k[r * k_stride + d]));
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) acc[r][g] += kd * qd[g];
    }
  }
  FA_UNROLL
  for (int g = 0; g < Groups; ++g) {
    Vec m = maximum[g];
    FA_UNROLL
    for (int r = 0; r < Keys; ++r) {
      if (Max) m = max_or_second(acc[r][g], m);
      store(s + (r * kGroups + g) * kLanes, acc[r][g]);
    }
    maximum[g] = m;
  }
}

template <int Groups, bool Max>
__attribute__((noinline)) void scores(const float* k, int64_t k_stride, int keys, int head_dim,
                                      const float* q, float* s, Vec* maximum) {
  constexpr int step = kStep<Groups>;
  Vec m[Groups];
  for (int g = 0; g < Groups; ++g) m[g] = maximum[g];
  int j = 0;
  for (; j + step <= keys; j += step)
    score_tile<Groups, step, Max>(k + j * k_stride, k_stride, head_dim, q, s + j * kPanelRows, m);
  for (; j < keys; ++j)
    score_tile<Groups, 1, Max>(k + j * k_stride, k_stride, head_dim, q, s + j * kPanelRows, m);
  for (int g = 0; g < Groups; ++g) maximum[g] = m[g];
}

/**
 * Columns [0, Columns) of V: O = O * alpha + P V, or O = P V when First. With Exp, P is still a score: it becomes
 * exp2(s - m) in place, and `sum` gets the row sums of this tile.
 */
template <int Groups, int Columns, bool Exp>
FA_ALWAYS_INLINE void value_tile(const float* v, int64_t v_stride, int keys, float* p, float* o,
                                 const Vec* alpha, bool first, const Vec* m, Vec* sum) {
  Vec acc[Columns][Groups];
  FA_UNROLL
  for (int c = 0; c < Columns; ++c) {
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) acc[c][g] = Vec{};
  }
  for (int j = 0; j < keys; ++j) {
    Vec pj[Groups];
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) {
      float* at = p + (j * kGroups + g) * kLanes;
      pj[g] = load<Vec>(at);
      if constexpr (Exp) {
        pj[g] = exp2_nonpositive(pj[g] - m[g]);
        store(at, pj[g]);
        sum[g] += pj[g];
      } else {
        pj[g] = pin(pj[g]);
      }
    }
    FA_UNROLL
    for (int c = 0; c < Columns; ++c) {
      const Vec vc = pin(splat(v[j * v_stride + c]));
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) acc[c][g] += vc * pj[g];
    }
  }
  FA_UNROLL
  for (int c = 0; c < Columns; ++c) {
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) {
      float* at = o + (c * kGroups + g) * kLanes;
      // Rescaling the sum of earlier tiles here, not before the loop, keeps their roundings apart.
      store(at, first ? acc[c][g] : load<Vec>(at) * alpha[g] + acc[c][g]);
    }
  }
}

/** `columns` is a multiple of kColumnStep. */
template <int Groups, bool Exp>
__attribute__((noinline)) void values(const float* v, int64_t v_stride, int keys, int columns,
                                      float* p, float* o, const Vec* alpha, bool first,
                                      const Vec* m, Vec* sum) {
  constexpr int step = kStep<Groups>;
  Vec s[Groups], max[Groups];
  for (int g = 0; g < Groups; ++g) {
    s[g] = sum[g];
    max[g] = m[g];
  }
  value_tile<Groups, step, Exp>(v, v_stride, keys, p, o, alpha, first, max, s);
  for (int c = step; c < columns; c += step) {
    value_tile<Groups, step, false>(v + c, v_stride, keys, p, o + c * kPanelRows, alpha, first,
                                    nullptr, nullptr);
  }
  for (int g = 0; g < Groups; ++g) sum[g] = s[g];
}

/**
 * The same for tiles in which some masked pair meets a NaN or infinity in V: a masked p is -0 and its product is left out,
 * because 0 * NaN would leak into rows that do not see the key.
 */
template <int Groups>
__attribute__((noinline)) void values_excluding_masked(const float* v, int64_t v_stride, int keys,
                                                       int columns, const float* p, float* o,
                                                       const Vec* alpha, bool first) {
  for (int c = 0; c < columns; ++c) {
    Vec acc[Groups] = {};
    for (int j = 0; j < keys; ++j) {
      const Vec vc = splat(v[j * v_stride + c]);
      for (int g = 0; g < Groups; ++g) {
        const Vec pj = load<Vec>(p + (j * kGroups + g) * kLanes);
        acc[g] = select((VecI)pj < 0, acc[g], acc[g] + vc * pj);
      }
    }
    for (int g = 0; g < Groups; ++g) {
      float* at = o + (c * kGroups + g) * kLanes;
      store(at, first ? acc[g] : load<Vec>(at) * alpha[g] + acc[g]);
    }
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
