// Decoding for one kv head: scores, online softmax and values of a step of keys.
#pragma once

#include <type_traits>

#include "cpu/kernels/decode_prefetch.h"
#include "cpu/kernels/decode_products.h"
#include "cpu/kernels/tile.h"
#include "cpu/kernels/tile_mask.h"

namespace fa::cpu::FA_ISA {
namespace {

/**
 * One kv head. Scores and probabilities are kept as [key][row], so a vector holds kLanes / Rows
 * keys.
 */
template <int Dtype, int Rows>
struct Decoder {
  template <int N>
  using Count = std::integral_constant<int, N>;
  static constexpr int kKeysPerVector = kLanes / Rows;
  // Keys of a block of K, vectors of columns of a block of V: kBlock * Rows accumulators keep the
  // multipliers busy despite their latency, with room for kBlock + 1 operands.
  static constexpr int kBlock = kRegisters == 32 ? (Rows == 1 ? 8 : 16 / Rows)
                                : Rows == 4      ? 3
                                                 : 8 / Rows;
  /** Whether rows of K and V have scales. */
  static constexpr bool kScaled = Dtype == kInt8;
  /** Whether K may be multiplied by dot products of pairs. */
  static constexpr bool kPairs = kBf16Dot && Dtype == kInt8;
  /** Steps are multiples of this many keys: whole vectors and whole blocks. */
  static constexpr int kMultiple = kBlock == 3               ? 3 * kKeysPerVector
                                   : kBlock > kKeysPerVector ? kBlock
                                                             : kKeysPerVector;

  const ForwardArgs a;  // of this head
  Units units;
  const int64_t k_head, v_head;              // bytes from the item's first head
  const int64_t k_scale_head, v_scale_head;  // elements
  // [head_dim / kLanes][Rows][kLanes], times the scale and in these units; or, where `paired`, half
  // as many pairs, of q as it is.
  float* q;
  float* o;  // [head_dim_v / kLanes][Rows][kLanes]
  bool paired;
  float score_factor;  // what sums of products are multiplied by
  Vec max,
      sum;  // lane = key within the vector * Rows + row; max is the same for all lanes of a row
  VecI key_of_lane, query, position, window_begin, window_end;
  Vec slope;
  const char* mask[kLanes];      // null: none; element of key 0
  int64_t all_begin, all_end;    // keys that every row sees, dense mask aside
  int64_t some_begin, some_end;  // keys that some row sees, sink tokens aside
  bool due[Rows];                // rows whose results are still to be written
  alignas(64) float p[kDecodeKeys * Rows];

  Decoder(const ForwardArgs& args, int64_t head, float* q_rows, float* o_rows)
      : a(args),
        k_head(head * args.k_head_stride * kElementSize<Dtype>),
        v_head(head * args.v_head_stride * kElementSize<Dtype>),
        k_scale_head(head * args.k_scale.head_stride),
        v_scale_head(head * args.v_scale.head_stride),
        q(q_rows),
        o(o_rows) {
    for (int r = 0; r < Rows; ++r) due[r] = a.row_begin + r < a.row_end;
  }

  FA_ALWAYS_INLINE void load_query(int64_t i, int64_t head, float* row) const {
    const int64_t element = i * a.q.row_stride + head * a.q_head_stride;
    load_row(a.q.base + element * element_size(a.q.dtype), a.q.dtype, a.q.dim_stride, a.head_dim,
             row);
  }

  /** Fills q with pairs, if it is of numbers that their dot products multiply without a loss. */
  bool load_pairs_of_queries(float* scratch) {
    const float factor = a.scale * units.per_natural;
    if (a.q.dtype != kBFloat16 || a.head_dim % (2 * kLanes) != 0 || units.natural() ||
        !all_moderate(splat(factor))) {
      return false;
    }
    for (int r = 0; r < Rows; ++r) {
      const auto [i, head] = packed_row(a.group, smaller(a.row_begin + r, a.row_end - 1));
      load_query(i, head, scratch);
      for (int d = 0; d < a.head_dim; d += 2 * kLanes) {
        const Vec low = load<Vec>(scratch + d), high = load<Vec>(scratch + d + kLanes);
        if (!all_moderate(low) || !all_moderate(high)) return false;
        store(q + d / 2 * Rows + r * kLanes, pairs_of(low, high));
      }
    }
    score_factor = factor;
    return true;
  }

