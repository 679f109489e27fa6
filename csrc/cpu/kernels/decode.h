// Attention of a few query rows over many keys (decoding), where reading K and V is the cost: lanes run
// along the head dim, so rows of K and V are read once, as they lie and in their own dtype, for all the
// query heads that share them. Flash-Decoding (Dao et al. 2023): keys are split over work items and the
// partial results merged by lse.
#pragma once

#include <new>

#include "cpu/kernels/tile.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr int kDecodeRows = kLanes < 8 ? kLanes : 8;  // most rows of one call
constexpr int kDecodeKeys = 64;                       // most keys of one softmax step
/** Keys of a step when all kv heads advance together: theirs and the next step's rows fit the second-level cache. */
constexpr int kDecodeKeysTogether = 16;

/** Scores and probabilities are kept as [key][row], so a vector holds kLanes / Rows keys. */
template <int Rows>
struct Decoder {
  static constexpr int kKeysPerVector = kLanes / Rows;
  static constexpr int kVectors = kDecodeKeys / kKeysPerVector;
  static constexpr int kColumns =
      (kRegisters == 32 && Rows > 2 ? 16 : 8) / Rows;  // vectors of V columns at once

  const ForwardArgs a;  // of one kv head
  float* q;             // [Rows][head_dim], times scale * log2(e)
  float* o;             // [Rows][head_dim_v]
  Vec max,
      sum;  // lane = key within the vector * Rows + row; max is the same for all lanes of a row
  VecI key_of_lane, position, window_begin, window_end;
  Vec slope;
  int64_t all_begin, all_end;    // keys that every row sees
  int64_t some_begin, some_end;  // keys that some row sees, sink tokens aside
  alignas(64) float p[kDecodeKeys * Rows];

  static int row_of(int lane) { return lane % Rows; }

  Decoder(const ForwardArgs& args, float* q_rows, float* o_rows) : a(args), q(q_rows), o(o_rows) {
    const WindowMask window = window_of(a);
    const int64_t size = element_size(a.q.dtype);
    all_begin = a.key_begin;
    all_end = a.key_end;
    some_begin = a.key_end;
    some_end = a.key_begin;
    slope = Vec{};
    sum = Vec{};
    for (int r = 0; r < Rows; ++r) {
      const int64_t row = smaller(a.row_begin + r, a.row_end - 1);
      const int64_t i = row / a.group, head = row % a.group;
      float* const q_row = q + r * a.head_dim;
      load_row(a.q.base + (i * a.q.row_stride + head * a.q_head_stride) * size, a.q.dtype,
               a.q.dim_stride, a.head_dim, q_row);
      for (int d = 0; d < a.head_dim; d += kLanes) {
        store(q_row + d, load<Vec>(q_row + d) * splat(a.scale * kLog2E));
      }
      all_begin = larger(all_begin, window.begin(i));
      all_end = smaller(all_end, window.end(i));
      some_begin = smaller(some_begin, window.begin(i));
      some_end = larger(some_end, window.end(i));
      const bool sink = a.sink_logits != nullptr && a.first_split;
      for (int lane = r; lane < kLanes; lane += Rows) {
        key_of_lane[lane] = lane / Rows;
        position[lane] = static_cast<int32_t>(i + window.offset);
        window_begin[lane] = static_cast<int32_t>(smaller(window.begin(i), a.seqlen_k));
        window_end[lane] = static_cast<int32_t>(window.end(i));
        max[lane] = sink ? a.sink_logits[head] * kLog2E : kLowest;
        sum[lane] = sink && lane < Rows ? 1.f : 0.f;
        if (a.alibi_slopes != nullptr) slope[lane] = a.alibi_slopes[head * a.alibi_stride] * kLog2E;
      }
    }
    std::memset(o, 0, sizeof(float) * static_cast<size_t>(Rows * a.head_dim_v));
  }

  template <int Dtype>
  FA_ALWAYS_INLINE static void prefetch_row(const char* row, int dim) {
    for (int64_t byte = 0; byte < dim * kElementSize<Dtype>; byte += 64) {
      __builtin_prefetch(row + byte, 0, 2);
    }
  }

