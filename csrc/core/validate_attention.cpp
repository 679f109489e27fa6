#include <cmath>
#include <limits>

#include "core/divide.h"
#include "core/expect.h"
#include "core/validate.h"

namespace fa {

namespace {

std::string text(int64_t number) { return std::to_string(number); }

void expect_head_dim(const View& view, const char* argument, Layout layout) {
  if (view.shape[3] >= 1 && view.shape[3] <= kMaxHeadDim) return;
  refuse(ErrorCode::kShape, argument, "a tensor with a head dim from 1 to " + text(kMaxHeadDim),
         shape_text(with_public_axes(view, layout)));
}

void expect_like_q(const View& view, const View& q, const char* argument) {
  if (view.dtype == q.dtype) return;
  refuse(ErrorCode::kDType, argument, std::string(dtype_name(q.dtype)) + ", the dtype of `q`,",
         dtype_name(view.dtype));
}

/** A cache may be narrower than what is computed: 8 bits under any queries, 16 under float32. */
bool narrow_pages(const AttentionProblem& p) {
  if (!p.paged() || p.float8() || p.v.dtype != p.k.dtype) return false;
  return is_quantized(p.k.dtype) || (p.q.dtype == DType::kFloat32 && is_floating(p.k.dtype));
}

void expect_axes_within(const View& view, const char* argument, Layout layout) {
  if (view.shape[0] <= kMaxSeqlen && view.shape[1] <= kMaxSeqlen) return;
  refuse(ErrorCode::kShape, argument, "a tensor with axes of at most " + text(kMaxSeqlen),
         shape_text(with_public_axes(view, layout)));
}

void validate_qkv(const AttentionProblem& p, Layout layout) {
  const Layout keys = p.packed_keys()                          ? Layout::kPacked
                      : p.paged() || layout == Layout::kPacked ? Layout::kBshd
                                                               : layout;
  if (!p.float8()) expect_floating(p.q, "q");
  if (!narrow_pages(p)) {
    expect_like_q(p.k, p.q, "k");
    expect_like_q(p.v, p.q, "v");
  }
  expect_head_dim(p.q, "q", layout);
  expect_head_dim(p.v, "v", keys);
  if (p.paged()) {
    expect_shape(p.k, "k", {"numPages", "pageSize", "kvHeads", p.head_dim()});
  } else {
    const char* const seqlen = p.packed_keys() ? "totalK" : "seqlenK";
    const int64_t batches = p.packed_keys() ? 1 : p.batch();
    expect_shape(p.k, "k", {batches, seqlen, "kvHeads", p.head_dim()}, keys);
  }
  expect_shape(p.v, "v", {p.k.shape[0], p.k.shape[1], p.kv_heads(), "headDimV"}, keys);
  if (p.kv_heads() < 1)
    refuse(ErrorCode::kShape, "k", "a tensor with at least one head",
           shape_text(with_public_axes(p.k, keys)));
  if (p.heads() < 1 || p.heads() % p.kv_heads() != 0)
    refuse(ErrorCode::kShape, "q",
           "a tensor whose heads are a multiple of the " + text(p.kv_heads()) + " heads of `k`",
           text(p.heads()) + " heads");
  expect_axes_within(p.q, "q", layout);
  expect_axes_within(p.k, "k", keys);
  // Counters of the dropout generator, and work items, are products of these.
  if (p.batch() > std::numeric_limits<int32_t>::max() / p.heads())
    refuse(ErrorCode::kShape, "q", "a tensor whose batch * heads is below 2^31",
           shape_text(with_public_axes(p.q, layout)));
}

/** One scale per token and head, beside the pages, or per head: see page_scales_over. */
void validate_page_scales(const AttentionProblem& p) {
  const auto judge = [&](const View& scales, const char* argument) {
    if (!p.quantized_pages()) {
      if (!scales.present()) return;
      refuse(ErrorCode::kOption, argument,
             std::string("absent with ") + dtype_name(p.k.dtype) + " `k`", "some");
    }
    if (!scales.present())
      refuse(ErrorCode::kOption, argument,
             std::string("given with ") + dtype_name(p.k.dtype) + " `k` and `v`", "none");
    expect_dtype(scales, DType::kFloat32, argument);
    expect_shape(scales, argument, {p.k.shape[0], p.k.shape[1], p.kv_heads()}, Layout::kBshd,
                 ", [numPages, pageSize, kvHeads] of `k`, or [kvHeads] or [1],");
  };
  judge(p.k_scale, "kScales");
  judge(p.v_scale, "vScales");
}

/** Of float8 pages under float8 q: see head_scales_over. */
void expect_head_scales(const View& scales, const char* argument, const AttentionProblem& p) {
  expect_dtype(scales, DType::kFloat32, argument);
  if (scales.rank == 2 && scales.shape[0] == p.batch() && scales.shape[1] == p.kv_heads()) return;
  refuse(ErrorCode::kShape, argument,
         "of shape [1] or [" + text(p.kv_heads()) + "] or [" + text(p.batch()) + ", " +
             text(p.kv_heads()) + "] with `pageTable`",
         shape_text(scales));
}

void validate_scales(const AttentionProblem& p) {
  const bool q = p.q_scale.present(), k = p.k_scale.present(), v = p.v_scale.present();
  if (p.paged() && !p.float8() && !q) return validate_page_scales(p);
  if (!p.float8()) {
    if (!q && !k && !v) return;
    refuse(ErrorCode::kOption, "scales",
           std::string("absent with ") + dtype_name(p.q.dtype) + " `q`", "some");
  }
  if (!q || !k || !v) {
    const char* const missing = !q && !k && !v ? "scales"
                                : !q           ? "scales.q"
                                : !k           ? "scales.k"
                                               : "scales.v";
    refuse(ErrorCode::kOption, missing, "given with float8_e4m3 `q`, `k` and `v`",
           "none: quantize() makes them, dequantize() gives tensors that need none");
  }
  // Of packed sequences: enough for the longest one, which is a matter of their contents.
  const auto blocks = [](const View& view, const View& scales, bool packed) {
    return packed && scales.rank == 3 ? scales.shape[2] : ceil_div(view.shape[1], kScaleTokens);
  };
  expect_scales(p.q_scale, "scales.q",
                {p.batch(), p.heads(), blocks(p.q, p.q_scale, p.packed_queries())});
  if (p.paged()) {
    expect_head_scales(p.k_scale, "scales.k", p);
    expect_head_scales(p.v_scale, "scales.v", p);
    return;
  }
  expect_scales(p.k_scale, "scales.k",
                {p.batch(), p.kv_heads(), blocks(p.k, p.k_scale, p.packed_keys())});
  expect_scales(p.v_scale, "scales.v", {p.batch(), p.kv_heads()},
                p.v_scale.rank == 3 ? ". Quantize `v` with per: 'head' or 'tensor'" : "");
}

/** Queries and keys are packed or not, each for themselves. */
void validate_packing(const AttentionProblem& p) {
  if (p.packed_queries()) {
    expect_cu_seqlens(p.cu_seqlens_q, "cuSeqlensQ", p.max_seqlen_q, "maxSeqlenQ");
    expect_shape(p.q, "q", {1, "totalQ", "heads", "headDim"}, Layout::kPacked);
  }
  if (!p.cu_seqlens_k.present()) return;
  if (p.paged()) refuse(ErrorCode::kOption, "pageTable", "absent with `cuSeqlensK`", "one");
  if (p.seqlens_k.present())
    refuse(ErrorCode::kOption, "seqlensK", "absent with `cuSeqlensK`, which gives the lengths,",
           "one");
  expect_cu_seqlens(p.cu_seqlens_k, "cuSeqlensK", p.max_seqlen_k, "maxSeqlenK");
  expect_shape(p.cu_seqlens_k, "cuSeqlensK", {p.batch() + 1}, Layout::kBshd,
               p.packed_queries() ? ", like `cuSeqlensQ`," : ", [batch + 1],");
}

void validate_pages(const AttentionProblem& p) {
  expect_dtype(p.page_table, DType::kInt32, "pageTable");
  expect_shape(p.page_table, "pageTable", {p.batch(), "pagesPerSequence"});
  if (!p.seqlens_k.present())
    refuse(ErrorCode::kOption, "seqlensK", "given with `pageTable`", "none");
  const int64_t page_size = p.k.shape[1];
  if (page_size < 1)
    refuse(ErrorCode::kShape, "k", "pages of at least one key", "shape " + shape_text(p.k));
  if (p.page_table.shape[1] > kMaxSeqlen / page_size)
    refuse(ErrorCode::kShape, "pageTable",
           "of at most " + text(kMaxSeqlen / page_size) + " pages per sequence",
           shape_text(p.page_table));
}

void validate_indices(const AttentionProblem& p) {
  validate_packing(p);
  if (p.paged()) validate_pages(p);
  if (p.seqlens_k.present()) {
    expect_dtype(p.seqlens_k, DType::kInt32, "seqlensK");
    expect_shape(p.seqlens_k, "seqlensK", {p.batch()}, Layout::kBshd, ", [batch],");
  }
  if (p.first_positions.present()) {
    expect_dtype(p.first_positions, DType::kInt32, "firstPositions");
    expect_shape(p.first_positions, "firstPositions", {p.batch()}, Layout::kBshd, ", [batch],");
  }
}

void validate_modifiers(const AttentionProblem& p) {
  const auto within = [](int64_t bound) { return bound >= -kUnbounded && bound <= kUnbounded; };
  expect_option(std::isfinite(p.scale), "scale", "a finite float32 number", p.scale);
  expect_option(std::isfinite(p.softcap) && p.softcap >= 0, "softcap", "finite and at least 0",
                p.softcap);
  expect_option(p.sink_tokens >= 0 && p.sink_tokens <= kUnbounded, "sinkTokens", "at least 0",
                static_cast<double>(p.sink_tokens));
  expect_option(within(p.window_left), "windowLeft", "an integer or Infinity",
                static_cast<double>(p.window_left));
  expect_option(within(p.window_right), "windowRight", "an integer or Infinity",
                static_cast<double>(p.window_right));
  expect_option(p.dropout.p >= 0 && p.dropout.p < 1, "dropout.p", "at least 0 and below 1",
                p.dropout.p);
  expect_option(p.num_splits >= 0 && p.num_splits <= kMaxSplits, "numSplits",
                "an integer from 1 to 256", p.num_splits);
  if (p.alibi_slopes.present()) {
    const View& slopes = p.alibi_slopes;
    expect_dtype(slopes, DType::kFloat32, "alibiSlopes");
    const bool fits = slopes.rank == 2 && slopes.shape[1] == p.heads() &&
                      (slopes.shape[0] == 1 || slopes.shape[0] == p.batch());
    if (!fits)
      refuse(ErrorCode::kShape, "alibiSlopes",
             "of shape [" + text(p.heads()) + "] or [" + text(p.batch()) + ", " + text(p.heads()) +
                 "], [heads] or [batch, heads],",
             shape_text(slopes.rank == 2 && slopes.strides[0] == 0 ? without_leading_axis(slopes)
                                                                   : slopes));
  }
  if (p.sinks.present()) {
    expect_floating(p.sinks, "sinks");
    expect_shape(p.sinks, "sinks", {p.heads()}, Layout::kBshd, ", [heads],");
  }
}

void validate_tree(const AttentionProblem& p) {
  if (!p.tree_mask.present() && !p.positions.present()) return;
  const char* const there = p.tree_mask.present() ? "treeMask" : "positions";
  const char* const missing = p.tree_mask.present() ? "positions" : "treeMask";
  if (!p.tree_mask.present() || !p.positions.present())
    refuse(ErrorCode::kOption, missing, "given with " + quoted(there), "none");
  if (!p.packed_queries() || !p.paged())
    refuse(ErrorCode::kOption, "treeMask", "absent without `cuSeqlensQ` and `pageTable`", "one");
  if (p.first_positions.present())
    refuse(ErrorCode::kOption, "firstPositions", "absent with `treeMask`", "some");
  expect_dtype(p.tree_mask, DType::kInt32, "treeMask");
  expect_shape(p.tree_mask, "treeMask", {p.q.shape[1], "words"});
  expect_dtype(p.positions, DType::kInt32, "positions");
  expect_shape(p.positions, "positions", {p.q.shape[1]}, Layout::kBshd, ", one per query,");
}

/** What cuts queries or keys into sequences that have no rows or columns in common. */
const char* offsets_of(const AttentionProblem& p) {
  return p.packed_queries() ? "`cuSeqlensQ`" : p.packed_keys() ? "`cuSeqlensK`" : nullptr;
}

void validate_mask(const AttentionProblem& p) {
  if (p.packed_keys())
    refuse(ErrorCode::kOption, "mask",
           "absent with `cuSeqlensK`, whose sequences have no common columns,", "one");
  if (p.mask.dtype != DType::kBool && !is_floating(p.mask.dtype))
    refuse(ErrorCode::kDType, "mask", "one of bool, float32, float16, bfloat16",
           dtype_name(p.mask.dtype));
  const int64_t shape[] = {p.q.shape[0], p.heads(), p.q.shape[1], p.max_seqlen_k};
  bool fits = p.mask.rank == 4;
  for (int axis = 0; fits && axis < 4; ++axis) fits = p.mask.shape[axis] == shape[axis];
  if (fits) return;
  View target;
  for (const int64_t extent : shape) target.shape[target.rank++] = extent;
  refuse(ErrorCode::kShape, "mask",
         "broadcastable to " + shape_text(target) +
             (p.packed_queries() ? ", [1, heads, totalQ, seqlenK],"
                                 : ", [batch, heads, seqlenQ, seqlenK],"),
         shape_text(p.mask));
}

void validate_block_mask(const AttentionProblem& p) {
  const BlockMaskView& b = p.block_mask;
  if (const char* const offsets = offsets_of(p))
    refuse(ErrorCode::kOption, "blockMask", std::string("absent with ") + offsets, "one");
  const int64_t queries = p.q.shape[1], keys = p.max_seqlen_k;
  const bool made_for_others = (b.seqlen_q != kAnySeqlen && b.seqlen_q != queries) ||
                               (b.seqlen_k != kAnySeqlen && b.seqlen_k != keys);
  if (made_for_others)
    refuse(ErrorCode::kShape, "blockMask",
           "made for " + text(queries) + " queries and " + text(keys) + " keys",
           "one for " + text(b.seqlen_q) + " queries and " + text(b.seqlen_k) + " keys");
  expect_dtype(b.table, DType::kInt32, "blockMask");
  expect_rank(b.table, "blockMask", {"batch", "heads", "block rows", "block columns"});
  const auto expect_size = [](int64_t size) {
    expect_option(size >= 1 && size <= kMaxSeqlen, "blockMask.blockSize", "at least 1",
                  static_cast<double>(size));
  };
  expect_size(b.block_q);
  expect_size(b.block_k);
  const int64_t batch = b.table.shape[0], heads = b.table.shape[1];
  if ((batch != 1 && batch != p.batch()) || (heads != 1 && heads != p.heads()))
    refuse(ErrorCode::kShape, "blockMask",
           "made for batch 1 or " + text(p.batch()) + ", heads 1 or " + text(p.heads()),
           "one for batch " + text(batch) + ", heads " + text(heads));
  expect_shape(b.table, "blockMask",
               {batch, heads, ceil_div(queries, b.block_q), ceil_div(keys, b.block_k)},
               Layout::kBshd, ", [1 or batch, 1 or heads, block rows, block columns],");
  if (!b.bits.present()) return;
  expect_dtype(b.bits, DType::kInt32, "blockMask");
  expect_rank(b.bits, "blockMask", {"bitmaps", "block rows", "words"});
  if (b.bits.shape[0] > 0)
    expect_shape(b.bits, "blockMask", {"bitmaps", b.block_q, (b.block_k + 31) / 32});
}

void validate_outputs(const AttentionProblem& p, Layout layout) {
  if (p.out.present()) {
    expect_dtype(p.out, p.out_dtype(), "out");
    expect_shape(p.out, "out", {p.q.shape[0], p.q.shape[1], p.heads(), p.head_dim_v()}, layout);
  }
  if (p.lse.present()) {
    expect_dtype(p.lse, DType::kFloat32, "lse");
    expect_shape(p.lse, "lse", {p.q.shape[0], p.heads(), p.q.shape[1]}, layout,
                 p.packed_queries() ? ", [heads, totalQ]," : ", [batch, heads, seqlenQ],");
  }
}

}  // namespace

void expect_cu_seqlens(const View& offsets, const char* argument, int64_t longest,
                       const char* longest_argument) {
  expect_dtype(offsets, DType::kInt32, argument);
  expect_rank(offsets, argument, {"batch + 1"});
  if (offsets.shape[0] < 1)
    refuse(ErrorCode::kShape, argument, "of shape [batch + 1], with at least the first 0,",
           shape_text(offsets));
  expect_option(longest >= 0 && longest <= kMaxSeqlen, longest_argument, "a length",
                static_cast<double>(longest));
}

View checked_axes(const View& view, Layout layout, const char* argument) {
  switch (layout) {
    case Layout::kBshd: expect_rank(view, argument, {"batch", "seqlen", "heads", "headDim"}); break;
    case Layout::kBhsd: expect_rank(view, argument, {"batch", "heads", "seqlen", "headDim"}); break;
    case Layout::kPacked: expect_rank(view, argument, {"total", "heads", "headDim"}); break;
  }
  return logical(view, layout);
}

View checked_lse_axes(const View& view, Layout layout) {
  if (layout == Layout::kPacked)
    expect_rank(view, "lse", {"heads", "totalQ"});
  else
    expect_rank(view, "lse", {"batch", "heads", "seqlenQ"});
  return logical_lse(view, layout);
}

void validate(const AttentionProblem& problem, Layout layout) {
  validate_qkv(problem, layout);
  validate_indices(problem);
  validate_scales(problem);
  validate_tree(problem);
  validate_modifiers(problem);
  if (problem.mask.present()) validate_mask(problem);
  if (problem.block_mask.present()) validate_block_mask(problem);
  validate_outputs(problem, layout);
}

void refuse_float8(const std::string& where) {
  refuse(ErrorCode::kDType, "q", "float32, float16 or bfloat16 " + where,
         "float8_e4m3: dequantize() `q`, `k` and `v` first");
}

}  // namespace fa