  /** Before the first key. `scratch` has room for one row. */
  void begin(const Units& of_scores, float* scratch) {
    units = of_scores;
    const WindowMask window = window_of(a);
    all_begin = a.key_begin;
    all_end = a.key_end;
    some_begin = a.key_end;
    some_end = a.key_begin;
    slope = Vec{};
    sum = Vec{};
    paired = false;
    score_factor = 1;
    if constexpr (kPairs) paired = load_pairs_of_queries(scratch);
    for (int r = 0; r < Rows; ++r) {
      const int64_t row = smaller(a.row_begin + r, a.row_end - 1);
      const auto [i, head] = packed_row(a.group, row);
      if (!paired) {
        load_query(i, head, scratch);
        for (int d = 0; d < a.head_dim; d += kLanes) {
          store(q + d * Rows + r * kLanes,
                load<Vec>(scratch + d) * splat(a.scale * units.per_natural));
        }
      }
      const ExactWindow exact = exact_window(a, i);
      all_begin = larger(all_begin, exact.begin);
      all_end = smaller(all_end, exact.end);
      some_begin = smaller(some_begin, window.begin(i));
      some_end = larger(some_end, window.end(i));
      float row_max, row_sum;
      begin_softmax(units, sink_of(a, head), row_max, row_sum);
      const char* const mask_row =
          a.mask.base == nullptr
              ? nullptr
              : a.mask.base + (i * a.mask.row_stride + head * a.mask.head_stride) *
                                  element_size(a.mask.dtype);
      for (int lane = r; lane < kLanes; lane += Rows) {
        key_of_lane[lane] = lane / Rows;
        query[lane] = static_cast<int32_t>(i);
        position[lane] = static_cast<int32_t>(position_of_query(a, i));
        window_begin[lane] = static_cast<int32_t>(smaller(exact.begin, a.seqlen_k));
        window_end[lane] = static_cast<int32_t>(exact.end);
        max[lane] = row_max;
        sum[lane] = lane < Rows ? row_sum : 0.f;
        mask[lane] = mask_row;
        if (a.alibi_slopes != nullptr) {
          slope[lane] = a.alibi_slopes[head * a.alibi_stride] * units.per_natural;
        }
      }
    }
    std::memset(o, 0, sizeof(float) * static_cast<size_t>(Rows * a.head_dim_v));
  }

  template <bool Pairs>
  FA_ALWAYS_INLINE static void multiply(const char* const (&rows)[kBlock], int64_t offset,
                                        const float* q, Vec (&acc)[kBlock][Rows]) {
    using Of = Products<Dtype, Pairs>;
    if constexpr (Rows < kBlock) {
      typename Of::Operand qr[Rows];
      FA_UNROLL
      for (int r = 0; r < Rows; ++r) qr[r] = Of::queries(q + r * kLanes);
      FA_UNROLL
      for (int t = 0; t < kBlock; ++t) {
        const auto k = Of::keys(rows[t] + offset);
        FA_UNROLL
        for (int r = 0; r < Rows; ++r) Of::add(acc[t][r], k, qr[r]);
      }
    } else {
      typename Of::Operand k[kBlock];
      FA_UNROLL
      for (int t = 0; t < kBlock; ++t) k[t] = Of::keys(rows[t] + offset);
      FA_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const auto qr = Of::queries(q + r * kLanes);
        FA_UNROLL
        for (int t = 0; t < kBlock; ++t) Of::add(acc[t][r], k[t], qr);
      }
    }
  }