  template <int Dtype>
  FA_ALWAYS_INLINE void prefetch(int64_t key) const {
    prefetch_row<Dtype>(key_row(a, a.k, a.k_page_stride, key), a.head_dim);
    prefetch_row<Dtype>(key_row(a, a.v, a.v_page_stride, key), a.head_dim_v);
  }

  /** p = scores of `keys` keys from `key` on; lanes past the last key are -infinity. */
  template <int Dtype>
  void score(int64_t key, int keys) {
    for (int j = 0; j < keys; j += kKeysPerVector) {
      const char* rows[kKeysPerVector];
      for (int t = 0; t < kKeysPerVector; ++t) {
        rows[t] = key_row(a, a.k, a.k_page_stride, key + smaller(j + t, keys - 1));
      }
      Vec acc[kLanes];
      FA_UNROLL
      for (int lane = 0; lane < kLanes; ++lane) acc[lane] = Vec{};
      for (int d = 0; d < a.head_dim; d += kLanes) {
        Vec k[kKeysPerVector];
        FA_UNROLL
        for (int t = 0; t < kKeysPerVector; ++t) {
          k[t] = load_floats<Dtype>(rows[t] + d * kElementSize<Dtype>);
        }
        FA_UNROLL
        for (int r = 0; r < Rows; ++r) {
          const Vec qd = load<Vec>(q + r * a.head_dim + d);
          FA_UNROLL
          for (int t = 0; t < kKeysPerVector; ++t) acc[t * Rows + r] += k[t] * qd;
        }
      }
      transpose(acc);
      FA_UNROLL
      for (int step = kLanes / 2; step > 0; step /= 2) {
        FA_UNROLL
        for (int lane = 0; lane < step; ++lane) acc[lane] += acc[lane + step];
      }
      store(p + j * Rows, acc[0]);
    }
  }

  /** Softcap, ALiBi and the window, for the keys of `score`. */
  void modify(int64_t key, int keys, bool masked) {
    const float cap = a.softcap * kLog2E;
    const VecI sinks = splat(static_cast<int32_t>(smaller(a.sink_tokens, a.seqlen_k)));
    const VecI end = splat(static_cast<int32_t>(key + keys));
    for (int j = 0; j < keys; j += kKeysPerVector) {
      Vec x = load<Vec>(p + j * Rows);
      const VecI at = key_of_lane + static_cast<int32_t>(key + j);
      if (a.softcap > 0) x = splat(cap) * tanh(x * splat(1.f / cap));
      if (a.alibi_slopes != nullptr) {
        x -= slope * absolute(__builtin_convertvector(position - at, Vec));
      }
      if (masked) {
        const VecI seen = (at < window_end) & ((at >= window_begin) | (at < sinks)) & (at < end);
        x = select(seen, x, splat(-kInfinity));
      }
      store(p + j * Rows, x);
    }
  }

  /** Online softmax over the step: p becomes probabilities, o is rescaled. Hidden pairs become -0. */
  void normalise(int keys, bool masked) {
    Vec highest = max;
    for (int j = 0; j < keys; j += kKeysPerVector) {
      highest = max_or_second(load<Vec>(p + j * Rows), highest);
    }
    for (int r = 0; r < Rows; ++r) {
      float m = highest[r];
      for (int lane = r + Rows; lane < kLanes; lane += Rows)
        m = highest[lane] > m ? highest[lane] : m;
      for (int lane = r; lane < kLanes; lane += Rows) highest[lane] = m;
    }
    const Vec alpha = exp2_or_zero(max - highest);
    max = highest;
    Vec total{};
    for (int j = 0; j < keys; j += kKeysPerVector) {
      const Vec x = load<Vec>(p + j * Rows);
      const Vec e = masked ? exp2_or_zero(x - max) : exp2_clamped(x - max);
      total += e;
      store(p + j * Rows, masked ? select(x == splat(-kInfinity), splat(-0.f), e) : e);
    }
    sum = sum * alpha + total;
    for (int r = 0; r < Rows; ++r) {
      if (alpha[r] == 1.f) continue;
      float* const row = o + r * a.head_dim_v;
      for (int d = 0; d < a.head_dim_v; d += kLanes) store(row + d, load<Vec>(row + d) * alpha[r]);
    }
  }

