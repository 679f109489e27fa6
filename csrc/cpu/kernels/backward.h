// FlashAttention-2's backward pass by recomputation (Dao 2023, Algorithm 2): P is computed again,
// tile by tile, from Q, K and the saved lse; nothing N x N is ever stored.
//
//   delta_i = sum_d dO_id O_id          P_ij  = exp(s_ij - lse_i)
//   dP_ij   = dO_i . V_j                dS_ij = P_ij (dP_ij - delta_i)
//   dV_j = sum_i P_ij dO_i     dK_j = scale sum_i dS_ij Q_i     dQ_i = scale sum_j dS_ij K_j
//
// A block of query rows is packed once and travels over the key tiles; each tile is packed once for
// the block. Within a block, a group of panels fills P and dS of one tile, then adds to the tile's
// dV and dK: the sums over query rows are long enough to amortise their accumulators, and P and dS
// stay in L1 and L2.
#pragma once

#include "cpu/kernels/backward_panel.h"
#include "cpu/kernels/tile_mask.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr int kGroupPanels = static_cast<int>(kBackwardGroupRows) / kPanelRows;
static_assert(kGroupPanels * kPanelRows == kBackwardGroupRows);

/** P and dS of one panel of the group at work, for the keys of a tile. */
struct PanelScores {
  float* p;        // [keys][kPanelRows], after dropout; kHidden where a mask hides the pair
  float* ds;       // while it is computed: dP
  uint8_t* first;  // [keys]: the first vector of rows that sees the key, kRowVectors if none
};

struct BackwardWorkspace {
  BackwardPanel* panels;
  PanelScores scores[kGroupPanels];
  float* k;
  float* v;
  float* rows;     // for loading and storing
  float* bias;     // [keys][kPanelRows]
  float* softcap;  // derivative of the softcap, likewise
};

void layout(const BackwardArgs& b, Arena& arena, BackwardWorkspace& w) {
  const ForwardArgs& a = b.forward;
  const auto floats = [&](int64_t count) { return arena.take<float>(count); };
  const int64_t dim = scratch_stride(a.head_dim), dim_v = scratch_stride(a.head_dim_v);
  const int64_t keys = round_up(a.tile_k, kRowSumStep);
  w.panels = arena.take<BackwardPanel>(a.panels);
  for (int i = 0; i < a.panels; ++i) {
    float* const parts[] = {floats(dim * kPanelRows), floats(dim * kPanelRows),
                            floats(dim_v * kPanelRows), floats(dim * kPanelRows),
                            floats(dim_v * kPanelRows)};
    if (arena.counts_only()) continue;
    BackwardPanel& panel = w.panels[i];
    panel.rows.q = parts[0];
    panel.rows.o = parts[1];
    panel.dout = parts[2];
    panel.q_rows = parts[3];
    panel.dout_rows = parts[4];
  }
  for (PanelScores& scores : w.scores) {
    scores.p = floats(keys * kPanelRows);
    scores.ds = floats(keys * kPanelRows);
    scores.first = arena.take<uint8_t>(keys);
  }
  w.k = floats(keys * dim);
  w.v = floats(keys * dim_v);
  w.bias = floats(keys * kPanelRows);
  w.softcap = floats(keys * kPanelRows);
  w.rows = floats(kLanes * larger(larger(dim, dim_v), keys));
}

/** Where the softcap is steep: 1 - tanh^2 of the raw scores. */
void softcap_derivative(const ForwardArgs& a, const Panel& panel, int first, int keys,
                        const float* s, float* derivative) {
  const Vec to_cap = splat(1.f / (a.softcap * panel.units.per_natural));
  for (int j = 0; j < keys; ++j) {
    for (int g = first; g < panel.groups; ++g) {
      const int64_t at = (j * kRowVectors + g) * kLanes;
      const Vec t = tanh(load<Vec>(s + at) * to_cap);
      store(derivative + at, 1.f - t * t);
    }
  }
}

