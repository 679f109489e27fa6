// FlashAttention-2's forward loop for one work item (Dao 2023, Algorithm 1): outer loop over query
// panels, inner loop over key tiles, online softmax, no score ever written to memory beyond a tile.
// A packed tile is shared by the item's panels.
#pragma once

#include "cpu/kernels/key_mask.h"
#include "cpu/kernels/key_tile.h"
#include "cpu/kernels/tile_mask.h"

namespace fa::cpu::FA_ISA {
namespace {

struct Workspace {
  Panel* panels;
  float* k;
  float* v;
  float* s;
  float* pairs;  // P of a tile, rounded to bfloat16
  float* bias;
  float* rows;
};

/** Lays the workspace out. */
void layout(const ForwardArgs& a, Arena& arena, Workspace& w) {
  const int64_t dim = padded_dim(a.head_dim), dim_v = padded_dim(a.head_dim_v);
  const int64_t keys = round_up(a.tile_k, 16);
  w.panels = arena.take<Panel>(a.panels);
  for (int i = 0; i < a.panels; ++i) {
    float* const q = arena.take<float>(dim * kPanelRows);
    float* const o = arena.take<float>(dim_v * kPanelRows);
    if (arena.counts_only()) continue;
    w.panels[i].q = q;
    w.panels[i].o = o;
  }
  w.k = arena.take<float>(keys * dim);
  w.v = arena.take<float>(keys * dim_v);
  w.s = arena.take<float>(keys * kPanelRows);
  w.pairs = arena.take<float>(kBf16Dot ? (keys + 1) / 2 * kPanelRows : 0);
  w.bias = arena.take<float>(keys * kPanelRows);
  w.rows = arena.take<float>(kLanes * larger(larger(dim, dim_v), keys));
}

/** One panel against one tile. */
template <Element Of>
struct Step {
  const ForwardArgs& a;
  const Workspace& w;
  Panel& panel;
  KeyTile& tile;
  Upcoming& upcoming;
  const Staircase stairs;
  bool biased, modified;  // every score, not only those of partial tiles
  RowState rows;
  Vec alpha[kRowVectors];

  Step(const ForwardArgs& args, const Workspace& workspace, Panel& p, KeyTile& t, Upcoming& u)
      : a(args),
        w(workspace),
        panel(p),
        tile(t),
        upcoming(u),
        stairs(stairs_of(p, t.key, t.keys)) {}

  template <class Visit>
  FA_ALWAYS_INLINE void stretches(Visit visit) const {
    for_each_stretch(a, panel, tile.key, tile.keys, stairs, visit);
  }

  float* scores_at(const Stretch& x) const { return w.s + x.begin * kPanelRows; }

  template <Scores Kind>
  void multiply(const Stretch& x) {
    const int count = Of == Element::kPair ? (a.head_dim + 1) / 2 : a.head_dim;
    with_groups(panel.groups - x.first, [&](auto groups) {
      scores<groups.value, Kind, Of>(tile.k.from(x.begin, 0), x.end - x.begin, count,
                                     a.scale * panel.units.per_natural, panel.q, scores_at(x),
                                     x.first, rows, upcoming);
    });
  }

  /** Scores with everything done to them but the exponential; raises rows.top. */
  void score(const Stretch& x) {
    const bool masked = x.kind == TileKind::kPartial;
    if (!masked && !modified) return multiply<Scores::kMax>(x);
    multiply<Scores::kRaw>(x);
    const int64_t key = tile.key + x.begin;
    const float* const bias = biased ? w.bias + x.begin * kPanelRows : nullptr;
    modify_scores(a, panel, x.first, masked, key, x.end - x.begin, bias, scores_at(x), rows.top);
  }

  void weigh(const Stretch& x) {
    const Vec to_base_2 = splat(panel.units.to_base_2);
    with_groups(panel.groups - x.first, [&](auto groups) {
      if (x.kind == TileKind::kPartial || biased || panel.units.natural())
        exponentiate<groups.value, true>(x.first, x.end - x.begin, scores_at(x), rows.reference,
                                         to_base_2, rows.sum);
      else
        exponentiate<groups.value, false>(x.first, x.end - x.begin, scores_at(x), rows.reference,
                                          to_base_2, rows.sum);
    });
  }