  /** Per key of a block: its rows, kKeysPerVector summands of each. */
  template <bool Pairs>
  __attribute__((noinline)) static void score_block(const char* const* k, int64_t k_head,
                                                    int head_dim, const float* q, Vec* partial,
                                                    const char* ahead) {
    const char* rows[kBlock];
    FA_UNROLL
    for (int t = 0; t < kBlock; ++t) rows[t] = k[t] + k_head;
    Vec acc[kBlock][Rows];
    FA_UNROLL
    for (int t = 0; t < kBlock; ++t) {
      FA_UNROLL
      for (int r = 0; r < Rows; ++r) acc[t][r] = Vec{};
    }
    constexpr int kStep = Products<Dtype, Pairs>::kStep;
    constexpr int64_t kBytes = kBlock * kStep * kElementSize<Dtype>;
    for (int d = 0; d < head_dim; d += kStep, ahead += kBytes, q += kLanes * Rows) {
      prefetch<kBytes>(ahead);
      multiply<Pairs>(rows, d * kElementSize<Dtype>, q, acc);
    }
    FA_UNROLL
    for (int t = 0; t < kBlock; ++t) partial[t] = fold<1, Rows>(acc[t]);
  }

  /** p = the scores of the step; lanes past the last key repeat it. */
  void score(const KeyStep& step, const RowScales& scales, Ahead& ahead) {
    const int64_t block_bytes = kBlock * a.head_dim * kElementSize<Dtype>;
    Vec partial[kDecodeKeys];
    for (int j = 0; j < round_up(step.keys, kKeysPerVector); j += kBlock) {
      const char* const next = ahead.take(block_bytes);
      if constexpr (kPairs) {
        if (paired) {
          score_block<true>(step.k + j, k_head, a.head_dim, q, partial + j, next);
          continue;
        }
      }
      score_block<false>(step.k + j, k_head, a.head_dim, q, partial + j, next);
    }
    for (int j = 0; j < step.keys; j += kKeysPerVector) {
      Vec x = fold<Rows, kLanes>(partial + j);
      if constexpr (kScaled) x *= scales.template of_lanes<Rows>(j) * splat(score_factor);
      store(p + j * Rows, x);
    }
  }

  /**
   * The dense mask of the keys of one vector: a float to add, -infinity where the pair is hidden.
   */
  Vec dense_mask(int64_t key) const {
    const int64_t size = element_size(a.mask.dtype);
    Vec bias;
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t at = smaller(key + lane / Rows, a.seqlen_k - 1);
      bias[lane] = load_scalar(mask[lane] + at * a.mask.key_stride * size, a.mask.dtype);
    }
    if (a.mask.dtype == kBool) return select(bias == Vec{}, splat(-kInfinity), Vec{});
    return bias_in(units, bias);
  }

  /** Which lanes see their key, of those `at`, in the tree; and where the keys stand. */
  VecI in_tree(VecI at, VecI& standing) const {
    const int32_t committed = static_cast<int32_t>(a.seqlen_k - a.seqlen_q);
    VecI seen{};
    for (int lane = 0; lane < kLanes; ++lane) {
      const int32_t t = at[lane] - committed;
      if (t < 0 || at[lane] >= a.seqlen_k) continue;
      standing[lane] = static_cast<int32_t>(position_of_key(a, at[lane]));
      seen[lane] = sees_in_tree(a, query[lane], t) ? -1 : 0;
    }
    return seen;
  }

  /**
   * Softcap, ALiBi, the dense mask, the window and the tree. Returns whether a pair is hidden: its
   * score is -infinity then.
   */
  bool modify(const KeyStep& step) {
    const float cap = a.softcap * units.per_natural;
    const Vec lowest = splat(units.lowest_visible);
    const VecI sinks = splat(static_cast<int32_t>(smaller(a.sink_tokens, a.seqlen_k)));
    const VecI end = splat(static_cast<int32_t>(step.key + step.keys));
    VecI hidden{};
    for (int j = 0; j < step.keys; j += kKeysPerVector) {
      Vec x = load<Vec>(p + j * Rows);
      const VecI at = key_of_lane + static_cast<int32_t>(step.key + j);
      if (a.softcap > 0) x = splat(cap) * tanh(x * splat(1.f / cap));
      VecI seen = (at < window_end) & ((at >= window_begin) | (at < sinks)), standing = at;
      if (a.tree.bits != nullptr) seen |= in_tree(at, standing);
      seen &= at < end;
      if (a.alibi_slopes != nullptr) {
        x -= slope * absolute(__builtin_convertvector(position - standing, Vec));
      }
      if (a.mask.base != nullptr) {
        const Vec bias = dense_mask(step.key + j);
        x += bias;
        seen &= bias != splat(-kInfinity);
      }
      store(p + j * Rows, select(seen, max_or_second(lowest, x), splat(-kInfinity)));
      hidden |= ~seen;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (hidden[lane] != 0) return true;
    }
    return false;
  }

