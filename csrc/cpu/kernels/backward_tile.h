// A tile of K and V as the backward pass reads it: rows of float32.
#pragma once

#include "cpu/kernels/backward_gemm.h"
#include "cpu/kernels/key_tile.h"

namespace fa::cpu::FA_ISA {
namespace {

/** Floats with unit stride along a row. */
struct TileRows {
  const float* rows;
  int64_t stride;
  int count;
  bool checked, is_finite;

  FA_ALWAYS_INLINE const float* row(int64_t j) const { return rows + j * stride; }

  /**
   * Whether there is neither NaN nor infinity; looked at once, and only by tiles that hide
   * something.
   */
  bool finite(int dim) {
    if (!checked) {
      is_finite = all_finite(rows, stride, count, dim);
      checked = true;
    }
    return is_finite;
  }
};

struct Tile {
  int64_t key;
  int keys;
  TileRows k, v;
};

/** A row of `dim` numbers as floats, zeros up to the end of its last cache line. */
FA_ALWAYS_INLINE void load_padded(const char* source, const Rows& of, int dim, float* row) {
  load_row(source, of.dtype, of.dim_stride, dim, row);
  for (int d = round_up(dim, kLanes); d < padded_dim(dim); d += kLanes) store(row + d, Vec{});
}

TileRows load_tile_rows(const ForwardArgs& a, const Rows& rows, int64_t page_stride, int dim,
                        int64_t key, int keys, float* packed) {
  const int stride = scratch_stride(dim);
  const RowReader reader{.a = a,
                         .rows = rows,
                         .page_stride = page_stride,
                         .dim = dim,
                         .key = key,
                         .keys = keys,
                         .scratch = nullptr};
  for (int j = 0; j < keys; ++j) load_padded(reader.find(j), rows, dim, packed + j * stride);
  return {packed, stride, keys, false, false};
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
