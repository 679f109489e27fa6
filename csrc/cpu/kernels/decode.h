// Attention of a few query rows over many keys (decoding), where reading K and V is the cost: lanes
// run along the head dim, so rows of K and V are read once, as they lie and in their own dtype, for
// all the query heads that share them. Flash-Decoding (Dao et al. 2023): keys are split over work
// items and the partial results merged by lse.
#pragma once

#include <new>

#include "cpu/kernels/decoder.h"
#include "cpu/kernels/key_mask.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr int kDecodeRows = kLanes < 8 ? kLanes : 8;  // most rows of one call
/**
 * K and V of a step, so that it and the next one share the second-level cache with room to spare.
 */
constexpr int64_t kDecodeStepBytes = 128 * 1024;

/** The arguments of one of the item's kv heads; K and V stay those of the first. */
FA_ALWAYS_INLINE ForwardArgs head_args(const ForwardArgs& a, int head) {
  ForwardArgs one = a;
  const int64_t query_head = int64_t{head} * a.group;
  one.q.base += query_head * a.q_head_stride * element_size(a.q.dtype);
  one.out.base += query_head * a.out_head_stride * element_size(a.out.dtype);
  if (one.lse != nullptr) one.lse += query_head * a.lse_head_stride;
  if (one.lse_rest != nullptr) one.lse_rest += query_head * a.lse_head_stride;
  if (one.alibi_slopes != nullptr) one.alibi_slopes += query_head * a.alibi_stride;
  if (one.sink_logits != nullptr) one.sink_logits += query_head;
  if (one.mask.base != nullptr)
    one.mask.base += query_head * a.mask.head_stride * element_size(a.mask.dtype);
  return one;
}

/** Keys [key, end), at most `most`; none when key >= end. */
void fill_step(const ForwardArgs& a, int64_t key, int64_t end, int most, KeyStep& step) {
  step.key = key;
  step.keys = static_cast<int>(larger(0, smaller(most, end - key)));
  for (int j = 0; j < step.keys; ++j) {
    step.k[j] = key_row(a, a.k, a.k_page_stride, key + j);
    step.v[j] = key_row(a, a.v, a.v_page_stride, key + j);
  }
  if (step.keys == 0) return;
  const int padded = static_cast<int>(smaller(step.keys + 16, kDecodeKeys));  // no block is larger
  for (int j = step.keys; j < padded; ++j) step.k[j] = step.k[step.keys - 1];
  if (a.k_scale.base == nullptr) return;
  const int64_t bytes = a.kv_heads * static_cast<int64_t>(sizeof(float));
  for (int j = 0; j < step.keys; ++j) {
    step.k_scale[j] = key_scale(a, a.k_scale, key + j);
    step.v_scale[j] = key_scale(a, a.v_scale, key + j);
    prefetch_row<2>(reinterpret_cast<const char*>(step.k_scale[j]), bytes);
    prefetch_row<2>(reinterpret_cast<const char*>(step.v_scale[j]), bytes);
  }
  for (int j = step.keys; j < padded; ++j) {
    step.k_scale[j] = step.k_scale[step.keys - 1];
    step.v_scale[j] = step.v_scale[step.keys - 1];
  }
}

/**
 * Keys [begin, end) for all heads of the item, which lie side by side in memory and advance
 * together.
 */
template <int Dtype, int Rows>
void decode_keys(Decoder<Dtype, Rows>* heads, int64_t begin, int64_t end) {
  const ForwardArgs& a = heads[0].a;
  const int64_t size = kElementSize<Dtype>;
  const int64_t key_bytes = a.kv_heads * (a.head_dim + a.head_dim_v) * size;
  constexpr int kMultiple = Decoder<Dtype, Rows>::kMultiple;
  const int64_t fitting = smaller(kDecodeKeys, kDecodeStepBytes / key_bytes);
  const int most = static_cast<int>(larger(1, fitting / kMultiple)) * kMultiple;
  const char* const idle = reinterpret_cast<const char*>(heads);
  KeyStep steps[2];
  fill_step(a, begin, end, most, steps[0]);
  for (int at = 0; steps[at].keys > 0; at ^= 1) {
    const KeyStep& step = steps[at];
    KeyStep& next = steps[at ^ 1];
    fill_step(a, step.key + step.keys, end, most, next);
    Ahead next_k{next.k, next.keys, a.kv_heads, a.k_head_stride * size, a.head_dim * size, idle};
    Ahead next_v{next.v, next.keys, a.kv_heads, a.v_head_stride * size, a.head_dim_v * size, idle};
    for (int head = 0; head < a.kv_heads; ++head) heads[head].attend(step, next_k, next_v);
  }
}

template <int Dtype, int Rows>
void decode_rows(const ForwardArgs& a, char* scratch) {
  using Head = Decoder<Dtype, Rows>;
  Arena arena(scratch);
  auto* const heads = arena.take<Head>(a.kv_heads);
  float* const row = arena.take<float>(larger(a.head_dim, a.head_dim_v));
  for (int head = 0; head < a.kv_heads; ++head) {
    float* const q = arena.take<float>(Rows * a.head_dim);
    float* const o = arena.take<float>(Rows * a.head_dim_v);
    new (heads + head) Head(head_args(a, head), head, q, o);
  }
  for (const Units& units : {kBase2, kNatural}) {
    for (int head = 0; head < a.kv_heads; ++head) heads[head].begin(units, row);
    const int64_t first = larger(a.key_begin, heads[0].some_begin);
    const int64_t last = smaller(a.key_end, heads[0].some_end);
    const int64_t sinks = smaller(smaller(a.sink_tokens, first), last);
    decode_keys(heads, a.key_begin, sinks);
    decode_keys(heads, first, last);
    bool again = false;
    for (int head = 0; head < a.kv_heads; ++head) again |= heads[head].finish(row);
    if (!again) return;
  }
}

template <int Rows>
void decode_dtype(const ForwardArgs& a, char* scratch) {
  if (a.k.dtype == kFloat32) return decode_rows<kFloat32, Rows>(a, scratch);
  if (a.k.dtype == kFloat16) return decode_rows<kFloat16, Rows>(a, scratch);
  if (a.k.dtype == kInt8) return decode_rows<kInt8, Rows>(a, scratch);
  decode_rows<kBFloat16, Rows>(a, scratch);
}

size_t decode_scratch(const ForwardArgs& a) {
  const size_t row = sizeof(float) * static_cast<size_t>(larger(a.head_dim, a.head_dim_v));
  const size_t head = sizeof(Decoder<kFloat32, kDecodeRows>) + 2 * aligned(kDecodeRows * row);
  return static_cast<size_t>(a.kv_heads) * aligned(head) + aligned(row) + 64;
}

/**
 * At most kDecodeRows rows; head dims that fill vectors; unit stride along K and V, not of float8;
 * no block mask, no dropout.
 */
void decode(const ForwardArgs& all, char* scratch) {
  const KeyMask mask(all, false);
  const ForwardArgs& a = mask.rest;
  const int64_t rows = a.row_end - a.row_begin;
  if (rows == 1) return decode_dtype<1>(a, scratch);
  if (rows == 2) return decode_dtype<2>(a, scratch);
  if (rows <= 4) return decode_dtype<4>(a, scratch);
  if constexpr (kDecodeRows >= 8) decode_dtype<8>(a, scratch);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