  template <int Step, int... I>
  FA_ALWAYS_INLINE static Vec rotate(Vec x, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(x, x, ((I + Step) % kLanes)...);
  }

  /** The same for every lane of a row: the largest of them. */
  template <int Step = Rows>
  FA_ALWAYS_INLINE static Vec max_of_row(Vec x) {
    if constexpr (Step < kLanes) {
      const Vec other = rotate<Step>(x, std::make_integer_sequence<int, kLanes>{});
      return max_of_row<2 * Step>(max_or_second(other, x));
    }
    return x;
  }

  /**
   * Online softmax over the step: p becomes probabilities, times the scales of V, and o is
   * rescaled. Hidden pairs become -0.
   */
  void softmax_step(int keys, const RowScales& scales, bool hidden) {
    Vec highest = max;
    for (int j = 0; j < keys; j += kKeysPerVector) {
      highest = max_or_second(load<Vec>(p + j * Rows), highest);
    }
    highest = max_of_row(highest);
    const Vec to_base_2 = splat(units.to_base_2);
    const Vec alpha = exp2_or_zero((max - highest) * to_base_2);
    max = highest;
    Vec total{};
    for (int j = 0; j < keys; j += kKeysPerVector) {
      const Vec x = load<Vec>(p + j * Rows);
      const Vec exponent = (x - max) * to_base_2;
      Vec e = hidden ? exp2_or_zero(exponent) : exp2_clamped(exponent);
      total += e;
      if constexpr (kScaled) e *= scales.template of_lanes<Rows>(j);
      store(p + j * Rows, hidden ? select(x == splat(-kInfinity), splat(-0.f), e) : e);
    }
    sum = sum * alpha + total;
    for (int r = 0; r < Rows; ++r) {
      if (alpha[r] == 1.f) continue;
      for (int d = r * kLanes; d < a.head_dim_v * Rows; d += kLanes * Rows) {
        store(o + d, load<Vec>(o + d) * alpha[r]);
      }
    }
  }

