#include "cuda/base/params.h"

#include <algorithm>

#include "core/philox.h"

namespace fa::cuda {

namespace {

/** Keeps a window's bound apart from any position, and its sums with positions within int32. */
int clamp_bound(int64_t bound) { return static_cast<int>(std::clamp<int64_t>(bound, -kFar, kFar)); }

Indices indices(const View& view) {
  return {static_cast<const int32_t*>(view.data), view.strides[0]};
}

RowScales row_scales(const View& view) {
  return {static_cast<const float*>(view.data), view.strides[0], view.strides[1], view.strides[2]};
}

MaskParams mask_params(const View& mask) {
  if (!mask.present()) return {};
  return {.data = mask.data,
          .dtype = static_cast<int>(mask.dtype),
          .batch = mask.shape[0] == 1 ? 0 : mask.strides[0],
          .head = mask.strides[1],
          .row = mask.strides[2],
          .key = mask.strides[3]};
}

BlockMaskParams block_mask_params(const BlockMaskView& mask) {
  BlockMaskParams b{};
  if (!mask.present()) return b;
  const View& table = mask.table;
  b.cells = static_cast<const int32_t*>(table.data);
  b.batch = table.shape[0] == 1 ? 0 : table.strides[0];
  b.head = table.shape[1] == 1 ? 0 : table.strides[1];
  b.row = table.strides[2];
  b.column = table.strides[3];
  b.block_q = FastDivide(mask.block_q);
  b.block_k = FastDivide(mask.block_k);
  if (mask.bits.present()) {
    b.bits = static_cast<const int32_t*>(mask.bits.data);
    b.bitmap = mask.bits.strides[0];
    b.bit_row = mask.bits.strides[1];
    b.bit_word = mask.bits.strides[2];
    b.bitmaps = static_cast<int>(mask.bits.shape[0]);
  }
  return b;
}

DropoutParams dropout_params(const Dropout& dropout) {
  if (dropout.p <= 0) return {};
  return {.enabled = true,
          .threshold = dropout_threshold(dropout.p),
          .keep_scale = static_cast<float>(1 / (1 - dropout.p)),
          .key0 = static_cast<uint32_t>(dropout.seed),
          .key1 = static_cast<uint32_t>(dropout.seed >> 32) ^
                  static_cast<uint32_t>(dropout.offset >> 32),
          .offset_lo = static_cast<uint32_t>(dropout.offset)};
}

}  // namespace

Tensor tensor_params(const View& view) {
  if (!view.present()) return {};
  return {view.data, view.strides[0], view.strides[1], view.strides[2], view.strides[3]};
}

bool aligned_rows(const View& view) {
  constexpr int64_t kBytes = 16;
  const int64_t size = static_cast<int64_t>(dtype_size(view.dtype));
  if (reinterpret_cast<uintptr_t>(view.data) % kBytes != 0) return false;
  if (view.shape[3] * size % kBytes != 0 || (view.strides[3] != 1 && view.shape[3] > 1))
    return false;
  for (int axis = 0; axis < 3; ++axis)
    if (view.shape[axis] > 1 && view.strides[axis] * size % kBytes != 0) return false;
  return true;
}

AttentionParams attention_params(const AttentionProblem& p) {
  AttentionParams a{};
  a.q = tensor_params(p.q);
  a.k = tensor_params(p.k);
  a.v = tensor_params(p.v);
  a.out = tensor_params(p.out);
  if (p.lse.present()) {
    a.lse = {static_cast<float*>(p.lse.data), p.lse.strides[0], p.lse.strides[1], p.lse.strides[2]};
  }
  a.batch = static_cast<int>(p.batch());
  a.heads = static_cast<int>(p.heads());
  a.kv_heads = static_cast<int>(p.kv_heads());
  a.group = FastDivide(p.group());
  a.head_dim = static_cast<int>(p.head_dim());
  a.head_dim_v = static_cast<int>(p.head_dim_v());
  a.seqlen_q = static_cast<int>(p.max_seqlen_q);
  a.seqlen_k = static_cast<int>(p.max_seqlen_k);
  if (p.packed_queries()) {
    a.total_q = static_cast<int>(p.q.shape[1]);
    a.cu_seqlens_q = indices(p.cu_seqlens_q);
  }
  if (p.packed_keys()) {
    a.total_k = static_cast<int>(p.k.shape[1]);
    a.cu_seqlens_k = indices(p.cu_seqlens_k);
  }
  if (p.seqlens_k.present()) a.seqlens_k = indices(p.seqlens_k);
  if (p.first_positions.present()) a.first_positions = indices(p.first_positions);
  if (p.paged()) {
    a.pages = {static_cast<const int32_t*>(p.page_table.data), p.page_table.strides[0],
               p.page_table.strides[1], static_cast<int>(p.k.shape[0]), FastDivide(p.k.shape[1])};
  }
  a.converted = p.k.dtype != p.q.dtype;
  a.query_dtype = static_cast<int>(p.q.dtype);
  a.key_dtype = static_cast<int>(p.k.dtype);
  if (p.quantized_pages()) {
    a.k_scales = row_scales(p.k_scale);
    a.v_scales = row_scales(p.v_scale);
  }
  a.aligned = aligned_rows(p.q) && (a.converted || (aligned_rows(p.k) && aligned_rows(p.v))) &&
              (!p.out.present() || aligned_rows(p.out));

  a.scale = p.scale;
  a.scale_log2 = p.scale * kLog2E;
  a.window_left = clamp_bound(p.window_left);
  a.window_right = clamp_bound(p.window_right);
  a.sink_tokens = clamp_bound(p.sink_tokens);
  a.softcap = p.softcap;
  // Finite even for the least caps: times a score of 0 it is 0.
  if (p.softcap > 0) a.softcap_reciprocal = std::min(1 / p.softcap, kLargestFinite);
  if (p.alibi_slopes.present()) {
    a.alibi_slopes = static_cast<const float*>(p.alibi_slopes.data);
    a.alibi_batch = p.alibi_slopes.shape[0] == 1 ? 0 : p.alibi_slopes.strides[0];
    a.alibi_head = p.alibi_slopes.strides[1];
  }
  if (p.sinks.present()) {
    a.sinks = p.sinks.data;
    a.sinks_dtype = static_cast<int>(p.sinks.dtype);
    a.sinks_head = p.sinks.strides[0];
  }
  a.mask = mask_params(p.mask);
  a.block_mask = block_mask_params(p.block_mask);
  if (p.tree_mask.present())
    a.tree = {.bits = static_cast<const int32_t*>(p.tree_mask.data),
              .row = p.tree_mask.strides[0],
              .word = p.tree_mask.strides[1],
              .tokens = static_cast<int>(std::min<int64_t>(p.tree_mask.shape[1] * 32, kFar)),
              .positions = indices(p.positions)};
  a.dropout = dropout_params(p.dropout);
  return a;
}

}  // namespace fa::cuda
