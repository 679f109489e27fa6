// One attention call, completely described. Every device takes this struct; `validate` is the only
// place that decides what is legal. Semantics: docs/architecture.md, "Exact semantics".
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "core/mask.h"
#include "core/shared_prefix.h"
#include "core/view.h"

namespace fa {

/**
 * A window bound that bounds nothing. Small enough that sums with sequence positions cannot
 * overflow.
 */
constexpr int64_t kUnbounded = int64_t{1} << 60;

constexpr int64_t kMaxHeadDim = 576;

constexpr int64_t kMaxSeqlen = kMaxPosition;

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

struct SequenceTable;

/** How the queries of the sequences lie: by themselves, or one after the other. */
enum class QueryLayout { kBatched, kPacked };
/** Likewise the keys and values; or in pages that a table lists. */
enum class KeyLayout { kBatched, kPacked, kPaged };

/** Whether each value is the first dims of its key, as they lie: latents (MLA). */
bool values_in_keys(const View& k, const View& v);

struct AttentionProblem {
  // Logical axis order is always [batch, seqlen, heads, dim], whatever the strides say. Queries and
  // keys lie independently of each other (v is like k):
  //   q batched  [B, Sq, H, D]
  //     packed   [1, totalQ, H, D], cu_seqlens_q
  //   k batched  [B, Sk, Hkv, D], seqlens_k optional
  //     packed   [1, totalK, Hkv, D], cu_seqlens_k
  //     paged    [pages, pageSize, Hkv, D], page_table, seqlens_k
  View q, k, v;
  View out;  // like q, with dim Dv, of out_dtype()
  // float32, natural log: [B, H, Sq], or [1, H, totalQ] of packed queries; absent when not wanted
  View lse;

  // What an element is multiplied by, float32. Of float8_e4m3 q, k and v; strides may be 0, where
  // one scale stands for several:
  //   q_scale [B, H, ceil(Sq / kScaleTokens)], k_scale [B, Hkv, ceil(Sk / kScaleTokens)],
  //   v_scale [B, Hkv]; of pages k_scale, too
  // Of pages in 8 bits, under floating q: k_scale and v_scale [pages, pageSize, Hkv]; strides are 0
  // where one stands for all rows of a head (page_scales_over).
  View q_scale, k_scale, v_scale;

  View cu_seqlens_q;     // int32 [batch + 1]: packed queries
  View cu_seqlens_k;     // int32 [batch + 1]: packed keys
  View page_table;       // int32 [batch, pagesPerSequence]: paged keys
  View seqlens_k;        // int32 [batch]: of batched keys (optional) or paged ones (required)
  View first_positions;  // int32 [batch]: where query 0 stands among the keys; optional
  // Packed queries over pages that are trees of draft tokens (speculative decoding): the last keys
  // of a sequence are those of its queries. Sequences of more queries than a row has bits are none.
  View tree_mask;  // int32 [totalQ, words]: bit t of word w: key 32 w + t of the tree is seen
  // int32 [totalQ], with a tree mask: where a query, and the key of it, stands; not before the tree
  View positions;
  int64_t max_seqlen_q = 0;  // Sq; packed: upper bound of any sequence's length
  int64_t max_seqlen_k = 0;  // Sk; packed: likewise; paged: pagesPerSequence * pageSize
  // Of a ragged call whose index tensors are not the host's, for a device that plans by lengths;
  // may be null.
  std::shared_ptr<const SequenceTable> sequences;

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
  // Sequences over pages that begin in the same ones, for a device that makes use of it; may be
  // null.
  std::shared_ptr<const std::vector<SharedPrefix>> shared_prefixes;
  bool deterministic = false;  // gradients: the same bits for any number of threads

