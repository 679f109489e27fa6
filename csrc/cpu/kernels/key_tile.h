// A tile of keys and values as the products read them, and the stretches of it that a panel sees.
#pragma once

#include "cpu/kernels/products.h"
#include "cpu/kernels/tile.h"

namespace fa::cpu::FA_ISA {
namespace {

/**
 * Reads rows as float32 where they lie, or else into one of the rows at `scratch`, scaled. What
 * packs takes a copy: of a reader in memory every store might change the next row's place.
 */
struct RowReader {
  const ForwardArgs& a;
  Rows rows;
  int64_t page_stride;
  int dim;
  int64_t key;
  int keys;
  float* scratch;
  RowScales scales = {};

  FA_ALWAYS_INLINE const char* find(int j) const {
    if (j + kRowsAhead < keys)
      prefetch_row(key_row(a, rows, page_stride, key + j + kRowsAhead),
                   dim * element_size(rows.dtype));
    return key_row(a, rows, page_stride, key + j);
  }

  FA_ALWAYS_INLINE const float* operator()(int j, int slot) const {
    const char* const row = find(j);
    if (rows.dtype == kFloat32 && rows.dim_stride == 1 && dim % kColumnStep == 0)
      return reinterpret_cast<const float*>(row);
    float* const copy = scratch + slot * padded_dim(dim);
    load_row(row, rows.dtype, rows.dim_stride, dim, copy);
    for (int d = round_up(dim, kLanes); d < padded_dim(dim); d += kLanes) store(copy + d, Vec{});
    if (scales.base != nullptr) {
      const Vec scale = splat(*key_scale(a, scales, key + j));
      for (int d = 0; d < dim; d += kLanes) store(copy + d, load<Vec>(copy + d) * scale);
    }
    return copy;
  }

  /** The bfloat16 row itself, readable up to `dim` rounded up to eight. */
  FA_ALWAYS_INLINE const char* halves(int j, int slot) const {
    const char* const row = find(j);
    if (rows.dim_stride == 1 && dim % kColumnStep == 0) return row;
    char* const copy = reinterpret_cast<char*>(scratch + slot * padded_dim(dim));
    std::memset(copy, 0, static_cast<size_t>(padded_dim(dim)) * 2);
    for (int d = 0; d < dim; ++d) std::memcpy(copy + d * 2, row + d * rows.dim_stride * 2, 2);
    return copy;
  }
};

/** Keys [key, key + keys) of K and V; key is a multiple of kColumnStep. */
class KeyTile {
 public:
  int64_t key;
  int keys;
  Operand k, v;

  /** `rows` has room for four packed rows of floats. */
  KeyTile(const ForwardArgs& a, Element of, bool in_place, int64_t first, int count,
          float* packed_k, float* packed_v, float* rows)
      : key(first),
        keys(count),
        a_(a),
        of_(of),
        k_rows_{.a = a,
                .rows = a.k,
                .page_stride = a.k_page_stride,
                .dim = a.head_dim,
                .key = first,
                .keys = count,
                .scratch = rows,
                .scales = a.k_scale},
        v_rows_{.a = a,
                .rows = a.v,
                .page_stride = a.v_page_stride,
                .dim = a.head_dim_v,
                .key = first,
                .keys = count,
                .scratch = rows,
                .scales = a.v_scale},
        packed_v_(packed_v) {
    if (in_place) {
      const auto operand = [&](const Rows& source, int64_t lane, int64_t step) {
        const char* const begin = key_row(a, source, 0, key);
        return Operand{reinterpret_cast<const float*>(begin), kPack * lane, lane, step};
      };
      k = operand(a.k, a.k.row_stride, 1);
      v = operand(a.v, 1, a.v.row_stride);
    } else if (of == Element::kPair) {
      // Two bfloat16 side by side in a row of K are a pair as they are.
      const int pairs = (a.head_dim + 1) / 2;
      pack_keys(keys, pairs, packed_k, [this](int j, int slot) {
        return reinterpret_cast<const float*>(k_rows_.halves(j, slot));
      });
      k = {packed_k, int64_t{round_up(pairs, 4)} * kPack, 1, kPack};
      v = pack_value_pairs();
    } else {
      pack_keys(keys, a.head_dim, packed_k, k_rows_);
      k = {packed_k, int64_t{round_up(a.head_dim, 4)} * kPack, 1, kPack};
      v = pack_float_values();
    }
  }

  /**
   * Whether V holds neither NaN nor infinity; looked at once, and only by tiles that hide
   * something.
   */
  bool finite_values() {
    if (!checked_) {
      checked_ = true;
      const bool packed = v.step == kPack;
      const int rows = packed ? round_up(a_.head_dim_v, kColumnStep) / kPack : keys;
      const int width = !packed                 ? a_.head_dim_v
                        : of_ == Element::kPair ? (keys + 1) / 2 * kPack
                                                : keys * kPack;
      finite_ = all_finite(v.base, packed ? v.pack : v.step, rows, width);
      if (of_ == Element::kPair) finite_ = finite_ && all_finite_low(v.base, v.pack, rows, width);
    }
    return finite_;
  }

 private:
  Operand pack_float_values() const {
    pack_columns(keys, a_.tile_k, a_.head_dim_v, packed_v_, v_rows_);
    return {packed_v_, int64_t{a_.tile_k} * kPack, 1, kPack};
  }
  Operand pack_value_pairs() const {
    pack_column_pairs(keys, a_.tile_k, a_.head_dim_v, packed_v_,
                      [this](int j, int slot) { return v_rows_.halves(j, slot); });
    return {packed_v_, int64_t{a_.tile_k / 2} * kPack, 1, kPack};
  }
  /** Of the low halves of pairs; all_finite looks at the high ones. */
  static bool all_finite_low(const float* rows, int64_t stride, int count, int width) {
    for (int r = 0; r < count; ++r) {
      uint32_t bad = 0;
      for (int i = 0; i < width; ++i)
        bad |= static_cast<uint32_t>((float_bits(rows[r * stride + i]) & 0x7f80u) == 0x7f80u);
      if (bad != 0) return false;
    }
    return true;
  }

  const ForwardArgs& a_;
  const Element of_;
  const RowReader k_rows_, v_rows_;
  float* const packed_v_;
  bool checked_ = false, finite_ = false;
};

/**
 * Panels that share K and V where these are multiplied where they lie: to pack them for so few
 * takes longer than it spares.
 */
constexpr int kInPlacePanels = kRegisters == 32 && kLanes == 16 ? 4 : 2;

/** Whether K and V can be multiplied where they lie, and that pays. */
bool readable_in_place(const ForwardArgs& a) {
  const auto plain = [&](const Rows& rows) {
    return rows.dtype == kFloat32 && rows.dim_stride == 1 && a.pages == nullptr;
  };
  return plain(a.k) && plain(a.v) && a.head_dim_v % kColumnStep == 0 &&
         a.row_end - a.row_begin <= kInPlacePanels * kPanelRows;
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