  template <int Dtype, int Columns, bool Masked>
  FA_ALWAYS_INLINE void add_columns(const char* const* rows, int keys, int d) {
    Vec acc[Rows][Columns];
    FA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      FA_UNROLL
      for (int c = 0; c < Columns; ++c)
        acc[r][c] = load<Vec>(o + r * a.head_dim_v + d + c * kLanes);
    }
    for (int j = 0; j < keys; ++j) {
      Vec v[Columns];
      FA_UNROLL
      for (int c = 0; c < Columns; ++c) {
        v[c] = load_floats<Dtype>(rows[j] + (d + c * kLanes) * kElementSize<Dtype>);
      }
      FA_UNROLL
      for (int r = 0; r < Rows; ++r) {
        const Vec weight = splat(p[j * Rows + r]);
        FA_UNROLL
        for (int c = 0; c < Columns; ++c) {
          const Vec next = acc[r][c] + weight * v[c];
          acc[r][c] = Masked ? select((VecI)weight < 0, acc[r][c], next) : next;
        }
      }
    }
    FA_UNROLL
    for (int r = 0; r < Rows; ++r) {
      FA_UNROLL
      for (int c = 0; c < Columns; ++c) store(o + r * a.head_dim_v + d + c * kLanes, acc[r][c]);
    }
  }

  /** o += p V. Where some row sees a key and another does not, hidden pairs are left out: 0 * NaN must not leak. */
  template <int Dtype, bool Masked>
  void add_values(int64_t key, int keys) {
    const char* rows[kDecodeKeys];
    for (int j = 0; j < keys; ++j) {
      rows[j] = key_row(a, a.v, a.v_page_stride, key + j);
    }
    int d = 0;
    for (; d + kColumns * kLanes <= a.head_dim_v; d += kColumns * kLanes) {
      add_columns<Dtype, kColumns, Masked>(rows, keys, d);
    }
    for (; d < a.head_dim_v; d += kLanes) add_columns<Dtype, 1, Masked>(rows, keys, d);
  }

  /** One step of the online softmax, at most kDecodeKeys keys. */
  template <int Dtype>
  void attend(int64_t key, int keys) {
    const bool masked = key < all_begin || key + keys > all_end || keys % kKeysPerVector != 0;
    score<Dtype>(key, keys);
    if (masked || a.softcap > 0 || a.alibi_slopes != nullptr) modify(key, keys, masked);
    normalise(keys, masked);
    if (masked)
      add_values<Dtype, true>(key, keys);
    else
      add_values<Dtype, false>(key, keys);
  }

  void finish() {
    const int64_t size = element_size(a.out.dtype);
    for (int r = 0; r < Rows && a.row_begin + r < a.row_end; ++r) {
      const int64_t i = (a.row_begin + r) / a.group, head = (a.row_begin + r) % a.group;
      float total = 0;
      for (int lane = r; lane < kLanes; lane += Rows) total += sum[lane];
      const bool empty = total == 0 || max[r] == kLowest;
      float* const row = o + r * a.head_dim_v;
      const float inverse = empty ? 0.f : 1.f / total;
      for (int d = 0; d < a.head_dim_v; d += kLanes) {
        store(row + d, empty ? Vec{} : load<Vec>(row + d) * inverse);
      }
      store_row(a.out.base + (i * a.out.row_stride + head * a.out_head_stride) * size, a.out.dtype,
                a.out.dim_stride, a.head_dim_v, row);
      if (a.lse != nullptr) {
        a.lse[i * a.lse_row_stride + head * a.lse_head_stride] =
            empty ? -kInfinity : max[r] * kLn2 + std::log(total);
      }
    }
  }
};

