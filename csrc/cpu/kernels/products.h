// The two products of a tile, with query rows as vector lanes: S^T = K Q^T and O^T += V^T P^T. A
// lane is one query row, so softmax needs no horizontal reduction and P comes out of the first
// product in the layout that the second one loads.
#pragma once

#include "cpu/kernels/operand.h"
#include "cpu/kernels/upcoming.h"

namespace fa::cpu::FA_ISA {
namespace {

/**
 * What 32 bits of an operand hold: a float, or two bfloat16 that meet two others in a dot product.
 */
enum class Element { kFloat, kPair };

/** acc[r][g] += operand(r, d) * vectors[d][g], for d in [0, count). */
template <int Groups, int Rows, Element Kind>
FA_ALWAYS_INLINE void multiply_add(const Operand& operand, const float* vectors, int count,
                                   Vec (&acc)[Rows][Groups]) {
  const float* first = operand.base;
  for (int d = 0; d < count; ++d) {
    Vec x[Groups];
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) x[g] = pin(load<Vec>(vectors + g * kLanes));
    FA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      const Vec scalar = pin(splat(first[r / kPack * operand.pack + r % kPack * operand.lane]));
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) {
        acc[r][g] = Kind == Element::kPair ? dot_pairs(acc[r][g], (VecU)scalar, (VecU)x[g])
                                           : acc[r][g] + scalar * x[g];
      }
    }
    first += operand.step;
    vectors += kPanelRows;
  }
}

// ---- S^T = K Q^T ----

/** What becomes of a score. */
enum class Scores {
  kRaw,  // stored
  kMax,  // stored, and `top` raised to it
  // P = exp2(score - reference) stored and added to `sum`; `top` is raised to score - reference
  kExp,
};

/** Per vector of rows. */
struct RowState {
  Vec reference[kRowVectors];
  Vec top[kRowVectors];
  Vec sum[kRowVectors];
};

template <int Groups, int Keys, Scores Kind, Element Of>
FA_ALWAYS_INLINE void score_tile(const Operand& k, int count, float scale, const float* q, float* s,
                                 int first, RowState& rows) {
  Vec acc[Keys][Groups];
  FA_UNROLL
  for (int r = 0; r < Keys; ++r) {
    FA_UNROLL
    for (int g = 0; g < Groups; ++g) acc[r][g] = Vec{};
  }
  multiply_add<Groups, Keys, Of>(k, q, count, acc);
  if (Of == Element::kPair) {
    // A float Q carries the scale already; rounding a scaled bfloat16 would cost accuracy.
    FA_UNROLL
    for (int r = 0; r < Keys; ++r) {
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) acc[r][g] *= splat(scale);
    }
  }
  FA_UNROLL
  for (int g = 0; g < Groups; ++g) {
    if (Kind == Scores::kExp) {
      FA_UNROLL
      for (int r = 0; r < Keys; ++r) acc[r][g] -= rows.reference[first + g];
    }
    if (Kind != Scores::kRaw) {
      Vec top = rows.top[first + g];
      FA_UNROLL
      for (int r = 0; r < Keys; ++r) top = max_or_second(acc[r][g], top);
      rows.top[first + g] = top;
    }
    Vec sum = Vec{};
    FA_UNROLL
    for (int r = 0; r < Keys; ++r) {
      if (Kind == Scores::kExp) {
        acc[r][g] = exp2_clamped(acc[r][g]);
        sum += acc[r][g];
        if ((r + 1) % kSumKeys == 0 || r + 1 == Keys) {
          rows.sum[first + g] += sum;
          sum = Vec{};
        }
      }
      store(s + (r * kRowVectors + g) * kLanes, acc[r][g]);
    }
  }
}

/**
 * Keys [0, keys) of `k` against vectors first .. first + Groups - 1 of the panel's `q` and `s`; a
 * row has `count` elements.
 */
template <int Groups, Scores Kind, Element Of>
__attribute__((noinline)) void scores(const Operand& k, int keys, int count, float scale,
                                      const float* q, float* s, int first, RowState& state,
                                      Upcoming& upcoming) {
  constexpr int step = kStep<Groups>;
  RowState rows = state;
  q += first * kLanes;
  s += first * kLanes;
  int j = 0;
  for (; j + step <= keys; j += step) {
    upcoming.fetch();
    score_tile<Groups, step, Kind, Of>(k.from(j, 0), count, scale, q, s + j * kPanelRows, first,
                                       rows);
  }
  if constexpr (step > kSumKeys) {
    if (j + kSumKeys <= keys) {
      score_tile<Groups, kSumKeys, Kind, Of>(k.from(j, 0), count, scale, q, s + j * kPanelRows,
                                             first, rows);
      j += kSumKeys;
    }
  }
  for (; j < keys; ++j) {
    const Operand one{k.at(j), k.pack, k.lane, k.step};
    score_tile<Groups, 1, Kind, Of>(one, count, scale, q, s + j * kPanelRows, first, rows);
  }
  state = rows;
}