  /**
   * Softmax is the same for any reference, and only range asks for the maximum: so a row keeps its
   * reference while no score exceeds it by more than this (lazy rescaling,
   * FlashAttention-4), and P is made in one pass.
   */
  static constexpr float kSlack = 8;

  /**
   * P by the references of earlier tiles; false when some row needs a new one, and then nothing
   * counts.
   */
  bool weigh_by_old_reference() {
    if (!panel.started) return false;
    for (int g = 0; g < kRowVectors; ++g) {
      rows.reference[g] = panel.max[g];
      rows.top[g] = splat(kLowest);
      rows.sum[g] = Vec{};
      alpha[g] = splat(1.f);
    }
    stretches([&](const Stretch& x) {
      if (x.kind == TileKind::kSkip) return;
      if (x.kind == TileKind::kFull && !modified) return multiply<Scores::kExp>(x);
      const RowState before = rows;
      for (int g = x.first; g < kRowVectors; ++g) rows.top[g] = splat(kLowest);
      score(x);
      weigh(x);
      for (int g = x.first; g < kRowVectors; ++g)
        rows.top[g] = max_or_second(rows.top[g] - rows.reference[g], before.top[g]);
    });
    VecI above = VecI{};
    for (int g = 0; g < panel.groups; ++g) above |= rows.top[g] > splat(kSlack);
    return !any(above);
  }

  /**
   * P in two passes, as in FlashAttention-2. Rows that could have kept their reference do: no row
   * depends on another.
   */
  void weigh_by_new_reference() {
    for (int g = 0; g < kRowVectors; ++g) {
      rows.top[g] = splat(kLowest);
      rows.sum[g] = Vec{};
    }
    stretches([&](const Stretch& x) {
      if (x.kind != TileKind::kSkip) score(x);
    });
    for (int g = 0; g < kRowVectors; ++g) {
      const Vec old = panel.max[g];
      rows.reference[g] = select(rows.top[g] - old > splat(kSlack), rows.top[g], old);
      alpha[g] = exp2_or_zero((old - rows.reference[g]) * splat(panel.units.to_base_2));
      panel.max[g] = rows.reference[g];
    }
    stretches([&](const Stretch& x) {
      if (x.kind != TileKind::kSkip) weigh(x);
    });
  }

  /** O = O * alpha + P V for keys [begin, end), without a skipped one. */
  void add_values(int begin, int end, bool masked) {
    Staircase seen;
    for (int g = 0; g < kRowVectors; ++g) {
      const int limit = stairs.ends[g] < end ? stairs.ends[g] : end;
      seen.ends[g] = limit < begin ? 0 : limit - begin;
    }
    const int columns = round_up(a.head_dim_v, kColumnStep);
    float* const p = w.s + begin * kPanelRows;
    with_groups(panel.groups, [&](auto groups) {
      constexpr int n = groups.value;
      constexpr bool kPairs = Of == Element::kPair;
      if constexpr (kPairs) {
        pack_probabilities(p, end - begin, n, w.pairs);
        for (int& step : seen.ends) step = (step + 1) / 2;
      }
      const Operand v = tile.v.from(0, kPairs ? begin / 2 : begin);
      const float* const weights = kPairs ? w.pairs : p;
      const auto add =
          masked && !tile.finite_values() ? values_excluding_masked<n, Of> : values<n, Of>;
      add(v, seen, columns, weights, panel.o, alpha, !panel.started, upcoming);
    });
    panel.started = true;
    for (int g = 0; g < kRowVectors; ++g) alpha[g] = splat(1.f);
  }