/** From scores (in p) and dP (in ds) to P and dS, for what modifies or hides pairs. */
void differentiate(const BackwardArgs& b, const BackwardPanel& panel, int first, int64_t key,
                   int keys, const float* softcap, float* p, float* ds) {
  const DropoutArgs& drop = b.forward.dropout;
  const Vec to_base_2 = splat(panel.rows.units.to_base_2);
  for (int g = first; g < panel.rows.groups; ++g) {
    const VecU query = load<VecU>(panel.rows.query + g * kLanes);
    const VecU stream = load<VecU>(panel.rows.head + g * kLanes) + drop.stream0;
    PhiloxWords words{};
    for (int j = 0; j < keys; ++j) {
      const int64_t at = (j * kRowVectors + g) * kLanes;
      const Vec s = load<Vec>(p + at);
      Vec probability = exp2_or_zero((s - panel.lse[g]) * to_base_2);
      Vec dp = load<Vec>(ds + at);
      Vec dropped = probability;
      if (drop.enabled) {
        const int64_t at_key = key + j;
        if (j == 0 || (at_key & 3) == 0) {
          words = philox(splat(static_cast<uint32_t>(at_key >> 2)), query, stream,
                         splat(drop.offset_lo), drop.key0, drop.key1);
        }
        const VecI keep = (VecI)(words.word[at_key & 3] >= drop.threshold);
        dropped = select(keep, probability * drop.keep_scale, Vec{});
        dp = select(keep, dp * drop.keep_scale, Vec{});
      }
      Vec gradient = probability * (dp - panel.delta[g]);
      if (softcap != nullptr) gradient *= load<Vec>(softcap + at);
      // No product for hidden pairs: dP may be NaN there.
      const VecI hidden = (s == splat(-kInfinity)) | ~panel.live[g];
      store(p + at, select(hidden, (Vec)splat(kHidden), dropped));
      store(ds + at, select(hidden, Vec{}, gradient));
    }
  }
}

/** Hides keys [begin, end) of the tile from vectors [0, groups) of the panel's rows. */
void hide(const PanelScores& scores, int64_t begin, int64_t end, int groups) {
  for (int64_t j = begin; j < end; ++j) {
    scores.first[j] = static_cast<uint8_t>(groups);
    for (int g = 0; g < groups; ++g) {
      store(scores.p + (j * kRowVectors + g) * kLanes, splat(kHidden));
      store(scores.ds + (j * kRowVectors + g) * kLanes, Vec{});
    }
  }
}

/** Whether scores are more than products. */
bool modifies(const ForwardArgs& a) {
  return a.mask.base != nullptr || a.softcap > 0 || a.alibi_slopes != nullptr;
}

/**
 * Scores of vectors first .. first + Groups - 1 of the panel's rows and keys [key, key + keys), to
 * `s`, which belongs to `key`. Every pass over a pair makes the same bits of it.
 */
template <int Groups>
void score(const ForwardArgs& a, const BackwardWorkspace& w, const Panel& panel, int first,
           const Tile& tile, int64_t key, int keys, bool masked, float* s) {
  raw_products<Groups>(tile.k.row(key - tile.key), tile.k.stride, keys, a.head_dim,
                       panel.q + first * kLanes, s + first * kLanes);
  if (!masked && !modifies(a)) return;
  const bool biased = a.mask.base != nullptr && a.mask.dtype != kBool;
  Vec unused[kRowVectors] = {};
  if (a.softcap > 0) softcap_derivative(a, panel, first, keys, s, w.softcap);
  if (biased) load_bias(a, panel, key, keys, w.rows, w.bias);
  modify_scores(a, panel, first, masked, key, keys, biased ? w.bias : nullptr, s, unused);
}

/**
 * Vectors first .. first + Groups - 1 of the panel's rows against keys [key, key + keys): P, dS and
 * their part of dQ.
 */
template <int Groups>
void backward_step(const BackwardArgs& b, const BackwardWorkspace& w, const BackwardPanel& panel,
                   const PanelScores& scores, int first, Tile& tile, int64_t key, int keys,
                   bool masked) {
  const ForwardArgs& a = b.forward;
  const int64_t from = key - tile.key;
  const float* const k = tile.k.row(from);
  const float* const v = tile.v.row(from);
  const bool biased = a.mask.base != nullptr && a.mask.dtype != kBool;
  float* const all_p = scores.p + from * kPanelRows;
  float* const all_ds = scores.ds + from * kPanelRows;
  float* const p = all_p + first * kLanes;
  float* const ds = all_ds + first * kLanes;
  const float* const dout = panel.dout + first * kLanes;
  if (masked || modifies(a) || a.dropout.enabled || panel.rows.units.natural()) {
    score<Groups>(a, w, panel.rows, first, tile, key, keys, masked, all_p);
    raw_products<Groups>(v, tile.v.stride, keys, a.head_dim_v, dout, ds);
    differentiate(b, panel, first, key, keys, a.softcap > 0 ? w.softcap : nullptr, all_p, all_ds);
  } else {
    probabilities<Groups>(k, tile.k.stride, keys, a.head_dim, panel.rows.q + first * kLanes,
                          panel.lse + first, panel.live + first, p);
    score_gradients<Groups>(v, tile.v.stride, keys, a.head_dim_v, dout, panel.delta + first,
                            panel.live + first, p, ds);
  }
  float* const dq = panel.rows.o + first * kLanes;
  const int columns = round_up(a.head_dim, kColumnStep);
  if ((masked || biased) && !tile.k.finite(a.head_dim))
    add_dq_excluding_hidden<Groups>(k, tile.k.stride, keys, columns, p, ds, dq);
  else
    add_dq<Groups>(k, tile.k.stride, keys, columns, ds, dq);
}

