// FlashAttention-2's forward loop for one work item (Dao 2023, Algorithm 1): outer loop over query
// panels, inner loop over key tiles, online softmax, no score ever written to memory beyond a tile.
// A packed tile is shared by the item's panels.
#pragma once

#include "cpu/kernels/tile.h"
#include "cpu/kernels/tile_mask.h"

namespace fa::cpu::FA_ISA {
namespace {

struct Workspace {
  Panel* panels;
  float* k;
  float* v;
  float* s;
  float* bias;
  float* rows;
};

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

/** Vectors of rows first .. first + Groups - 1 of the panel against keys [key, key + keys) of the tile. */
template <int Groups>
void step(const ForwardArgs& a, const Workspace& w, Panel& panel, int first, Tile& tile,
          int64_t key, int keys, bool masked) {
  const int from = static_cast<int>(key - tile.key);
  const float* const k = tile.k.rows + from * tile.k.stride;
  const float* const v = tile.v.rows + from * tile.v.stride;
  const int columns = round_up(a.head_dim_v, kColumnStep);
  const bool biased = a.mask.base != nullptr && a.mask.dtype != kBool;
  const bool modified = masked || biased || a.softcap > 0 || a.alibi_slopes != nullptr;

  Vec before[kGroups];
  for (int g = 0; g < kGroups; ++g) before[g] = panel.max[g];
  if (modified) {
    scores<Groups, false>(k, tile.k.stride, keys, a.head_dim, panel.q + first * kLanes,
                          w.s + first * kLanes, panel.max + first);
    if (biased) load_bias(a, panel, key, keys, w.rows, w.bias);
    modify_scores(a, panel, first, masked, key, keys, biased ? w.bias : nullptr, w.s, panel.max);
  } else {
    scores<Groups, true>(k, tile.k.stride, keys, a.head_dim, panel.q + first * kLanes,
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
    values<Groups, true>(v, tile.v.stride, keys, columns, s, o, alpha + first, began,
                         panel.max + first, sum);
    for (int g = 0; g < Groups; ++g) panel.sum[first + g] += sum[g];
    return;
  }
  exponentiate(panel, first, keys, w.s, panel.sum);
  if (a.dropout.enabled) drop_out(a, panel, first, key, keys, w.s);
  if ((masked || biased) && !tile.v.finite(a.head_dim_v)) {
    values_excluding_masked<Groups>(v, tile.v.stride, keys, columns, s, o, alpha + first, began);
  } else {
    values<Groups, false>(v, tile.v.stride, keys, columns, s, o, alpha + first, began,
                          panel.max + first, panel.sum + first);
  }
}

/** Lets the panel see the tile. */
void advance(const ForwardArgs& a, const Workspace& w, Panel& panel, Tile& tile) {
  for_each_segment(a, panel, tile, [&](int first, int64_t key, int keys, TileKind kind) {
    if (kind == TileKind::kSkip) return;
    const bool masked = kind == TileKind::kPartial;
    const int groups = panel.groups - first;
    if (groups == 1)
      step<1>(a, w, panel, first, tile, key, keys, masked);
    else if (groups == 2)
      step<2>(a, w, panel, first, tile, key, keys, masked);
    else if constexpr (kGroups >= 3)
      step<3>(a, w, panel, first, tile, key, keys, masked);
  });
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
    Tile tile{tile_begin, keys, {}, {}};
    tile.k = load_rows(a, a.k, a.k_page_stride, a.head_dim, k_direct, tile_begin, keys, w.k);
    tile.v = load_rows(a, a.v, a.v_page_stride, a.head_dim_v, v_direct, tile_begin, keys, w.v);
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
