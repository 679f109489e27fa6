// What the per-ISA kernels take: plain data, no functions, so that nothing compiled for one
// instruction set is shared with another.
#pragma once

#include <cstdint>

namespace fa::cpu {

/** Rows of numbers in memory; strides in elements. */
struct Rows {
  char* base;
  int dtype;  // fa::DType
  int64_t row_stride;
  int64_t dim_stride;
};

/** What the elements of a row in pages of 8 bits are multiplied by; strides in elements. */
struct RowScales {
  const float* base;  // null: none
  int64_t page_stride, row_stride, head_stride;
};

/**
 * Dense mask of one (batch, kv head): element (g, i, j) at base + g * head_stride + i * row_stride
 * + j * key_stride.
 */
struct DenseMask {
  const char* base;  // null: none
  int dtype;
  int64_t head_stride, row_stride, key_stride;
};

/** Block mask of one (batch, kv head). */
struct BlockMaskArgs {
  const int32_t* cells;  // null: none
  int64_t head_stride, row_stride, column_stride;
  const int32_t* bits;
  int64_t bitmap_stride, bit_row_stride, bit_word_stride;
  int64_t block_q, block_k;
};

/**
 * A tree of draft tokens: the last seqlen_q keys are those of the queries. Query i sees key t of
 * them if bit t % 32 of word t / 32 of its row is set, and both stand where `positions` says.
 */
struct TreeArgs {
  const int32_t* bits;  // null: none
  int64_t row_stride, word_stride;
  const int32_t* positions;
  int64_t position_stride;
};

struct DropoutArgs {
  bool enabled;
  uint32_t threshold;  // words below it are dropped
  float keep_scale;    // 1 / (1 - p)
  uint32_t key0, key1;
  uint32_t stream0;  // batch * heads + first query head of the group
  uint32_t offset_lo;
};

/**
 * One (batch, kv head) problem and the part of it that a work item computes. The `group` query
 * heads that share the kv head are packed into rows: row r is query r / group of head r % group, so
 * that each key and value is read once for all of them (GQA packing).
 */
struct ForwardArgs {
  Rows q;  // row i; head g at q_head_stride
  int64_t q_head_stride;
  Rows k, v;  // row j of the sequence
  // null: rows are contiguous in `k.row_stride`; else page of keys j / page_size
  const int32_t* pages;
  int64_t pages_stride;
  int64_t page_size, k_page_stride, v_page_stride;
  RowScales k_scale, v_scale;  // of pages, those of the first head
  Rows out;                    // row i; head g at out_head_stride
  int64_t out_head_stride;
  // null: not wanted; row i of head g at lse + i * lse_row_stride + g * lse_head_stride
  float* lse;
  int64_t lse_row_stride, lse_head_stride;
  float* lse_rest;  // null, or likewise: what rounding left out of the lse, for merging splits

  int64_t seqlen_q, seqlen_k;
  int64_t first_position;  // of query 0 among the keys
  int64_t window_left, window_right, sink_tokens;
  int head_dim, head_dim_v, group;
  int kv_heads;  // of this item; more than one only in decoding
  int64_t k_head_stride, v_head_stride;

  float scale;
  float softcap;              // 0: none
  const float* alibi_slopes;  // [group] or null
  int64_t alibi_stride;
  const float* sink_logits;  // [group] or null
  DenseMask mask;
  BlockMaskArgs block_mask;
  TreeArgs tree;
  DropoutArgs dropout;

  int64_t row_begin, row_end;  // packed rows of this work item
  int64_t key_begin, key_end;  // keys of this split
  bool first_split;            // the one that counts the sink logit
  int panels;                  // register tiles that share a pass over the keys
  int tile_k;                  // keys per tile
  const ForwardArgs* next;     // what the thread computes after this; null: unknown
};

/**
 * Rows of one head lie pages apart, where no hardware prefetcher looks: loops over rows ask for
 * them this much ahead.
 */
constexpr int64_t kRowsAhead = 8;

/** Query rows that add to dK and dV together: work items are whole groups. */
constexpr int64_t kBackwardGroupRows = 96;

/**
 * Gradients of a work item: rows [row_begin, row_end) of `forward`, whose out and lse are read,
 * against all keys.
 */
struct BackwardArgs {
  ForwardArgs forward;
  Rows dout;  // row i; head g at dout_head_stride
  int64_t dout_head_stride;
  Rows dq;
  int64_t dq_head_stride;
  float* dk;  // [seqlen_k][head_dim rounded up to 16]: sum over this item's rows, without the scale
  float* dv;  // [seqlen_k][head_dim_v rounded up to 16]
  float* dsinks;  // [group], sum over this item's rows; null: not wanted
};

/** Tokens [begin, end) of one head of a convolution: core/convolution.h. */
struct ConvolveArgs {
  Rows x;        // row i: token i
  Rows state;    // row K - 1 + i: token i < 0; base null: zeros
  Rows weights;  // row i: logits of the taps of token i; a row stride of 0 when all are the same
  Rows out;      // row i
  int kernel_size, dim;
  int64_t begin, end;
};

}  // namespace fa::cpu