/** The arguments of one of the item's kv heads. */
FA_ALWAYS_INLINE ForwardArgs head_args(const ForwardArgs& a, int head) {
  ForwardArgs one = a;
  const auto move = [](Rows& rows, int64_t elements) {
    rows.base += elements * element_size(rows.dtype);
  };
  const int64_t query_head = int64_t{head} * a.group;
  move(one.q, query_head * a.q_head_stride);
  move(one.out, query_head * a.out_head_stride);
  move(one.k, head * a.k_head_stride);
  move(one.v, head * a.v_head_stride);
  if (one.lse != nullptr) one.lse += query_head * a.lse_head_stride;
  if (one.alibi_slopes != nullptr) one.alibi_slopes += query_head * a.alibi_stride;
  if (one.sink_logits != nullptr) one.sink_logits += query_head;
  return one;
}

/**
 * Keys [begin, end) for all heads of the item. Where heads lie side by side in memory they advance together, a few keys at a
 * time, and the rows of the next step are fetched in the order of memory: one head's rows alone are far apart, which no
 * hardware prefetcher follows and which keeps most memory channels idle.
 */
template <int Dtype, int Rows>
void decode_keys(Decoder<Rows>* heads, int count, int64_t begin, int64_t end) {
  const int step = count > 1 ? kDecodeKeysTogether : kDecodeKeys;
  for (int64_t key = begin; key < end; key += step) {
    const int keys = static_cast<int>(smaller(step, end - key));
    for (int head = 0; head < count; ++head) {
      if (count > 1) {
        const int64_t next = key + step;
        const int64_t last = smaller(end, next + int64_t{step} * (head + 1) / count);
        for (int64_t ahead = next + int64_t{step} * head / count; ahead < last; ++ahead) {
          for (int other = 0; other < count; ++other) heads[other].template prefetch<Dtype>(ahead);
        }
      }
      heads[head].template attend<Dtype>(key, keys);
    }
  }
}

template <int Dtype, int Rows>
void decode_heads(Decoder<Rows>* heads, int count) {
  const ForwardArgs& a = heads[0].a;
  const int64_t first = larger(a.key_begin, heads[0].some_begin);
  const int64_t last = smaller(a.key_end, heads[0].some_end);
  const int64_t sinks = smaller(smaller(a.sink_tokens, first), last);
  decode_keys<Dtype>(heads, count, a.key_begin, sinks);
  decode_keys<Dtype>(heads, count, first, last);
}

template <int Rows>
void decode_rows(const ForwardArgs& a, char* at) {
  auto* const heads = reinterpret_cast<Decoder<Rows>*>(
      take(at, sizeof(Decoder<Rows>) * static_cast<size_t>(a.kv_heads)));
  for (int head = 0; head < a.kv_heads; ++head) {
    float* const q =
        reinterpret_cast<float*>(take(at, sizeof(float) * static_cast<size_t>(Rows * a.head_dim)));
    float* const o = reinterpret_cast<float*>(
        take(at, sizeof(float) * static_cast<size_t>(Rows * a.head_dim_v)));
    new (heads + head) Decoder<Rows>(head_args(a, head), q, o);
  }
  if (a.k.dtype == kFloat32)
    decode_heads<kFloat32>(heads, a.kv_heads);
  else if (a.k.dtype == kFloat16)
    decode_heads<kFloat16>(heads, a.kv_heads);
  else
    decode_heads<kBFloat16>(heads, a.kv_heads);
  for (int head = 0; head < a.kv_heads; ++head) heads[head].finish();
}

size_t decode_scratch(const ForwardArgs& a) {
  const size_t row =
      aligned(sizeof(float) * static_cast<size_t>(kDecodeRows * larger(a.head_dim, a.head_dim_v)));
  return static_cast<size_t>(a.kv_heads) * (2 * row + aligned(sizeof(Decoder<kDecodeRows>))) + 64;
}

/** At most kDecodeRows rows; head dims that fill vectors; unit stride along K and V; no dense or block mask, no dropout. */
void decode(const ForwardArgs& a, char* scratch) {
  const int64_t rows = a.row_end - a.row_begin;
  if (rows == 1) return decode_rows<1>(a, scratch);
  if (rows == 2) return decode_rows<2>(a, scratch);
  if (rows <= 4) return decode_rows<4>(a, scratch);
  if constexpr (kDecodeRows >= 8) decode_rows<8>(a, scratch);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
