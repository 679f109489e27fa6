// FlashAttention-2's backward pass by recomputation (Dao 2023, Algorithm 2): P is computed again, tile
// by tile, from Q, K and the saved lse; nothing N x N is ever stored.
//
//   delta_i = sum_d dO_id O_id          P_ij  = exp(s_ij - lse_i)
//   dP_ij   = dO_i . V_j                dS_ij = P_ij (dP_ij - delta_i)
//   dV_j    = sum_i P_ij dO_i           dK_j  = scale sum_i dS_ij Q_i          dQ_i = scale sum_j dS_ij K_j
//
// S, dP and dQ have query rows as lanes, like the forward pass. dV and dK sum over query rows, so there a
// lane is a column, and the rows of dO and Q are read as they lie.
#pragma once

#include "cpu/kernels/forward.h"

namespace fa::cpu::FA_ISA {
namespace {

struct BackwardPanel {
  Panel rows;     // rows.q: Q, packed; rows.o: dQ, packed
  float* dout;    // dO, packed like Q
  float* q_rows;  // Q and dO as rows, [kPanelRows][padded dim]
  float* dout_rows;
  float* p;  // [keys][kPanelRows]: P (after dropout), then dS
  float* ds;
  Vec lse[kGroups];  // base 2; infinity for rows that saw nothing
  Vec delta[kGroups];
};

struct BackwardWorkspace {
  BackwardPanel* panels;
  Workspace forward;  // k, v, bias and rows; no panels of its own
  float* softcap;     // derivative of the softcap, [keys][kPanelRows]
};

size_t layout(const BackwardArgs& b, char* at, BackwardWorkspace& w) {
  const ForwardArgs& a = b.forward;
  char* const begin = at;
  const auto floats = [&](int64_t count) {
    return reinterpret_cast<float*>(take(at, static_cast<size_t>(count) * sizeof(float)));
  };
  const int64_t dim = padded_dim(a.head_dim), dim_v = padded_dim(a.head_dim_v);
  const int64_t keys = round_up(a.tile_k, 16);
  w.panels = reinterpret_cast<BackwardPanel*>(
      take(at, sizeof(BackwardPanel) * static_cast<size_t>(a.panels)));
  for (int i = 0; i < a.panels; ++i) {
    float* const parts[] = {floats(dim * kPanelRows),   floats(dim * kPanelRows),
                            floats(dim_v * kPanelRows), floats(dim * kPanelRows),
                            floats(dim_v * kPanelRows), floats(keys * kPanelRows),
                            floats(keys * kPanelRows)};
    if (begin == nullptr) continue;
    BackwardPanel& panel = w.panels[i];
    panel.rows.q = parts[0];
    panel.rows.o = parts[1];
    panel.dout = parts[2];
    panel.q_rows = parts[3];
    panel.dout_rows = parts[4];
    panel.p = parts[5];
    panel.ds = parts[6];
  }
  w.forward.k = floats(keys * dim);
  w.forward.v = floats(keys * dim_v);
  w.forward.bias = floats(keys * kPanelRows);
  w.forward.rows = floats(kLanes * larger(larger(dim, dim_v), keys));
  w.softcap = floats(keys * kPanelRows);
  return static_cast<size_t>(at - begin);
}

/** Rows of the panel as floats, and packed with rows as lanes. Lanes past the end are zero. */
void load_packed(const Rows& source, int64_t head_stride, int dim, const Panel& panel, float* rows,
                 float* packed) {
  const int64_t size = element_size(source.dtype);
  const int padded = padded_dim(dim);
  for (int at = 0; at < kPanelRows; ++at) {
    float* const row = rows + at * padded;
    for (int d = 0; d < padded; d += kLanes) store(row + d, Vec{});
    if (panel.row_begin + at >= panel.row_end) continue;
    const int64_t element = panel.query[at] * source.row_stride + panel.head[at] * head_stride;
    load_row(source.base + element * size, source.dtype, source.dim_stride, dim, row);
  }
  if (packed == nullptr) return;
  for (int g = 0; g < kGroups; ++g) {
    for (int d = 0; d < padded; d += kLanes) {
      Vec block[kLanes];
      FA_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) {
        block[lane] = load<Vec>(rows + (g * kLanes + lane) * padded + d);
      }
      transpose(block);
      FA_UNROLL
      for (int c = 0; c < kLanes; ++c) {
        store(packed + ((d + c) * kGroups + g) * kLanes, block[c]);
      }
    }
  }
}

void load_backward_panel(const BackwardArgs& b, int64_t row_begin, int64_t row_end, float* rows,
                         BackwardPanel& panel) {
  const ForwardArgs& a = b.forward;
  load_panel(a, row_begin, row_end, rows, panel.rows);
  load_packed(a.q, a.q_head_stride, a.head_dim, panel.rows, panel.q_rows, nullptr);
  load_packed(b.dout, b.dout_head_stride, a.head_dim_v, panel.rows, panel.dout_rows, panel.dout);
  for (int64_t i = 0; i < padded_dim(a.head_dim) * kPanelRows; i += kLanes) {
    store(panel.rows.o + i, Vec{});
  }
  const int64_t size = element_size(a.out.dtype);
  const int padded = padded_dim(a.head_dim_v);
  for (int at = 0; at < kPanelRows; ++at) {
    const int g = at / kLanes, lane = at % kLanes;
    panel.lse[g][lane] = kInfinity;
    panel.delta[g][lane] = 0;
    if (row_begin + at >= row_end) continue;
    const int64_t i = panel.rows.query[at], head = panel.rows.head[at];
    load_row(a.out.base + (i * a.out.row_stride + head * a.out_head_stride) * size, a.out.dtype,
             a.out.dim_stride, a.head_dim_v, rows);
    Vec sum{};
    for (int d = 0; d < round_up(a.head_dim_v, kLanes); d += kLanes) {
      sum += load<Vec>(rows + d) * load<Vec>(panel.dout_rows + at * padded + d);
    }
    float delta = 0;
    for (int l = 0; l < kLanes; ++l) delta += sum[l];
    const float lse = a.lse[i * a.lse_row_stride + head * a.lse_head_stride];
    panel.delta[g][lane] = delta;
    if (lse == -kInfinity) continue;
    panel.lse[g][lane] = lse * kLog2E;
    // d(sink) = -sum_i P(sink) delta_i: the sink is a key whose value is zero.
    if (b.dsinks != nullptr) b.dsinks[head] -= std::exp(a.sink_logits[head] - lse) * delta;
  }
}

/** Where the softcap is steep: 1 - tanh^2 of the raw scores. */
void softcap_derivative(const ForwardArgs& a, int first, int groups, int keys, const float* s,
                        float* derivative) {
  const Vec to_cap = splat(1.f / (a.softcap * kLog2E));
  for (int j = 0; j < keys; ++j) {
    for (int g = first; g < groups; ++g) {
      const int64_t at = (j * kGroups + g) * kLanes;
      const Vec t = tanh(load<Vec>(s + at) * to_cap);
      store(derivative + at, 1.f - t * t);
    }
  }
}

/**
 * From scores (in panel.p) and dP (in panel.ds) to P and dS. Masked pairs get -0 in dS, which marks them where K is not
 * finite. Vectors of rows before `first` have seen all their keys: zeros.
 */
void differentiate(const BackwardArgs& b, BackwardPanel& panel, int first, int64_t key, int from,
                   int keys, const float* softcap) {
  const ForwardArgs& a = b.forward;
  const DropoutArgs& drop = a.dropout;
  for (int g = 0; g < kGroups; ++g) {
    const bool live = g >= first && g < panel.rows.groups;
    const VecU query = load<VecU>(panel.rows.query + g * kLanes);
    const VecU stream = load<VecU>(panel.rows.head + g * kLanes) + drop.stream0;
    PhiloxWords words{};
    for (int j = 0; j < keys; ++j) {
      const int64_t at = ((from + j) * kGroups + g) * kLanes;
      if (!live) {
        store(panel.p + at, Vec{});
        store(panel.ds + at, Vec{});
        continue;
      }
      const Vec s = load<Vec>(panel.p + at);
      Vec p = exp2_or_zero(s - panel.lse[g]);
      Vec dp = load<Vec>(panel.ds + at);
      Vec dropped = p;
      if (drop.enabled) {
        const int64_t at_key = key + j;
        if (j == 0 || (at_key & 3) == 0) {
          words = philox(splat(static_cast<uint32_t>(at_key >> 2)), query, stream,
                         splat(drop.offset_lo), drop.key0, drop.key1);
        }
        const VecI keep = (VecI)(words.word[at_key & 3] >= drop.threshold);
        dropped = select(keep, p * drop.keep_scale, Vec{});
        dp = select(keep, dp * drop.keep_scale, Vec{});
      }
      Vec ds = p * (dp - panel.delta[g]);
      if (softcap != nullptr) ds *= load<Vec>(softcap + (j * kGroups + g) * kLanes);
      // No product for hidden pairs: dP may be NaN there.
      const VecI hidden = (s == splat(-kInfinity)) | (panel.lse[g] == splat(kInfinity));
      store(panel.p + at, select(hidden, Vec{}, dropped));
      store(panel.ds + at, select(hidden, splat(-0.f), ds));
    }
  }
}

template <int Groups>
void backward_step(const BackwardArgs& b, const BackwardWorkspace& w, BackwardPanel& panel,
                   int first, Tile& tile, int64_t key, int keys, bool masked) {
  const ForwardArgs& a = b.forward;
  const int from = static_cast<int>(key - tile.key);
  const float* const k = tile.k.rows + from * tile.k.stride;
  const float* const v = tile.v.rows + from * tile.v.stride;
  const bool biased = a.mask.base != nullptr && a.mask.dtype != kBool;
  float* const s = panel.p + from * kPanelRows;
  float* const ds = panel.ds + from * kPanelRows;
  Vec unused[kGroups] = {};
  scores<Groups, false>(k, tile.k.stride, keys, a.head_dim, panel.rows.q + first * kLanes,
                        s + first * kLanes, unused);
  if (a.softcap > 0) softcap_derivative(a, first, panel.rows.groups, keys, s, w.softcap);
  if (masked || biased || a.softcap > 0 || a.alibi_slopes != nullptr) {
    if (biased) load_bias(a, panel.rows, key, keys, w.forward.rows, w.forward.bias);
    modify_scores(a, panel.rows, first, masked, key, keys, biased ? w.forward.bias : nullptr, s,
                  unused);
  }
  scores<Groups, false>(v, tile.v.stride, keys, a.head_dim_v, panel.dout + first * kLanes,
                        ds + first * kLanes, unused);
  differentiate(b, panel, first, key, from, keys, a.softcap > 0 ? w.softcap : nullptr);

  Vec one[Groups];
  for (int g = 0; g < Groups; ++g) one[g] = splat(1.f);
  float* const dq = panel.rows.o + first * kLanes;
  if ((masked || biased) && !tile.k.finite(a.head_dim)) {
    values_excluding_masked<Groups>(k, tile.k.stride, keys, a.head_dim, ds + first * kLanes, dq,
                                    one, false);
  } else {
    values<Groups, false>(k, tile.k.stride, keys, round_up(a.head_dim, kColumnStep),
                          ds + first * kLanes, dq, one, false, one, unused);
  }
}

void clear_keys(BackwardPanel& panel, int64_t begin, int64_t end) {
  for (int64_t at = begin * kPanelRows; at < end * kPanelRows; at += kLanes) {
    store(panel.p + at, Vec{});
    store(panel.ds + at, Vec{});
  }
}

/** Lets the panel see the tile, like the forward pass; keys it does not see get zeros. */
void backward_advance(const BackwardArgs& b, const BackwardWorkspace& w, BackwardPanel& panel,
                      Tile& tile) {
  const ForwardArgs& a = b.forward;
  int64_t done = tile.key;
  for_each_segment(a, panel.rows, tile, [&](int first, int64_t key, int keys, TileKind kind) {
    if (kind == TileKind::kSkip) return;
    clear_keys(panel, done - tile.key, key - tile.key);
    done = key + keys;
    const bool masked = kind == TileKind::kPartial;
    const int groups = panel.rows.groups - first;
    if (groups == 1)
      backward_step<1>(b, w, panel, first, tile, key, keys, masked);
    else if (groups == 2)
      backward_step<2>(b, w, panel, first, tile, key, keys, masked);
    else if constexpr (kGroups >= 3)
      backward_step<3>(b, w, panel, first, tile, key, keys, masked);
  });
  clear_keys(panel, done - tile.key, tile.keys);
}

/** C[key][column] += sum over rows of A[key][row] B[row][column], for Keys keys and Vectors vectors of columns. */
template <int Keys, int Vectors>
FA_ALWAYS_INLINE void accumulate_tile(const BackwardPanel* panels, int count, bool of_v, int key,
                                      int column, int b_stride, float* c, int64_t c_stride) {
  Vec acc[Keys][Vectors];
  FA_UNROLL
  for (int r = 0; r < Keys; ++r) {
    FA_UNROLL
    for (int n = 0; n < Vectors; ++n) acc[r][n] = load<Vec>(c + r * c_stride + n * kLanes);
  }
  for (int panel = 0; panel < count; ++panel) {
    const float* const a = (of_v ? panels[panel].p : panels[panel].ds) + key * kPanelRows;
    const float* const rows = (of_v ? panels[panel].dout_rows : panels[panel].q_rows) + column;
    for (int i = 0; i < kPanelRows; ++i) {
      Vec row[Vectors];
      FA_UNROLL
      for (int n = 0; n < Vectors; ++n) row[n] = pin(load<Vec>(rows + i * b_stride + n * kLanes));
      FA_UNROLL
      for (int r = 0; r < Keys; ++r) {
        const Vec weight = pin(splat(a[r * kPanelRows + i]));
        FA_UNROLL
        for (int n = 0; n < Vectors; ++n) acc[r][n] += weight * row[n];
      }
    }
  }
  FA_UNROLL
  for (int r = 0; r < Keys; ++r) {
    FA_UNROLL
    for (int n = 0; n < Vectors; ++n) store(c + r * c_stride + n * kLanes, acc[r][n]);
  }
}

template <int Vectors>
__attribute__((noinline)) void accumulate_columns(const BackwardPanel* panels, int count, bool of_v,
                                                  int keys, int column, int b_stride, float* c,
                                                  int64_t c_stride) {
  constexpr int step = kStep<kGroups>;
  int j = 0;
  for (; j + step <= keys; j += step) {
    accumulate_tile<step, Vectors>(panels, count, of_v, j, column, b_stride, c + j * c_stride,
                                   c_stride);
  }
  for (; j < keys; ++j) {
    accumulate_tile<1, Vectors>(panels, count, of_v, j, column, b_stride, c + j * c_stride,
                                c_stride);
  }
}

/** dV (of_v) or dK of a tile: all columns, three vectors at a time and no single one left over. */
void accumulate(const BackwardPanel* panels, int count, bool of_v, int keys, int dim, float* c) {
  const int padded = padded_dim(dim);
  int vectors = round_up(dim, kLanes) / kLanes;
  for (int column = 0; vectors > 0;) {
    const int width = vectors == 1 ? 1 : vectors == 2 || vectors == 4 ? 2 : 3;
    if (width == 3)
      accumulate_columns<3>(panels, count, of_v, keys, column, padded, c + column, padded);
    else if (width == 2)
      accumulate_columns<2>(panels, count, of_v, keys, column, padded, c + column, padded);
    else
      accumulate_columns<1>(panels, count, of_v, keys, column, padded, c + column, padded);
    column += width * kLanes;
    vectors -= width;
  }
}

void store_dq(const BackwardArgs& b, const Panel& panel, float* rows) {
  const ForwardArgs& a = b.forward;
  const int64_t size = element_size(b.dq.dtype);
  const int padded = padded_dim(a.head_dim);
  for (int g = 0; g < panel.groups; ++g) {
    for (int d = 0; d < padded; d += kLanes) {
      Vec block[kLanes];
      FA_UNROLL
      for (int c = 0; c < kLanes; ++c) {
        block[c] = load<Vec>(panel.o + ((d + c) * kGroups + g) * kLanes) * splat(a.scale);
      }
      transpose(block);
      FA_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) store(rows + lane * padded + d, block[lane]);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const int at = g * kLanes + lane;
      if (panel.row_begin + at >= panel.row_end) break;
      const int64_t element = panel.query[at] * b.dq.row_stride + panel.head[at] * b.dq_head_stride;
      store_row(b.dq.base + element * size, b.dq.dtype, b.dq.dim_stride, a.head_dim,
                rows + lane * padded);
    }
  }
}

