// What every attention kernel is told about a call: AttentionProblem in the form kernels read it,
// positions as int32, options prepared. Filled by base/params.cpp.
#pragma once

#include <cstdint>

#include "core/mask.h"
#include "cuda/device/fast_divide.h"

namespace fa::cuda {

/**
 * A tensor [batch, row, head, dim] in device memory, strides in elements. Paged keys: batch is the
 * page.
 */
struct Tensor {
  void* data;
  int64_t batch, row, head, dim;
};

/** What the elements of a row in pages of 8 bits are multiplied by: [page, row, head]. */
struct RowScales {
  const float* data;  // null: none
  int64_t page, row, head;
};

/** One float32 per row: [batch, head, row]. */
struct RowScalars {
  float* data;  // null: not wanted
  int64_t batch, head, row;
};

/** int32 [n] in device memory. */
struct Indices {
  const int32_t* data;  // null: absent
  int64_t stride;
};

/** Keys in pages: key j of sequence b is row j % page_size of page table[b][j / page_size]. */
struct Pages {
  const int32_t* table;  // null: not paged
  int64_t batch_stride, stride;
  int count;  // pages there are
  FastDivide page_size;
};

/** A dense mask, [batch, head, i, j], strides in elements. */
struct MaskParams {
  const void* data;  // null: absent
  int dtype;         // a DType
  int64_t batch, head, row, key;
};

/** See core/attention.h, BlockMaskView. */
struct BlockMaskParams {
  const int32_t* cells;  // null: absent
  int64_t batch, head, row, column;
  FastDivide block_q, block_k;
  const int32_t* bits;
  int64_t bitmap, bit_row, bit_word;
  int bitmaps;
};

/** A tree of draft tokens: see core/attention.h. */
struct TreeParams {
  const int32_t* bits;  // null: none
  int64_t row, word;
  int tokens;  // sequences of more queries are no trees
  Indices positions;
};

/** See core/philox.h. */
struct DropoutParams {
  bool enabled;
  uint32_t threshold;
  float keep_scale;  // 1 / (1 - p)
  uint32_t key0, key1, offset_lo;
};

struct AttentionParams {
  Tensor q, k, v, out;
  RowScalars lse;

  int batch;
  int heads, kv_heads;
  FastDivide group;  // heads / kv_heads
  int head_dim, head_dim_v;
  int seqlen_q, seqlen_k;  // upper bounds of any sequence's lengths
  int total_q, total_k;    // packed tokens, of queries and of keys; else 0
  Indices cu_seqlens_q, cu_seqlens_k, seqlens_k, first_positions;
  Pages pages;
  // Pages of another dtype than q's: 8 bits, or 16 under float32. Featured kernels alone read them.
  bool converted;
  int query_dtype;  // a DType: of q, and of out unless that is wider
  int key_dtype;    // a DType: of k and v
  RowScales k_scales, v_scales;
  // All rows of q and out, and of k and v unless they are converted, are multiples of 16 bytes at
  // multiples of 16 bytes.
  bool aligned;

  float scale, scale_log2;                     // the second one times log2(e)
  int window_left, window_right, sink_tokens;  // within 2^30 of 0: see BasicWindowMask
  float softcap, softcap_reciprocal;           // 0: none
  const float* alibi_slopes;                   // null: none
  int64_t alibi_batch, alibi_head;
  const void* sinks;  // null: none
  int sinks_dtype;
  int64_t sinks_head;
  MaskParams mask;
  BlockMaskParams block_mask;
  TreeParams tree;
  DropoutParams dropout;
};

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

}  // namespace fa::cuda