// ---- O^T += V^T P^T ----

/** P as pairs of keys; an odd last key is paired with zero. */
[[maybe_unused]] __attribute__((noinline)) void pack_probabilities(const float* p, int keys,
                                                                   int groups, float* pairs) {
  for (int j = 0; j < keys; j += 2) {
    for (int g = 0; g < groups; ++g) {
      const float* const at = p + (j * kRowVectors + g) * kLanes;
      const Vec odd = j + 1 < keys ? load<Vec>(at + kPanelRows) : Vec{};
      store(pairs + (j / 2 * kRowVectors + g) * kLanes, to_pairs(load<Vec>(at), odd));
    }
  }
}

/**
 * The vectors of rows drop out one by one (the causal staircase): vector g sees keys (or pairs) [0,
 * ends[g]), and ends ascend.
 */
struct Staircase {
  int ends[kRowVectors];
};

template <int Groups, int Columns, int First, Element Of>
FA_ALWAYS_INLINE void climb(const Operand& v, const float* p, const Staircase& stairs, int from,
                            Vec (&acc)[Columns][Groups]) {
  if constexpr (First < Groups) {
    const int end = stairs.ends[First];
    if (end > from) {
      Vec rest[Columns][Groups - First];
      FA_UNROLL
      for (int c = 0; c < Columns; ++c) {
        FA_UNROLL
        for (int g = First; g < Groups; ++g) rest[c][g - First] = acc[c][g];
      }
      multiply_add<Groups - First, Columns, Of>(
          v.from(0, from), p + from * kPanelRows + First * kLanes, end - from, rest);
      FA_UNROLL
      for (int c = 0; c < Columns; ++c) {
        FA_UNROLL
        for (int g = First; g < Groups; ++g) acc[c][g] = rest[c][g - First];
      }
      from = end;
    }
    climb<Groups, Columns, First + 1, Of>(v, p, stairs, from, acc);
  }
}

/**
 * O = O * alpha + P V over `columns` (a multiple of kColumnStep), or O = P V when there is no O
 * yet.
 */
template <int Groups, Element Of>
__attribute__((noinline)) void values(const Operand& v, const Staircase& stairs, int columns,
                                      const float* p, float* o, const Vec* alpha, bool fresh,
                                      Upcoming& upcoming) {
  constexpr int step = kStep<Groups>;
  for (int c = 0; c < columns; c += step) {
    upcoming.fetch();
    Vec acc[step][Groups];
    FA_UNROLL
    for (int r = 0; r < step; ++r) {
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) acc[r][g] = Vec{};
    }
    climb<Groups, step, 0, Of>(v.from(c, 0), p, stairs, 0, acc);
    FA_UNROLL
    for (int r = 0; r < step; ++r) {
      FA_UNROLL
      for (int g = 0; g < Groups; ++g) {
        float* at = o + ((c + r) * kRowVectors + g) * kLanes;
        // Rescaling the sum of earlier tiles here, not before the loop, keeps their roundings
        // apart.
        store(at, fresh ? acc[r][g] : load<Vec>(at) * alpha[g] + acc[r][g]);
      }
    }
  }
}

/** All bits of the halves that are -0: masked. */
FA_ALWAYS_INLINE VecU masked_halves(Vec pairs) {
  const VecI low = (VecI)((VecU)pairs << 16) >> 31, high = (VecI)pairs >> 31;
  return ((VecU)low & 0xffffu) | ((VecU)high & 0xffff0000u);
}

/**
 * The same for tiles in which some masked pair meets a NaN or infinity in V: a masked p is -0 and
 * its product is left out, because 0 * NaN would leak into rows that do not see the key.
 */
template <int Groups, Element Of>
__attribute__((noinline)) void values_excluding_masked(const Operand& v, const Staircase& stairs,
                                                       int columns, const float* p, float* o,
                                                       const Vec* alpha, bool fresh, Upcoming&) {
  for (int c = 0; c < columns; ++c) {
    const float* const column = v.at(c);
    for (int g = 0; g < Groups; ++g) {
      Vec acc = Vec{};
      for (int j = 0; j < stairs.ends[g]; ++j) {
        const Vec pj = load<Vec>(p + (j * kRowVectors + g) * kLanes);
        const Vec vj = splat(column[j * v.step]);
        // Of a pair that is half masked the other half counts, in the order of a dot product.
        acc = Of == Element::kPair ? dot_pairs(acc, (VecU)vj & ~masked_halves(pj), (VecU)pj)
                                   : select((VecI)pj < 0, acc, acc + vj * pj);
      }
      float* at = o + (c * kRowVectors + g) * kLanes;
      store(at, fresh ? acc : load<Vec>(at) * alpha[g] + acc);
    }
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