void backward(const BackwardArgs& b, char* scratch) {
  const ForwardArgs& a = b.forward;
  BackwardWorkspace w;
  layout(b, scratch, w);
  const int64_t dim = padded_dim(a.head_dim), dim_v = padded_dim(a.head_dim_v);
  if (a.seqlen_k > 0) {
    std::memset(b.dk, 0, static_cast<size_t>(a.seqlen_k * dim) * sizeof(float));
    std::memset(b.dv, 0, static_cast<size_t>(a.seqlen_k * dim_v) * sizeof(float));
  }
  for (int head = 0; b.dsinks != nullptr && head < a.group; ++head) b.dsinks[head] = 0;

  for (int64_t row = a.row_begin; row < a.row_end;) {
    int panels = 0;
    int64_t begin = a.key_end, end = 0;
    for (; row < a.row_end && panels < a.panels; row += kPanelRows) {
      BackwardPanel& panel = w.panels[panels++];
      load_backward_panel(b, row, smaller(row + kPanelRows, a.row_end), w.forward.rows, panel);
      begin = smaller(begin, panel.rows.key_begin);
      end = larger(end, panel.rows.key_end);
    }
    const bool k_direct = in_place(a, a.k, a.head_dim, panels) && a.head_dim % kColumnStep == 0;
    const bool v_direct = in_place(a, a.v, a.head_dim_v, panels);
    for (int64_t key = begin / a.tile_k * a.tile_k; key < end; key += a.tile_k) {
      const int64_t tile_begin = larger(key, begin);
      const int keys = static_cast<int>(smaller(key + a.tile_k, end) - tile_begin);
      int wanted = 0;
      for (int i = 0; i < panels; ++i) {
        const Panel& p = w.panels[i].rows;
        wanted += classify(a, p.i_begin, p.i_end, tile_begin, tile_begin + keys) != TileKind::kSkip;
      }
      if (wanted == 0) continue;
      Tile tile{tile_begin, keys, {}, {}};
      tile.k =
          load_rows(a, a.k, a.k_page_stride, a.head_dim, k_direct, tile_begin, keys, w.forward.k);
      tile.v =
          load_rows(a, a.v, a.v_page_stride, a.head_dim_v, v_direct, tile_begin, keys, w.forward.v);
      for (int i = 0; i < panels; ++i) backward_advance(b, w, w.panels[i], tile);
      accumulate(w.panels, panels, true, keys, a.head_dim_v, b.dv + tile_begin * dim_v);
      accumulate(w.panels, panels, false, keys, a.head_dim, b.dk + tile_begin * dim);
    }
    for (int i = 0; i < panels; ++i) store_dq(b, w.panels[i].rows, w.forward.rows);
  }
}

size_t backward_scratch(const BackwardArgs& b) {
  BackwardWorkspace w;
  return layout(b, nullptr, w);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
