// One attention call, completely described. Every device takes this struct; `validate` is the only
// place that decides what is legal. Semantics: docs/architecture.md, "Exact semantics".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/view.h"

namespace fa {

/**
 * A window bound that bounds nothing. Small enough that sums with sequence positions cannot
 * overflow.
 */
constexpr int64_t kUnbounded = int64_t{1} << 60;

constexpr int64_t kMaxHeadDim = 576;

/** Positions are int32 in kernels. */
constexpr int64_t kMaxSeqlen = (int64_t{1} << 30) - 1;

/** A block mask's length that is not known. */
constexpr int64_t kAnySeqlen = -1;

/** Consecutive tokens of a head of q or k that share a scale. */
constexpr int64_t kScaleTokens = 128;

/**
 * Block-sparse pattern: cell (bq, bk) is 0 = skip, 1 = full, n >= 2 = partial with bitmap n - 2.
 */
struct BlockMaskView {
  View table;  // int32 [batch or 1, heads or 1, ceil(seqlen_q / block_q), ceil(seqlen_k / block_k)]
  // int32 [bitmaps, block_q, ceil(block_k / 32)]: bit t of word w is key 32 w + t. May have 0
  // bitmaps.
  View bits;
  int64_t block_q = 0;
  int64_t block_k = 0;
  int64_t seqlen_q = kAnySeqlen;  // what it was made for
  int64_t seqlen_k = kAnySeqlen;
  bool present() const { return table.present(); }
};

/** Philox4x32-10 by (seed, offset, batch, head, i, j): see core/philox.h. */
struct Dropout {
  double p = 0;  // probability of dropping a pair
  uint64_t seed = 0;
  uint64_t offset = 0;
};

struct AttentionProblem {
  // Logical axis order is always [batch, seqlen, heads, dim], whatever the strides say.
  //   dense   q [B, Sq, H, D]       k [B, Sk, Hkv, D]               v [B, Sk, Hkv, Dv]
  //   varlen  q [1, totalQ, H, D]   k [1, totalK, Hkv, D]           v [1, totalK, Hkv, Dv]
  //           + cu_seqlens_q, cu_seqlens_k
  //   paged   q [B, Sq, H, D]       k [pages, pageSize, Hkv, D]     v [pages, pageSize, Hkv, Dv]
  //           + page_table, seqlens_k
  View q, k, v;
  View out;  // like q, with dim Dv, of out_dtype()
  // float32, natural log: dense and paged [B, H, Sq], varlen [1, H, totalQ]; absent when not wanted
  View lse;

  // float8_e4m3 only: what an element is multiplied by. Strides may be 0, where one scale stands
  // for several.
  View q_scale;  // float32 [B, H, ceil(Sq / kScaleTokens)]
  View k_scale;  // float32 [B, Hkv, ceil(Sk / kScaleTokens)]
  View v_scale;  // float32 [B, Hkv]

  View cu_seqlens_q;         // int32 [batch + 1], varlen only
  View cu_seqlens_k;         // int32 [batch + 1], varlen only
  View page_table;           // int32 [batch, pagesPerSequence], paged only
  View seqlens_k;            // int32 [batch]: dense (optional) and paged (required)
  int64_t max_seqlen_q = 0;  // varlen: upper bound of any sequence's length; else Sq
  int64_t max_seqlen_k = 0;  // varlen: likewise; dense Sk; paged pagesPerSequence * pageSize

  float scale = 1;
  int64_t window_left = kUnbounded;  // causal caps window_right at 0
  int64_t window_right = kUnbounded;
  int64_t sink_tokens = 0;
  float softcap = 0;  // 0: none
  View alibi_slopes;  // float32 [H] or [B, H], as [1 or B, H]
  View mask;  // bool or float32/float16/bfloat16, [B, H, Sq, Sk] with strides 0 where broadcast
  BlockMaskView block_mask;
  View sinks;  // float32/float16/bfloat16 [H]
  Dropout dropout;
  int num_splits = 0;  // 0: chosen by the device

  int64_t batch() const { return cu_seqlens_q.present() ? cu_seqlens_q.shape[0] - 1 : q.shape[0]; }
  int64_t heads() const { return q.shape[2]; }
  int64_t kv_heads() const { return k.shape[2]; }
  int64_t group() const { return heads() / kv_heads(); }
  int64_t head_dim() const { return q.shape[3]; }
  int64_t head_dim_v() const { return v.shape[3]; }
  bool float8() const { return q.dtype == DType::kFloat8E4M3; }
  DType out_dtype() const { return float8() ? DType::kBFloat16 : q.dtype; }
  bool varlen() const { return cu_seqlens_q.present(); }
  bool paged() const { return page_table.present(); }
};

/**
 * Calls `function` with the tensors whose contents decide what is legal, as far as they are
 * present.
 */
template <typename Function>
void for_each_index(AttentionProblem& problem, Function function) {
  for (View* view : {&problem.cu_seqlens_q, &problem.cu_seqlens_k, &problem.page_table,
                     &problem.seqlens_k, &problem.block_mask.table}) {
    if (view->present()) function(*view);
  }
}

/**
 * What the backward pass of a problem reads beside it, and writes. The problem's out and lse are
 * inputs then.
 */
struct AttentionGradients {
  View dout;                   // like out
  View dq, dk, dv;             // contiguous, shaped like q, k, v
  View dsinks;                 // float32 [H]; present iff the problem has sinks
  bool deterministic = false;  // the same bits for any number of threads
};

/** Where one sequence of the batch lies. */
struct Sequence {
  int64_t q_batch, q_begin, seqlen_q;  // rows q_begin .. q_begin + seqlen_q of q[q_batch]
  int64_t k_batch, k_begin,
      seqlen_k;  // likewise of k and v; paged: k_begin is 0, rows go through the page table
  int64_t offset() const {
    return seqlen_k - seqlen_q;
  }  // bottom-right alignment: query i stands at i + offset
};

Sequence sequence(const AttentionProblem& problem, int64_t batch);

/**
 * Scales of shape [1], [batch, heads] or `shape` itself, as a view of `shape`: strides are 0 where
 * one scale stands for several. Another comes back as it is, for `validate` to judge.
 */
View scales_over(const View& scales, std::initializer_list<int64_t> shape);

/**
 * A mask that broadcasts, from the right, to `shape`, as a view of `shape`: strides are 0 along
 * axes that are missing or of length 1. Another comes back as it is, for `validate` to judge.
 */
View mask_over(const View& mask, std::initializer_list<int64_t> shape);

}  // namespace fa