/** Lets the panel see the tile, like the forward pass. Returns whether it saw any key. */
bool backward_advance(const BackwardArgs& b, const BackwardWorkspace& w, const BackwardPanel& panel,
                      const PanelScores& scores, Tile& tile) {
  int64_t done = tile.key;
  const Staircase stairs = stairs_of(panel.rows, tile.key, tile.keys);
  for_each_stretch(b.forward, panel.rows, tile.key, tile.keys, stairs, [&](const Stretch& stretch) {
    if (stretch.kind == TileKind::kSkip) return;
    const int64_t key = tile.key + stretch.begin;
    const int keys = stretch.end - stretch.begin, first = stretch.first;
    hide(scores, done - tile.key, stretch.begin, kRowVectors);
    hide(scores, stretch.begin, stretch.end, first);
    done = key + keys;
    const bool masked = stretch.kind == TileKind::kPartial;
    with_groups(panel.rows.groups - first, [&](auto groups) {
      backward_step<groups.value>(b, w, panel, scores, first, tile, key, keys, masked);
    });
  });
  const bool any = done > tile.key;
  hide(scores, done - tile.key, tile.keys, kRowVectors);
  return any;
}

/** Adds what the group's panels make of the tile to its dV and dK. */
void add_key_gradients(const BackwardArgs& b, const BackwardPanel* panels,
                       const PanelScores* scores, const int* seeing, int count, const Tile& tile) {
  const ForwardArgs& a = b.forward;
  RowProduct for_v[kGroupPanels], for_k[kGroupPanels];
  const float* p[kGroupPanels];
  bool finite = true;
  for (int n = 0; n < count; ++n) {
    const BackwardPanel& panel = panels[seeing[n]];
    const PanelScores& s = scores[seeing[n]];
    for_v[n] = {s.p, panel.dout_rows, s.first, panel.rows.groups};
    for_k[n] = {s.ds, panel.q_rows, s.first, panel.rows.groups};
    p[n] = s.p;
    finite = finite && panel.finite;
  }
  const int64_t dim = padded_dim(a.head_dim), dim_v = padded_dim(a.head_dim_v);
  const int64_t stride = scratch_stride(a.head_dim), stride_v = scratch_stride(a.head_dim_v);
  float* const dk = b.dk + tile.key * dim;
  float* const dv = b.dv + tile.key * dim_v;
  if (finite) {
    add_row_sums(for_v, count, tile.keys, a.head_dim_v, stride_v, dv, dim_v);
    add_row_sums(for_k, count, tile.keys, a.head_dim, stride, dk, dim);
  } else {
    add_row_sums_excluding_hidden(for_v, p, count, tile.keys, a.head_dim_v, stride_v, dv, dim_v);
    add_row_sums_excluding_hidden(for_k, p, count, tile.keys, a.head_dim, stride, dk, dim);
  }
}

struct KeyRange {
  int64_t begin, end;
};

/** The keys that some of the panels see. */
KeyRange keys_seen(const ForwardArgs& a, const BackwardPanel* panels, int count) {
  int64_t begin = a.key_end, end = 0;
  for (int i = 0; i < count; ++i) {
    begin = smaller(begin, panels[i].rows.key_begin / kColumnStep * kColumnStep);
    end = larger(end, panels[i].rows.key_end);
  }
  // Not cut where the longest row ends: a row's keys are grouped alike whatever shares its work
  // item.
  return {begin, smaller((end + kColumnStep - 1) / kColumnStep * kColumnStep, a.key_end)};
}

