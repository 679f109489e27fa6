// A tile of keys and values as the products read them, which panels need it, and which of their rows.
#pragma once

#include "cpu/kernels/panel.h"

namespace fa::cpu::FA_ISA {
namespace {

FA_ALWAYS_INLINE int padded_dim(int dim) { return round_up(dim, 16); }

FA_ALWAYS_INLINE size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

FA_ALWAYS_INLINE char* take(char*& at, size_t bytes) {
  char* p = at;
  at += aligned(bytes);
  return p;
}

bool all_finite(const float* rows, int64_t stride, int count, int dim) {
  const VecI exponent = splat(0x7f800000);
  for (int j = 0; j < count; ++j) {
    const float* row = rows + j * stride;
    VecI bad = VecI{};
    int d = 0;
    for (; d + kLanes <= dim; d += kLanes) bad |= (load<VecI>(row + d) & exponent) == exponent;
    for (; d < dim; ++d) {
      bad[0] |= -static_cast<int32_t>((float_bits(row[d]) & 0x7f800000u) == 0x7f800000u);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (bad[lane] != 0) return false;
    }
  }
  return true;
}

/** Floats with unit stride along a row. */
struct TileRows {
  const float* rows;
  int64_t stride;
  int count;
  bool checked, is_finite;

  /** Whether there is neither NaN nor infinity; looked at once, and only by tiles that hide something. */
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

FA_ALWAYS_INLINE const char* key_row(const ForwardArgs& a, const Rows& rows, int64_t page_stride,
                                     int64_t j) {
  const int64_t size = element_size(rows.dtype);
  if (a.pages == nullptr) return rows.base + j * rows.row_stride * size;
  return rows.base + (a.pages[j / a.page_size * a.pages_stride] * page_stride +
                      j % a.page_size * rows.row_stride) *
                         size;
}

/** Floats with unit stride can be multiplied where they lie; rows far apart only pay when one panel alone reads them. */
FA_ALWAYS_INLINE bool in_place(const ForwardArgs& a, const Rows& rows, int dim, int panels) {
  return rows.dtype == kFloat32 && rows.dim_stride == 1 && a.pages == nullptr &&
         (panels == 1 || rows.row_stride == dim);
}

TileRows load_rows(const ForwardArgs& a, const Rows& rows, int64_t page_stride, int dim,
                   bool direct, int64_t key, int keys, float* packed) {
  if (direct) {
    const char* const first = key_row(a, rows, page_stride, key);
    return {reinterpret_cast<const float*>(first), rows.row_stride, keys, false, false};
  }
  const int stride = padded_dim(dim);
  for (int j = 0; j < keys; ++j) {
    float* const row = packed + j * stride;
    load_row(key_row(a, rows, page_stride, key + j), rows.dtype, rows.dim_stride, dim, row);
    // Columns up to the next kColumnStep are multiplied too.
    for (int d = round_up(dim, kLanes); d < stride; d += kLanes) store(row + d, Vec{});
  }
  return {packed, stride, keys, false, false};
}

/** Whether rows [i0, i1) x keys [j0, j1) need a mask, over all heads of the group. */
TileKind classify(const ForwardArgs& a, int64_t i0, int64_t i1, int64_t j0, int64_t j1) {
  TileKind kind = window_of(a).classify(i0, i1, j0, j1);
  const BlockMaskArgs& b = a.block_mask;
  if (b.cells != nullptr && kind != TileKind::kSkip) {
    const int heads = b.head_stride == 0 ? 1 : a.group;
    TileKind blocks = TileKind::kSkip;
    for (int head = 0; head < heads; ++head) {
      const BlockTable table{b.cells + head * b.head_stride, b.row_stride, b.column_stride,
                             b.block_q, b.block_k};
      const TileKind one = table.classify(i0, i1, j0, j1);
      blocks = head == 0 || one == blocks ? one : TileKind::kPartial;
    }
    kind = both(kind, blocks);
  }
  if (a.mask.base != nullptr && a.mask.dtype == kBool && kind == TileKind::kFull)
    kind = TileKind::kPartial;
  return kind;
}

/**
 * Calls `visit(first, key, keys, kind)` for the stretches of the tile's keys that the panel may see, in order. Vectors of
 * rows whose keys have ended drop out one by one (the causal ladder): `first` is the first one left.
 */
template <class Visit>
FA_ALWAYS_INLINE void for_each_segment(const ForwardArgs& a, const Panel& panel, const Tile& tile,
                                       Visit visit) {
  const int64_t end = smaller(tile.key + tile.keys, panel.key_end);
  int64_t key = larger(tile.key, panel.key_begin);
  int first = 0;
  while (key < end) {
    while (panel.group_end[first] <= key) ++first;
    // In steps of eight keys, so that the ladder's rungs fill the register tiles.
    const int64_t rung = key + (panel.group_end[first] - key + 7) / 8 * 8;
    const int64_t stop = smaller(end, rung);
    visit(first, key, static_cast<int>(stop - key),
          classify(a, panel.query[first * kLanes], panel.i_end, key, stop));
    key = stop;
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