  QueryLayout query_layout() const {
    return cu_seqlens_q.present() ? QueryLayout::kPacked : QueryLayout::kBatched;
  }
  KeyLayout key_layout() const {
    return page_table.present()     ? KeyLayout::kPaged
           : cu_seqlens_k.present() ? KeyLayout::kPacked
                                    : KeyLayout::kBatched;
  }
  int64_t batch() const { return cu_seqlens_q.present() ? cu_seqlens_q.shape[0] - 1 : q.shape[0]; }
  int64_t heads() const { return q.shape[2]; }
  int64_t kv_heads() const { return k.shape[2]; }
  int64_t group() const { return heads() / kv_heads(); }
  int64_t head_dim() const { return q.shape[3]; }
  int64_t head_dim_v() const { return v.shape[3]; }
  bool values_in_keys() const { return fa::values_in_keys(k, v); }
  bool float8() const { return q.dtype == DType::kFloat8E4M3; }
  DType out_dtype() const { return float8() ? DType::kBFloat16 : q.dtype; }
  /** Whether rows of q, or of k, may belong to no sequence. */
  bool ragged() const { return packed_queries() || packed_keys() || seqlens_k.present(); }
  bool packed_queries() const { return query_layout() == QueryLayout::kPacked; }
  bool packed_keys() const { return key_layout() == KeyLayout::kPacked; }
  bool paged() const { return key_layout() == KeyLayout::kPaged; }
  /** Whether keys and values are pages in 8 bits. */
  bool quantized_pages() const { return paged() && !float8() && is_quantized(k.dtype); }
  /** Whether a sequence is a tree. */
  bool tree(int64_t seqlen_q) const {
    return tree_mask.present() && seqlen_q <= tree_mask.shape[1] * 32;
  }
};

/**
 * Calls `function` with the tensors whose contents decide what is legal, as far as they are
 * present.
 */
template <typename Function>
void for_each_index(AttentionProblem& problem, Function function) {
  for (View* view :
       {&problem.cu_seqlens_q, &problem.cu_seqlens_k, &problem.page_table, &problem.seqlens_k,
        &problem.first_positions, &problem.positions, &problem.block_mask.table}) {
    if (view->present()) function(*view);
  }
}

/**
 * What the backward pass of a problem reads beside it, and writes. The problem's out and lse are
 * inputs then.
 */
struct AttentionGradients {
  View dout;        // like out
  View dq, dk, dv;  // contiguous, shaped like q, k, v
  View dsinks;      // float32 [H]; present iff the problem has sinks
};

/** Where one sequence of the batch lies. */
struct Sequence {
  // Rows q_begin .. q_begin + seqlen_q of q[q_batch], and likewise of k and v; paged keys go
  // through the page table.
  int64_t q_batch, q_begin, seqlen_q;
  int64_t k_batch, k_begin, seqlen_k;
  // Query i stands at first_position + i among the keys: for windows and ALiBi. By default the last
  // query stands at the last key.
  int64_t first_position;
};

/** By the table of sequences, or else by index tensors, which the host can read then. */
Sequence sequence(const AttentionProblem& problem, int64_t batch);

/** The sequences of a batch, as the host knows them. */
struct SequenceTable {
  std::vector<Sequence> sequences;
  /** What a device has made of them for one call and keeps for the next. Its stream's thread's. */
  mutable std::shared_ptr<void> prepared;
};

/** Of a ragged problem whose index tensors the host can read; null of another. */
std::shared_ptr<const SequenceTable> sequence_table(const AttentionProblem& problem);

/**
 * Scales of shape [1], [batch, heads] or `shape` itself, as a view of `shape`: strides are 0 where
 * one scale stands for several. Another comes back as it is, for `validate` to judge.
 */
View scales_over(const View& scales, std::initializer_list<int64_t> shape);

/**
 * Scales of float8 pages, of shape [1], [heads] or [batch, heads], as a view of [batch, heads].
 * Sequences may share pages, so there are none per token of a sequence. Another comes back as it
 * is.
 */
View head_scales_over(const View& scales, int64_t batch, int64_t heads);

/**
 * Scales of pages [pages, pageSize, heads, dim] under floating q: those of shape [1] or [heads] as
 * a view of [pages, pageSize, heads]. Others come back as they are.
 */
View page_scales_over(const View& scales, const View& pages);

/**
 * A mask that broadcasts, from the right, to `shape`, as a view of `shape`: strides are 0 along
 * axes that are missing or of length 1. Another comes back as it is, for `validate` to judge.
 */
View mask_over(const View& mask, std::initializer_list<int64_t> shape);

}  // namespace fa