  /** `Columns` vectors of columns from d on. */
  template <int Columns>
  __attribute__((noinline)) void add_columns(const char* const* rows, const float* weights,
                                             int keys, int d, Ahead& next) {
    constexpr int64_t kBytes = Columns * kLanes * kElementSize<Dtype>;
    const char* ahead = next.take(keys * kBytes);
    float* const od = o + d * Rows;
    Vec acc[Columns][Rows];
    FA_UNROLL
    for (int c = 0; c < Columns; ++c) {
      FA_UNROLL
      for (int r = 0; r < Rows; ++r) acc[c][r] = load<Vec>(od + (c * Rows + r) * kLanes);
    }
    for (int j = 0; j < keys; ++j, ahead += kBytes) {
      prefetch<kBytes>(ahead);
      const char* const row = rows[j] + v_head + d * kElementSize<Dtype>;
      Vec v[Columns];
      FA_UNROLL
      for (int c = 0; c < Columns; ++c) {
        v[c] = load_floats<Dtype>(row + c * kLanes * kElementSize<Dtype>);
      }
      FA_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Vec weight = splat(weights[j * Rows + r]);
        FA_UNROLL
        for (int c = 0; c < Columns; ++c) acc[c][r] += weight * v[c];
      }
    }
    FA_UNROLL
    for (int c = 0; c < Columns; ++c) {
      FA_UNROLL
      for (int r = 0; r < Rows; ++r) store(od + (c * Rows + r) * kLanes, acc[c][r]);
    }
  }

  /** o += p V for keys that every row sees. */
  void add_values(const char* const* rows, const float* weights, int keys, Ahead& ahead) {
    int left = a.head_dim_v / kLanes;
    const auto add = [&](auto columns) {
      add_columns<columns>(rows, weights, keys, a.head_dim_v - left * kLanes, ahead);
      left -= columns;
    };
    // Four columns as two and two rather than three and a lonely one.
    while (left >= kBlock && !(kBlock == 3 && left == 4)) add(Count<kBlock>{});
    if constexpr (kBlock > 2) {
      while (left >= 2) add(Count<2>{});
    }
    while (left > 0) add(Count<1>{});
  }

  /** How `softmax_step` marks hidden pairs. Not by sign alone: a NaN may have one too. */
  static bool hidden(float weight) { return float_bits(weight) == 0x80000000u; }

  /** The same for a key that is hidden from some row: not even 0 * NaN may reach that one. */
  void add_value(const char* row, const float* weights) {
    for (int d = 0; d < a.head_dim_v; d += kLanes) {
      const Vec v = load_floats<Dtype>(row + v_head + d * kElementSize<Dtype>);
      for (int r = 0; r < Rows; ++r) {
        if (hidden(weights[r])) continue;
        float* const od = o + d * Rows + r * kLanes;
        store(od, load<Vec>(od) + weights[r] * v);
      }
    }
  }

  /**
   * Leaves the keys that every row sees in `rows` and p, and returns how many; adds those that only
   * some see.
   */
  int add_partly_hidden(int keys, const char** rows) {
    int open = 0;
    for (int j = 0; j < keys; ++j) {
      const float* const weights = p + j * Rows;
      int out_of_sight = 0;
      for (int r = 0; r < Rows; ++r) out_of_sight += hidden(weights[r]);
      if (out_of_sight == 0) {
        std::memmove(p + open * Rows, weights, sizeof(float) * Rows);
        rows[open++] = rows[j];
      } else if (out_of_sight < Rows) {
        add_value(rows[j], weights);
      }
    }
    return open;
  }

  /** One step of the online softmax. */
  void attend(const KeyStep& step, Ahead& next_k, Ahead& next_v) {
    RowScales k_scales, v_scales;
    if constexpr (kScaled) {
      const int keys = round_up(step.keys, kKeysPerVector);
      k_scales.gather<kKeysPerVector>(step.k_scale, keys, k_scale_head);
      v_scales.gather<kKeysPerVector>(step.v_scale, keys, v_scale_head);
    }
    score(step, k_scales, next_k);
    bool hidden = step.key < all_begin || step.key + step.keys > all_end ||
                  step.keys % kKeysPerVector != 0 || a.mask.base != nullptr;
    if (hidden || a.softcap > 0 || a.alibi_slopes != nullptr) hidden = modify(step);
    hidden |= units.natural();  // a score of -infinity is possible
    softmax_step(step.keys, v_scales, hidden);
    const char* const* rows = step.v;
    const char* open_rows[kDecodeKeys];
    int keys = step.keys;
    if (hidden) {
      std::memcpy(open_rows, rows, sizeof(char*) * static_cast<size_t>(keys));
      keys = add_partly_hidden(keys, open_rows);
      rows = open_rows;
    }
    add_values(rows, p, keys, next_v);
  }

  /**
   * Writes the rows that are due; those that base 2 could not hold stay due, and it returns whether
   * there are any. `row` is scratch for one row.
   */
  bool finish(float* row) {
    const int64_t size = element_size(a.out.dtype);
    bool any = false;
    for (int r = 0; r < Rows; ++r) {
      if (!due[r]) continue;
      float total = 0;
      for (int lane = r; lane < kLanes; lane += Rows) total += sum[lane];
      if (!units.natural() && out_of_base_2(max[r], total)) {
        any = true;
        continue;
      }
      due[r] = false;
      const auto [i, head] = packed_row(a.group, a.row_begin + r);
      const float inverse = 1.f / total;
      for (int d = 0; d < a.head_dim_v; d += kLanes) {
        store(row + d, total == 0 ? Vec{} : load<Vec>(o + d * Rows + r * kLanes) * inverse);
      }
      store_row(a.out.base + (i * a.out.row_stride + head * a.out_head_stride) * size, a.out.dtype,
                a.out.dim_stride, a.head_dim_v, row);
      store_lse(a, i, head, log_sum_exp(units, max[r], total));
    }
    return any;
  }
};

}  // namespace
}  // namespace fa::cpu::FA_ISA