  void run() {
    const bool float_mask = a.mask.base != nullptr && a.mask.dtype != kBool;
    const Bias bias =
        float_mask ? load_bias(a, panel, tile.key, tile.keys, w.rows, w.bias) : Bias::kNothing;
    if (bias == Bias::kHidesAll) return;
    biased = bias == Bias::kSomething;
    modified = biased || a.softcap > 0 || a.alibi_slopes != nullptr || panel.units.natural();
    if (!weigh_by_old_reference()) weigh_by_new_reference();
    int begin = 0, end = 0;
    bool masked = false;
    for (int g = 0; g < kRowVectors; ++g) panel.sum[g] = panel.sum[g] * alpha[g] + rows.sum[g];
    stretches([&](const Stretch& x) {
      if (x.kind == TileKind::kSkip) {
        if (begin < end) add_values(begin, end, masked);
        begin = x.end;
        masked = false;
      } else {
        if (begin == end) begin = x.begin;
        masked |= x.kind == TileKind::kPartial || biased;
        if (a.dropout.enabled)
          drop_out(a, panel, x.first, tile.key + x.begin, x.end - x.begin, scores_at(x));
      }
      end = x.end;
    });
    if (begin < end) add_values(begin, end, masked);
  }
};

/** Register tiles of the products of a block, but for those that masks skip. */
int64_t register_tiles(const ForwardArgs& a, int panels) {
  constexpr int step = kStep<kRowVectors>;
  const int64_t keys = a.key_end - a.key_begin, key_tiles = (keys + a.tile_k - 1) / a.tile_k;
  return panels * (keys / step + key_tiles * (a.head_dim_v / step));
}

/** The first `panels` panels against all keys. */
template <Element Of>
void attend(const ForwardArgs& a, const Workspace& w, int panels) {
  int64_t begin = a.key_end, end = 0;
  for (int i = 0; i < panels; ++i) {
    begin = smaller(begin, w.panels[i].key_begin / kColumnStep * kColumnStep);
    end = larger(end, w.panels[i].key_end);
  }
  // Not cut where the longest row ends: a row's keys are grouped alike whatever shares its work
  // item.
  end = smaller((end + kColumnStep - 1) / kColumnStep * kColumnStep, a.key_end);
  const bool in_place = Of == Element::kFloat && readable_in_place(a);
  const auto at = [&](int i) -> const Panel& { return w.panels[i]; };
  Upcoming upcoming(a, register_tiles(a, panels));
  // Tiles start at multiples of tile_k, so that a row's sums are grouped alike whatever shares its
  // work item.
  for (int64_t key = begin / a.tile_k * a.tile_k; key < end; key += a.tile_k) {
    const int64_t tile_begin = larger(key, begin);
    const int keys = static_cast<int>(smaller(key + a.tile_k, end) - tile_begin);
    if (!some_see(a, panels, at, tile_begin, tile_begin + keys)) continue;
    KeyTile tile(a, Of, in_place, tile_begin, keys, w.k, w.v, w.rows);
    const int64_t next = key + a.tile_k, next_end = smaller(next + a.tile_k, end);
    const bool next_wanted = !in_place && next < end && some_see(a, panels, at, next, next_end);
    for (int i = 0; i < panels; ++i) {
      if (next_wanted) prefetch_keys(a, next, next_end, i, panels);
      Panel& panel = w.panels[i];
      if (panel.key_begin < tile_begin + keys && tile_begin < panel.key_end)
        Step<Of>(a, w, panel, tile, upcoming).run();
    }
  }
}

template <Element Of>
void forward(const ForwardArgs& a, const Workspace& w) {
  const KeyMask mask(a, true);
  const ForwardArgs& rest = mask.rest;
  int panels = 0;
  for (int64_t row = a.row_begin; row < a.row_end; row += kPanelRows, ++panels)
    load_panel(rest, row, smaller(row + kPanelRows, a.row_end), kBase2, w.rows, w.panels[panels],
               Of);
  attend<Of>(rest, w, panels);
  mask.judge(w.panels, panels, Of, w.rows);
  int again = 0;
  for (int i = 0; i < panels; ++i) {
    if (!store_panel(a, w.rows, w.panels[i])) continue;
    const Panel before = w.panels[i];
    Panel& panel = w.panels[again++];
    load_panel(a, before.row_begin, before.row_end, kNatural, w.rows, panel, Of);
    for (int g = 0; g < kRowVectors; ++g) panel.due[g] = before.due[g];
  }
  if (again == 0) return;
  attend<Of>(a, w, again);
  for (int i = 0; i < again; ++i) store_panel(a, w.rows, w.panels[i]);
}

void forward(const ForwardArgs& a, char* scratch) {
  Arena arena(scratch);
  Workspace w;
  layout(a, arena, w);
  if constexpr (kBf16Dot) {
    if (a.q.dtype == kBFloat16 && a.k.dtype == kBFloat16 && a.v.dtype == kBFloat16)
      return forward<Element::kPair>(a, w);
  }
  forward<Element::kFloat>(a, w);
}

size_t forward_scratch(const ForwardArgs& a) {
  Arena arena(nullptr);
  Workspace w;
  layout(a, arena, w);
  return arena.used();
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
