// One register tile of query rows while it travels over the keys: packed Q, the running softmax
// state and the unnormalised output, all with rows as lanes.
#pragma once

#include "core/mask.h"
#include "cpu/kernels/products.h"
#include "cpu/kernels/rows.h"
#include "cpu/kernels/units.h"

namespace fa::cpu::FA_ISA {
namespace {

struct Panel {
  Units units;
  // [head_dim][kRowVectors][kLanes], times the scale and in these units; or unscaled pairs,
  // [head_dim / 2][kRowVectors][kLanes]
  float* q;
  float* o;  // [columns][kRowVectors][kLanes]
  Vec max
      [kRowVectors];  // what exponents are taken relative to: the maximum, give or take a few units
  Vec sum[kRowVectors];
  int64_t row_begin, row_end;      // packed rows; lanes past the end repeat the last row
  int64_t i_begin, i_end;          // their queries
  int64_t key_begin, key_end;      // keys that some row may see
  int64_t group_end[kRowVectors];  // one past the last key that some row of the vector sees
  int groups;                      // vectors in use
  bool started;                    // o holds something
  VecI due[kRowVectors];           // rows whose results are still to be written

  // Per lane.
  alignas(64) int32_t query[kPanelRows];  // i
  alignas(64) int32_t position[kPanelRows];
  alignas(64) int32_t head[kPanelRows];  // head within the group
  alignas(64) int32_t window_begin[kPanelRows];
  alignas(64) int32_t window_end[kPanelRows];
};

/**
 * The window. That of a tree shows each row what any of its rows sees, wherever in the tree that
 * stands: `exact_window` and tree bits hide the rest.
 */
FA_ALWAYS_INLINE WindowMask window_of(const ForwardArgs& a) {
  if (a.tree.bits != nullptr) {
    const int64_t left = a.window_left < kFar ? a.window_left + a.seqlen_q - 1 : a.window_left;
    return {left, kFar, a.sink_tokens, a.seqlen_k, a.first_position};
  }
  return {a.window_left, a.window_right, a.sink_tokens, a.seqlen_k, a.first_position};
}

/** Where query i stands. */
FA_ALWAYS_INLINE int64_t position_of_query(const ForwardArgs& a, int64_t i) {
  return a.tree.bits != nullptr ? a.tree.positions[i * a.tree.position_stride]
                                : i + a.first_position;
}

/** Where key j stands. */
FA_ALWAYS_INLINE int64_t position_of_key(const ForwardArgs& a, int64_t j) {
  const int64_t t = j - (a.seqlen_k - a.seqlen_q);  // of the tree
  return a.tree.bits != nullptr && t >= 0 ? a.tree.positions[t * a.tree.position_stride] : j;
}

/** Keys [begin, end) that query i sees in its window, sink tokens and keys of a tree aside. */
struct ExactWindow {
  int64_t begin, end;
};
FA_ALWAYS_INLINE ExactWindow exact_window(const ForwardArgs& a, int64_t i) {
  WindowMask window{a.window_left, a.window_right, a.sink_tokens, a.seqlen_k, 0};
  if (a.tree.bits != nullptr) window.seqlen_k -= a.seqlen_q;
  const int64_t at = position_of_query(a, i);
  return {window.begin(at), window.end(at)};
}

/** Whether query i sees key t of the tree. */
FA_ALWAYS_INLINE bool sees_in_tree(const ForwardArgs& a, int64_t i, int64_t t) {
  const uint32_t word =
      static_cast<uint32_t>(a.tree.bits[i * a.tree.row_stride + t / 32 * a.tree.word_stride]);
  const int64_t ahead = a.tree.positions[t * a.tree.position_stride] - position_of_query(a, i);
  const bool behind = ahead >= -a.window_left || a.seqlen_k - a.seqlen_q + t < a.sink_tokens;
  return (word >> t % 32 & 1u) != 0 && behind && ahead <= a.window_right;
}

/** The logit of the sink that this split counts, or null. */
FA_ALWAYS_INLINE const float* sink_of(const ForwardArgs& a, int64_t head) {
  return a.sink_logits != nullptr && a.first_split ? a.sink_logits + head : nullptr;
}

FA_ALWAYS_INLINE void store_lse(const ForwardArgs& a, int64_t i, int64_t head, LogSumExp x) {
  const int64_t at = i * a.lse_row_stride + head * a.lse_head_stride;
  if (a.lse != nullptr) a.lse[at] = x.lse;
  if (a.lse_rest != nullptr) a.lse_rest[at] = x.rest;
}

/** The rows' places and what they see, for every lane in use. */
FA_ALWAYS_INLINE void place_rows(const ForwardArgs& a, Panel& panel) {
  const int lanes = panel.groups * kLanes;
  for (int at = 0; at < lanes; ++at) {
    const auto [i, head] = packed_row(a.group, smaller(panel.row_begin + at, panel.row_end - 1));
    panel.query[at] = static_cast<int32_t>(i);
    panel.head[at] = static_cast<int32_t>(head);
  }
  if (a.tree.bits != nullptr) {
    for (int at = 0; at < lanes; ++at) {
      const ExactWindow exact = exact_window(a, panel.query[at]);
      panel.position[at] = static_cast<int32_t>(position_of_query(a, panel.query[at]));
      panel.window_begin[at] = static_cast<int32_t>(smaller(exact.begin, a.seqlen_k));
      panel.window_end[at] = static_cast<int32_t>(exact.end);
    }
    return;
  }
  // WindowMask's begin and end, for a vector of rows; bounds below kFar leave room in 32 bits.
  const VecI first = splat(static_cast<int32_t>(a.first_position));
  const VecI keys = splat(static_cast<int32_t>(a.seqlen_k));
  for (int at = 0; at < lanes; at += kLanes) {
    const VecI position = load<VecI>(panel.query + at) + first;
    VecI begin = VecI{}, end = keys;
    if (a.window_left < kFar) {
      begin = position - splat(static_cast<int32_t>(a.window_left));
      begin = begin < 0 ? VecI{} : begin;
      begin = begin < keys ? begin : keys;
    }
    if (a.window_right < kFar) {
      end = position + splat(static_cast<int32_t>(a.window_right)) + 1;
      end = end < 0 ? VecI{} : end;
      end = end < keys ? end : keys;
    }
    store(panel.position + at, position);
    store(panel.window_begin + at, begin);
    store(panel.window_end + at, end);
  }
}

/** Whether rows of `dim` elements are whole vectors of floats, of 16 bits or 32. */
FA_ALWAYS_INLINE bool is_whole(const Rows& rows, int dim) {
  return rows.dtype <= kBFloat16 && rows.dim_stride == 1 && dim % kLanes == 0;
}

/**
 * Loads rows [row_begin, row_end) of Q, transposed. `rows` has room for kLanes rows of head_dim
 * rounded up to kLanes.
 */
void load_panel(const ForwardArgs& a, int64_t row_begin, int64_t row_end, const Units& units,
                float* rows, Panel& panel, Element of = Element::kFloat) {
  const WindowMask window = window_of(a);
  panel.units = units;
  panel.row_begin = row_begin;
  panel.row_end = row_end;
  panel.i_begin = row_begin / a.group;
  panel.i_end = (row_end - 1) / a.group + 1;
  panel.groups = static_cast<int>((row_end - row_begin + kLanes - 1) / kLanes);
  panel.started = false;
  panel.key_begin = larger(a.key_begin, a.sink_tokens > 0 ? 0 : window.begin(panel.i_begin));
  panel.key_end = smaller(a.key_end, window.end(panel.i_end - 1));
  place_rows(a, panel);

  const int padded = round_up(a.head_dim, kLanes);
  const int64_t size = element_size(a.q.dtype);
  const bool whole = is_whole(a.q, a.head_dim);
  const Vec scale = splat(a.scale * units.per_natural);
  VecI lane_numbers;
  for (int lane = 0; lane < kLanes; ++lane) lane_numbers[lane] = lane;
  for (int g = 0; g < kRowVectors; ++g) {
    const int first = g * kLanes;
    panel.due[g] = lane_numbers < splat(static_cast<int32_t>(row_end - row_begin) - first);
    panel.max[g] = splat(kLowest);
    panel.sum[g] = Vec{};
    panel.group_end[g] = window.end(panel.i_end - 1);
    if (g >= panel.groups) continue;
    // The end of a window grows with its query.
    panel.group_end[g] = larger(0, window.end(panel.query[first + kLanes - 1]));
    const char* source[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int at = first + lane;
      const int64_t i = panel.query[at], head = panel.head[at];
      prefetch_packed_row(a.q, a.q_head_stride, a.head_dim, a.group, row_begin + at + kRowsAhead,
                          a.row_end);
      const char* const row = a.q.base + (i * a.q.row_stride + head * a.q_head_stride) * size;
      source[lane] = whole ? row : reinterpret_cast<const char*>(rows + lane * padded);
      if (!whole) load_row(row, a.q.dtype, a.q.dim_stride, a.head_dim, rows + lane * padded);
      if (a.sink_logits == nullptr) continue;
      float max, sum;
      begin_softmax(units, sink_of(a, head), max, sum);
      panel.max[g][lane] = max;
      panel.sum[g][lane] = sum;
    }
    with_float_dtype(whole ? a.q.dtype : kFloat32, [&](auto dtype) {
      for (int d = 0; d < padded; d += kLanes) {
        Vec block[kLanes];
        FA_UNROLL
        for (int lane = 0; lane < kLanes; ++lane)
          block[lane] = load_floats<dtype>(source[lane] + d * kElementSize<dtype>);
        transpose(block);
        if (of == Element::kPair) {
          for (int c = 0; c < kLanes; c += 2) {
            store(panel.q + ((d + c) / 2 * kRowVectors + g) * kLanes,
                  (VecU)block[c] >> 16 | ((VecU)block[c + 1] & 0xffff0000u));
          }
          continue;
        }
        FA_UNROLL
        for (int c = 0; c < kLanes; ++c)
          store(panel.q + ((d + c) * kRowVectors + g) * kLanes, block[c] * scale);
      }
    });
  }
}

/**
 * Writes the due rows of a [columns][kRowVectors][kLanes] result to `to`: column(g, c) is a vector
 * of column c. `rows` has room for kLanes rows of `dim` rounded up to kLanes.
 */
template <class Column>
FA_ALWAYS_INLINE void store_rows(const ForwardArgs& a, const Panel& panel, const Rows& to,
                                 int64_t head_stride, int dim, float* rows, Column column) {
  const int64_t size = element_size(to.dtype);
  const int padded = round_up(dim, kLanes);
  const bool whole = is_whole(to, dim);
  for (int g = 0; g < panel.groups; ++g) {
    char* out[kLanes];
    char* target[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int at = g * kLanes + lane;
      out[lane] = to.base + (panel.query[at] * to.row_stride + panel.head[at] * head_stride) * size;
      const bool in_place = whole && panel.due[g][lane] != 0;
      target[lane] = in_place ? out[lane] : reinterpret_cast<char*>(rows + lane * padded);
      prefetch_packed_row<true>(to, head_stride, dim, a.group, panel.row_begin + at + kRowsAhead,
                                a.row_end);
    }
    with_float_dtype(whole ? to.dtype : kFloat32, [&](auto dtype) {
      for (int d = 0; d < padded; d += kLanes) {
        Vec block[kLanes];
        FA_UNROLL
        for (int c = 0; c < kLanes; ++c) block[c] = column(g, d + c);
        transpose(block);
        FA_UNROLL
        for (int lane = 0; lane < kLanes; ++lane)
          store_floats<dtype>(target[lane] + d * kElementSize<dtype>, block[lane]);
      }
    });
    for (int lane = 0; !whole && lane < kLanes; ++lane) {
      if (panel.due[g][lane] != 0)
        store_row(out[lane], to.dtype, to.dim_stride, dim, rows + lane * padded);
    }
  }
}

/**
 * Normalises and writes out and lse of the rows that are due. Those that base 2 could not hold stay
 * due; returns whether there are any.
 */
bool store_panel(const ForwardArgs& a, float* rows, Panel& panel) {
  VecI again[kRowVectors] = {};
  Vec inverse[kRowVectors];
  VecI empty[kRowVectors];
  bool some_again = false;
  const bool wants_lse = a.lse != nullptr || a.lse_rest != nullptr;
  for (int g = 0; g < panel.groups; ++g) {
    const Vec sum = panel.sum[g];
    empty[g] = sum == Vec{};
    inverse[g] = 1.f / sum;
    if (!panel.units.natural()) {
      again[g] = out_of_base_2(panel.max[g], sum) & panel.due[g];
      panel.due[g] &= ~again[g];
      some_again |= any(again[g]);
    }
    for (int lane = 0; wants_lse && lane < kLanes; ++lane) {
      if (panel.due[g][lane] == 0) continue;
      const int at = g * kLanes + lane;
      store_lse(a, panel.query[at], panel.head[at],
                log_sum_exp(panel.units, panel.max[g][lane], sum[lane]));
    }
  }
  store_rows(a, panel, a.out, a.out_head_stride, a.head_dim_v, rows, [&](int g, int c) {
    // A select, not a product: an empty row's accumulator may be anything.
    const Vec o = panel.started ? load<Vec>(panel.o + (c * kRowVectors + g) * kLanes) : Vec{};
    return select(empty[g], Vec{}, o * inverse[g]);
  });
  for (int g = 0; g < kRowVectors; ++g) panel.due[g] = again[g];
  return some_again;
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
