// A tile of keys and values as the products read them, and the stretches of it that a panel sees.
#pragma once

#include "cpu/kernels/products.h"
#include "cpu/kernels/tile.h"

namespace fa::cpu::FA_ISA {
namespace {

struct KeyTile {
  int64_t key;  // a multiple of kColumnStep
  int keys;
  Operand k, v;
  bool v_checked, v_finite;

  /** Whether V holds neither NaN nor infinity; looked at once, and only by tiles that hide something. */
  bool finite_values(int dim) {
    if (!v_checked) {
      v_finite = true;
      for (int d = 0; d < dim && v_finite; ++d) {
        const float* const column = v.at(d);
        uint32_t bad = 0;
        for (int j = 0; j < keys; ++j)
          bad |= (float_bits(column[j * v.step]) & 0x7f800000u) == 0x7f800000u;
        v_finite = bad == 0;
      }
      v_checked = true;
    }
    return v_finite;
  }
};

/** Reads rows as float32 where they lie, or else into one of the rows at `scratch`. */
struct RowReader {
  const ForwardArgs& a;
  const Rows& rows;
  int64_t page_stride;
  int dim;
  int64_t key;
  int keys;
  float* scratch;

  static constexpr int kRowsAhead = 8;

  FA_ALWAYS_INLINE const float* operator()(int j, int slot) const {
    const char* const row = key_row(a, rows, page_stride, key + j);
    if (j + kRowsAhead < keys) {
      // Rows of one head lie pages apart, where no hardware prefetcher looks.
      const char* const later = key_row(a, rows, page_stride, key + j + kRowsAhead);
      for (int64_t at = 0; at < dim * element_size(rows.dtype); at += 64)
        __builtin_prefetch(later + at);
    }
    if (rows.dtype == kFloat32 && rows.dim_stride == 1 && dim % kColumnStep == 0)
      return reinterpret_cast<const float*>(row);
    float* const copy = scratch + slot * padded_dim(dim);
    load_row(row, rows.dtype, rows.dim_stride, dim, copy);
    for (int d = round_up(dim, kLanes); d < padded_dim(dim); d += kLanes) store(copy + d, Vec{});
    return copy;
  }
};

/** Keys [key, key + keys), packed; `rows` has room for four of them. */
KeyTile load_tile(const ForwardArgs& a, bool in_place, int64_t key, int keys, float* packed_k,
                  float* packed_v, float* rows) {
  KeyTile tile{key, keys, {}, {}, false, false};
  if (in_place) {
    const auto operand = [&](const Rows& source, int64_t lane, int64_t step) {
      const char* const first = key_row(a, source, 0, key);
      return Operand{reinterpret_cast<const float*>(first), kPack * lane, lane, step};
    };
    tile.k = operand(a.k, a.k.row_stride, 1);
    tile.v = operand(a.v, 1, a.v.row_stride);
    return tile;
  }
  pack_keys(keys, a.head_dim, packed_k,
            RowReader{a, a.k, a.k_page_stride, a.head_dim, key, keys, rows});
  pack_columns(keys, a.tile_k, a.head_dim_v, packed_v,
               RowReader{a, a.v, a.v_page_stride, a.head_dim_v, key, keys, rows});
  tile.k = {packed_k, int64_t{round_up(a.head_dim, 4)} * kPack, 1, kPack};
  tile.v = {packed_v, int64_t{a.tile_k} * kPack, 1, kPack};
  return tile;
}

/** Whether K and V can be multiplied where they lie: that pays when few rows read them. */
bool readable_in_place(const ForwardArgs& a) {
  const auto plain = [&](const Rows& rows) {
    return rows.dtype == kFloat32 && rows.dim_stride == 1 && a.pages == nullptr;
  };
  return plain(a.k) && plain(a.v) && a.head_dim_v % kColumnStep == 0 &&
         a.row_end - a.row_begin <= 2 * kPanelRows;
}

/** Keys of a tile, counted from its first one, in multiples of kColumnStep but for the last. */
struct Stretch {
  int begin, end;
  int first;  // vectors of rows before it see none of these keys
  TileKind kind;
};

/** The part of the tile that each vector of the panel's rows sees ends here: the causal staircase. */
Staircase stairs_of(const Panel& panel, const KeyTile& tile) {
  Staircase stairs;
  for (int g = 0; g < kGroups; ++g) {
    const int64_t end =
        (panel.group_end[g] - tile.key + kColumnStep - 1) / kColumnStep * kColumnStep;
    stairs.ends[g] = static_cast<int>(smaller(larger(end, 0), tile.keys));
  }
  return stairs;
}

/** Calls `visit` for the stretches that the panel sees, in order, cut so that few of them need a mask. */
template <class Visit>
FA_ALWAYS_INLINE void for_each_stretch(const ForwardArgs& a, const Panel& panel,
                                       const KeyTile& tile, const Staircase& stairs, Visit visit) {
  const WindowMask window = window_of(a);
  const auto step_down = [&](int64_t key) {
    return static_cast<int>(smaller(larger(key - tile.key, 0), tile.keys)) / kColumnStep *
           kColumnStep;
  };
  const int seen_by_first = step_down(window.end(panel.i_begin));
  const int seen_by_last = step_down(window.begin(panel.i_end - 1) + kColumnStep - 1);
  const int64_t block = a.block_mask.cells != nullptr && a.block_mask.block_k % 32 == 0
                            ? a.block_mask.block_k
                            : int64_t{1} << 40;
  Stretch stretch{step_down(panel.key_begin), 0, 0, TileKind::kFull};
  for (;; stretch.begin = stretch.end) {
    while (stretch.first < panel.groups && stairs.ends[stretch.first] <= stretch.begin)
      ++stretch.first;
    if (stretch.first == panel.groups) return;
    stretch.end = stairs.ends[stretch.first];
    const int64_t key = tile.key + stretch.begin;
    for (const int64_t cut :
         {int64_t{seen_by_first}, int64_t{seen_by_last}, (key / block + 1) * block - tile.key}) {
      if (stretch.begin < cut && cut < stretch.end) stretch.end = static_cast<int>(cut);
    }
    stretch.kind =
        classify(a, panel.query[stretch.first * kLanes], panel.i_end, key, tile.key + stretch.end);
    visit(stretch);
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
