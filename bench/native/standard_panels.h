// What the steps of standard attention share: a panel of rows as vector lanes, and the two products
// of this package (csrc/cpu/kernels/products.h) between a panel and a whole matrix in memory.
#pragma once

#include "cpu/kernels/panel.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr int kMaxDim = 256;
constexpr int kPanelFloats = kMaxDim * kPanelRows;

FA_ALWAYS_INLINE int64_t panel_count(int64_t rows) { return (rows + kPanelRows - 1) / kPanelRows; }

/**
 * factor * rows from `begin` on of [rows][dim], as [dim][kPanelRows]; lanes past the end repeat the
 * last row.
 */
void pack(const float* matrix, int64_t begin, int64_t rows, int dim, float factor, float* packed) {
  for (int g = 0; g < kRowVectors; ++g) {
    for (int d = 0; d < dim; d += kLanes) {
      Vec block[kLanes];
      for (int lane = 0; lane < kLanes; ++lane) {
        block[lane] = load<Vec>(matrix + smaller(begin + g * kLanes + lane, rows - 1) * dim + d);
      }
      transpose(block);
      for (int c = 0; c < kLanes; ++c)
        store(packed + ((d + c) * kRowVectors + g) * kLanes, block[c] * splat(factor));
    }
  }
}

/** The way back. Lanes past the end are not written: another thread may own the row they repeat. */
void unpack(const float* packed, int64_t begin, int64_t rows, int dim, float factor,
            float* matrix) {
  for (int g = 0; g < kRowVectors; ++g) {
    for (int d = 0; d < dim; d += kLanes) {
      Vec block[kLanes];
      for (int c = 0; c < kLanes; ++c)
        block[c] = load<Vec>(packed + ((d + c) * kRowVectors + g) * kLanes) * splat(factor);
      transpose(block);
      for (int lane = 0; lane < kLanes; ++lane) {
        const int64_t row = begin + g * kLanes + lane;
        if (row >= rows) break;
        store(matrix + row * dim + d, block[lane]);
      }
    }
  }
}

/** products[j][lane] = row j of the matrix . that lane of the panel. */
void dot_products(const float* matrix, int64_t rows, int dim, const float* packed,
                  float* products) {
  const Operand operand{matrix, kPack * int64_t{dim}, dim, 1};
  RowState unused{};
  Upcoming nothing;
  scores<kRowVectors, Scores::kRaw, Element::kFloat>(operand, static_cast<int>(rows), dim, 1.f,
                                                     packed, products, 0, unused, nothing);
}

/** packed = sum over j of weights[j][lane] * row j, in blocks of rows whose weights stay in L1. */
void weighted_sums(const float* matrix, int64_t rows, int dim, float* weights, float* packed) {
  constexpr int64_t kBlock = 128;
  Vec one[kRowVectors];
  for (Vec& x : one) x = splat(1.f);
  Upcoming nothing;
  for (int64_t j = 0; j < rows; j += kBlock) {
    Staircase stairs;
    for (int& end : stairs.ends) end = static_cast<int>(smaller(kBlock, rows - j));
    const Operand operand{matrix + j * dim, kPack, 1, dim};
    values<kRowVectors, Element::kFloat>(operand, stairs, dim, weights + j * kPanelRows, packed,
                                         one, j == 0, nothing);
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