/** Maximum and sum of the rows that need them, from their scores. */
void renew_softmax(const ForwardArgs& a, const BackwardWorkspace& w, BackwardPanel& panel) {
  const auto [begin, end] = keys_seen(a, &panel, 1);
  float* const s = w.scores[0].p;
  for (int64_t key = begin; key < end; key += a.tile_k) {
    const int keys = static_cast<int>(smaller(a.tile_k, end - key));
    Panel& rows = panel.rows;
    if (classify(a, rows.i_begin, rows.i_end, key, key + keys) == TileKind::kSkip) continue;
    const Tile tile{
        key, keys, load_tile_rows(a, a.k, a.k_page_stride, a.head_dim, key, keys, w.k), {}};
    for_each_stretch(a, rows, key, keys, stairs_of(rows, key, keys), [&](const Stretch& x) {
      if (x.kind == TileKind::kSkip) return;
      const int count = x.end - x.begin;
      with_groups(rows.groups - x.first, [&](auto groups) {
        score<groups.value>(a, w, rows, x.first, tile, key + x.begin, count,
                            x.kind == TileKind::kPartial, s);
      });
      add_to_softmax(rows, x.first, count, s);
    });
  }
  renew_rows(a, panel);
}

/** Panels of a block of rows, packed, against all keys that some of them see. */
void backward_block(const BackwardArgs& b, const BackwardWorkspace& w, int panels) {
  const ForwardArgs& a = b.forward;
  const auto [begin, end] = keys_seen(a, w.panels, panels);
  const auto at = [&](int i) -> const Panel& { return w.panels[i].rows; };
  for (int64_t key = begin / a.tile_k * a.tile_k; key < end; key += a.tile_k) {
    const int64_t tile_begin = larger(key, begin);
    const int keys = static_cast<int>(smaller(key + a.tile_k, end) - tile_begin);
    const int64_t next = key + a.tile_k, next_end = smaller(next + a.tile_k, end);
    const bool next_wanted = next < end && some_see(a, panels, at, next, next_end);
    Tile tile{tile_begin, keys, {}, {}};
    for (int group = 0; group < panels; group += kGroupPanels) {
      int seeing[kGroupPanels];
      int count = 0;
      for (int i = 0; i < kGroupPanels && group + i < panels; ++i) {
        const BackwardPanel& panel = w.panels[group + i];
        if (next_wanted) prefetch_keys(a, next, next_end, group + i, panels);
        if (classify(a, panel.rows.i_begin, panel.rows.i_end, tile_begin, tile_begin + keys) ==
            TileKind::kSkip)
          continue;
        if (tile.k.rows == nullptr) {
          tile.k = load_tile_rows(a, a.k, a.k_page_stride, a.head_dim, tile_begin, keys, w.k);
          tile.v = load_tile_rows(a, a.v, a.v_page_stride, a.head_dim_v, tile_begin, keys, w.v);
        }
        if (backward_advance(b, w, panel, w.scores[i], tile)) seeing[count++] = i;
      }
      if (count > 0) add_key_gradients(b, w.panels + group, w.scores, seeing, count, tile);
    }
  }
}

void backward(const BackwardArgs& b, char* scratch) {
  const ForwardArgs& a = b.forward;
  BackwardWorkspace w;
  Arena arena(scratch);
  layout(b, arena, w);
  if (a.seqlen_k > 0) {
    const size_t rows = static_cast<size_t>(a.seqlen_k) * sizeof(float);
    std::memset(b.dk, 0, rows * static_cast<size_t>(padded_dim(a.head_dim)));
    std::memset(b.dv, 0, rows * static_cast<size_t>(padded_dim(a.head_dim_v)));
  }
  for (int head = 0; b.dsinks != nullptr && head < a.group; ++head) b.dsinks[head] = 0;

  for (int64_t row = a.row_begin; row < a.row_end;) {
    int panels = 0;
    for (; row < a.row_end && panels < a.panels; row += kPanelRows, ++panels) {
      BackwardPanel& panel = w.panels[panels];
      load_backward_panel(b, row, smaller(row + kPanelRows, a.row_end), w.rows, panel);
      if (panel.renews) renew_softmax(a, w, panel);
      if (b.dsinks != nullptr) add_sink_gradients(b, panel);
    }
    backward_block(b, w, panels);
    for (int i = 0; i < panels; ++i) store_dq(b, w.panels[i].rows, w.rows);
  }
}

size_t backward_scratch(const BackwardArgs& b) {
  BackwardWorkspace w;
  Arena arena(nullptr);
  layout(b, arena, w);
  return arena.used();
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
