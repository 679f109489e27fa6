// FlashAttention-2's forward loop for one work item (Dao 2023, Algorithm 1): outer loop over query
// panels, inner loop over key tiles, online softmax, no score ever written to memory beyond a tile.
// A packed tile is shared by the item's panels.
#pragma once

#include "cpu/kernels/tile_mask.h"

namespace fa::cpu::FA_ISA {
namespace {

/** Keys and values as the products read them: rows of floats. */
struct Tile {
  const float* k;
  const float* v;
  int64_t k_stride, v_stride;
  int64_t key;
  int keys;
  bool v_checked, v_finite;
};

struct Workspace {
  Panel* panels;
  float* k;
  float* v;
  float* s;
  float* bias;
  float* rows;
};

FA_ALWAYS_INLINE int padded_dim(int dim) { return round_up(dim, 16); }

FA_ALWAYS_INLINE size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

FA_ALWAYS_INLINE char* take(char*& at, size_t bytes) {
  char* p = at;
  at += aligned(bytes);
  return p;
}

/** Lays the workspace out from `at` on; returns the bytes it takes (at may be null to measure). */
size_t layout(const ForwardArgs& a, char* at, Workspace& w) {
  char* const begin = at;
  const size_t dim = static_cast<size_t>(padded_dim(a.head_dim)),
               dim_v = static_cast<size_t>(padded_dim(a.head_dim_v));
  const size_t keys = static_cast<size_t>(round_up(a.tile_k, 16));
  const size_t widest = static_cast<size_t>(
      larger(larger(padded_dim(a.head_dim), padded_dim(a.head_dim_v)), round_up(a.tile_k, 16)));
  w.panels = reinterpret_cast<Panel*>(take(at, sizeof(Panel) * static_cast<size_t>(a.panels)));
  for (int i = 0; i < a.panels; ++i) {
    char* const q = take(at, dim * kPanelRows * sizeof(float));
    char* const o = take(at, dim_v * kPanelRows * sizeof(float));
    if (begin != nullptr) {
      w.panels[i].q = reinterpret_cast<float*>(q);
      w.panels[i].o = reinterpret_cast<float*>(o);
    }
  }
  w.k = reinterpret_cast<float*>(take(at, keys * dim * sizeof(float)));
  w.v = reinterpret_cast<float*>(take(at, keys * dim_v * sizeof(float)));
  w.s = reinterpret_cast<float*>(take(at, keys * kPanelRows * sizeof(float)));
  w.bias = reinterpret_cast<float*>(take(at, keys * kPanelRows * sizeof(float)));
  w.rows = reinterpret_cast<float*>(take(at, kLanes * widest * sizeof(float)));
  return static_cast<size_t>(at - begin);
}

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

const float* load_rows(const ForwardArgs& a, const Rows& rows, int64_t page_stride, int dim,
                       bool direct, int64_t key, int keys, float* packed, int64_t* stride) {
  if (direct) {
    *stride = rows.row_stride;
    return reinterpret_cast<const float*>(key_row(a, rows, page_stride, key));
  }
  *stride = padded_dim(dim);
  for (int j = 0; j < keys; ++j) {
    float* row = packed + j * *stride;
    load_row(key_row(a, rows, page_stride, key + j), rows.dtype, rows.dim_stride, dim, row);
    // Columns up to the next kColumnStep are multiplied too.
    for (int d = round_up(dim, kLanes); d < *stride; d += kLanes) store(row + d, Vec{});
  }
  return packed;
}

bool all_finite(const Tile& t, int dim) {
  const VecI exponent = splat(0x7f800000);
  for (int j = 0; j < t.keys; ++j) {
    const float* row = t.v + j * t.v_stride;
    VecI bad = VecI{};
    int d = 0;
    for (; d + kLanes <= dim; d += kLanes) bad |= (load<VecI>(row + d) & exponent) == exponent;
    for (; d < dim; ++d)
      bad[0] |= -static_cast<int32_t>((float_bits(row[d]) & 0x7f800000u) == 0x7f800000u);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (bad[lane] != 0) return false;
    }
  }
  return true;
}

/** Vectors of rows first .. first + Groups - 1 of the panel against keys [key, key + keys) of the tile. */
template <int Groups>
void step(const ForwardArgs& a, const Workspace& w, Panel& panel, int first, Tile& tile,
          int64_t key, int keys, bool masked) {
  const int from = static_cast<int>(key - tile.key);
  const float* const k = tile.k + from * tile.k_stride;
  const float* const v = tile.v + from * tile.v_stride;
  const int columns = round_up(a.head_dim_v, kColumnStep);
  const bool biased = a.mask.base != nullptr && a.mask.dtype != kBool;
  const bool modified = masked || biased || a.softcap > 0 || a.alibi_slopes != nullptr;

  Vec before[kGroups];
  for (int g = 0; g < kGroups; ++g) before[g] = panel.max[g];
  if (modified) {
    scores<Groups, false>(k, tile.k_stride, keys, a.head_dim, panel.q + first * kLanes,
                          w.s + first * kLanes, panel.max + first);
    if (biased) load_bias(a, panel, key, keys, w.rows, w.bias);
    modify_scores(a, panel, first, masked, key, keys, biased ? w.bias : nullptr, w.s, panel.max);
  } else {
    scores<Groups, true>(k, tile.k_stride, keys, a.head_dim, panel.q + first * kLanes,
                         w.s + first * kLanes, panel.max + first);
  }
  Vec alpha[kGroups];
  for (int g = first; g < first + Groups; ++g) {
    alpha[g] = exp2_or_zero(before[g] - panel.max[g]);
    panel.sum[g] *= alpha[g];
  }

  float* const s = w.s + first * kLanes;
  float* const o = panel.o + first * kLanes;
  const bool began = !panel.started;
  if (began && first > 0) {
    for (int d = 0; d < padded_dim(a.head_dim_v); ++d) {
      for (int g = 0; g < first; ++g) store(panel.o + (d * kGroups + g) * kLanes, Vec{});
    }
  }
  panel.started = true;
  if (!modified && !a.dropout.enabled) {
    Vec sum[Groups] = {};
    values<Groups, true>(v, tile.v_stride, keys, columns, s, o, alpha + first, began,
                         panel.max + first, sum);
    for (int g = 0; g < Groups; ++g) panel.sum[first + g] += sum[g];
    return;
  }
  exponentiate(panel, first, keys, w.s, panel.sum);
  if (a.dropout.enabled) drop_out(a, panel, first, key, keys, w.s);
  if (!tile.v_checked && (masked || biased)) {
    tile.v_finite = all_finite(tile, a.head_dim_v);
    tile.v_checked = true;
  }
  if (tile.v_checked && !tile.v_finite) {
    values_excluding_masked<Groups>(v, tile.v_stride, keys, columns, s, o, alpha + first, began);
  } else {
    values<Groups, false>(v, tile.v_stride, keys, columns, s, o, alpha + first, began,
                          panel.max + first, panel.sum + first);
  }
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

/** Lets the panel see the tile. Vectors of rows whose keys have ended drop out one by one (the causal ladder). */
void advance(const ForwardArgs& a, const Workspace& w, Panel& panel, Tile& tile) {
  const int64_t end = smaller(tile.key + tile.keys, panel.key_end);
  int64_t key = larger(tile.key, panel.key_begin);
  int first = 0;
  while (key < end) {
    while (panel.group_end[first] <= key) ++first;
    // In steps of eight keys, so that the ladder's rungs fill the register tiles.
    const int64_t rung = key + (panel.group_end[first] - key + 7) / 8 * 8;
    const int64_t stop = smaller(end, rung);
    const TileKind kind = classify(a, panel.query[first * kLanes], panel.i_end, key, stop);
    if (kind != TileKind::kSkip) {
      const bool masked = kind == TileKind::kPartial;
      const int keys = static_cast<int>(stop - key);
      const int groups = panel.groups - first;
      if (groups == 1)
        step<1>(a, w, panel, first, tile, key, keys, masked);
      else if (groups == 2)
        step<2>(a, w, panel, first, tile, key, keys, masked);
      else if constexpr (kGroups >= 3)
        step<3>(a, w, panel, first, tile, key, keys, masked);
    }
    key = stop;
  }
}

void forward(const ForwardArgs& a, char* scratch) {
  Workspace w;
  layout(a, scratch, w);
  int panels = 0;
  int64_t begin = a.key_end, end = 0;
  for (int64_t row = a.row_begin; row < a.row_end; row += kPanelRows) {
    Panel& panel = w.panels[panels++];
    load_panel(a, row, smaller(row + kPanelRows, a.row_end), w.rows, panel);
    begin = smaller(begin, panel.key_begin);
    end = larger(end, panel.key_end);
  }
  const bool k_direct = in_place(a, a.k, a.head_dim, panels);
  const bool v_direct = in_place(a, a.v, a.head_dim_v, panels) && a.head_dim_v % kColumnStep == 0;
  // Tiles start at multiples of tile_k, so that a row's sums are grouped alike whatever shares its work item.
  for (int64_t key = begin / a.tile_k * a.tile_k; key < end; key += a.tile_k) {
    const int64_t tile_begin = larger(key, begin);
    const int keys = static_cast<int>(smaller(key + a.tile_k, end) - tile_begin);
    bool wanted = false;
    for (int i = 0; i < panels && !wanted; ++i) {
      wanted = classify(a, w.panels[i].i_begin, w.panels[i].i_end, tile_begin, tile_begin + keys) !=
               TileKind::kSkip;
    }
    if (!wanted) continue;
    Tile tile{};
    tile.key = tile_begin;
    tile.keys = keys;
    tile.k = load_rows(a, a.k, a.k_page_stride, a.head_dim, k_direct, tile_begin, keys, w.k,
                       &tile.k_stride);
    tile.v = load_rows(a, a.v, a.v_page_stride, a.head_dim_v, v_direct, tile_begin, keys, w.v,
                       &tile.v_stride);
    for (int i = 0; i < panels; ++i) advance(a, w, w.panels[i], tile);
  }
  for (int i = 0; i < panels; ++i) store_panel(a, w.rows, w.panels[i]);
}

size_t forward_scratch(const ForwardArgs& a) {
  Workspace w;
  return layout(a, nullptr, w);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
