// K and V as the products of a tile read them: one scalar at a time, broadcast over the lanes.
// Packed, the scalars of a register tile lie side by side, so that a product reads one stream in
// order; rows that lie far apart would fall into one cache set, and every one of them into another
// line.
#pragma once

#include "cpu/kernels/register_tile.h"
#include "cpu/kernels/rows.h"

namespace fa::cpu::FA_ISA {
namespace {

/** Rows (first product: keys; second: columns of V) that lie side by side. */
constexpr int kPack = kRegisters == 32 ? 8 : 4;

/** Scalar (r, d) lies at base + r / kPack * pack + r % kPack * lane + d * step. */
struct Operand {
  const float* base;
  int64_t pack, lane, step;

  FA_ALWAYS_INLINE const float* at(int r) const {
    return base + r / kPack * pack + r % kPack * lane;
  }
  /** From row `r`, a multiple of kPack, and from `d` on. */
  FA_ALWAYS_INLINE Operand from(int r, int d) const {
    return {base + r / kPack * pack + d * step, pack, lane, step};
  }
};

typedef float Four __attribute__((vector_size(16), may_alias));

/** r[i][j] <-> r[j][i]. */
FA_ALWAYS_INLINE void transpose(Four& a, Four& b, Four& c, Four& d) {
  const Four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
  const Four cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
  const Four ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  a = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
  b = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
  c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
  d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
}

typedef uint16_t PackHalves __attribute__((vector_size(kPack * 2), may_alias));
typedef uint32_t PackPairs __attribute__((vector_size(kPack * 4), may_alias));

/** The rows of a K or V tile in float32: `row(j)` is readable up to `dim` rounded up to four. */
template <class Row>
FA_ALWAYS_INLINE void pack_keys(int keys, int dim, float* packed, Row row) {
  const int padded = round_up(dim, 4);
  for (int j = 0; j < keys; j += 4) {
    const float* source[4];
    for (int r = 0; r < 4; ++r) source[r] = row(j + r < keys ? j + r : keys - 1, r);
    float* const target = packed + j / kPack * int64_t{padded} * kPack + j % kPack;
    for (int d = 0; d < padded; d += 4) {
      Four a = load<Four>(source[0] + d), b = load<Four>(source[1] + d);
      Four c = load<Four>(source[2] + d), e = load<Four>(source[3] + d);
      transpose(a, b, c, e);
      store(target + (d + 0) * kPack, a);
      store(target + (d + 1) * kPack, b);
      store(target + (d + 2) * kPack, c);
      store(target + (d + 3) * kPack, e);
    }
  }
}

/**
 * The columns of a K or V tile, likewise; four rows at a time, so that whole cache lines are
 * written.
 */
template <class Row>
FA_ALWAYS_INLINE void pack_columns(int keys, int capacity, int dim, float* packed, Row row) {
  const int padded = round_up(dim, kColumnStep);
  for (int j = 0; j < keys; j += 4) {
    const int rows = keys - j < 4 ? keys - j : 4;
    const float* source[4];
    for (int r = 0; r < rows; ++r) source[r] = row(j + r, r);
    for (int d = 0; d < padded; d += 4) {
      float* const target = packed + d / kPack * int64_t{capacity} * kPack + j * kPack + d % kPack;
      for (int r = 0; r < rows; ++r) store(target + r * kPack, load<Four>(source[r] + d));
    }
  }
}

/**
 * Pairs of keys instead of keys: what dot products of bfloat16 rows want. Of an odd number the last
 * one meets a zero.
 */
template <class Row>
FA_ALWAYS_INLINE void pack_column_pairs(int keys, int capacity, int dim, float* packed, Row row) {
  const int padded = round_up(dim, kColumnStep);
  for (int j = 0; j < keys; j += 2) {
    const char* const even = row(j, 0);
    const char* const odd = j + 1 < keys ? row(j + 1, 1) : nullptr;
    for (int d = 0; d < padded; d += kPack) {
      PackPairs pairs = __builtin_convertvector(load<PackHalves>(even + d * 2), PackPairs);
      if (odd != nullptr)
        pairs |= __builtin_convertvector(load<PackHalves>(odd + d * 2), PackPairs) << 16;
      store(packed + d / kPack * int64_t{capacity / 2} * kPack + j / 2 * kPack, pairs);
    }
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
