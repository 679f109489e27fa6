// The only place that decides what an attention call may look like.
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <limits>

#include "core/attention.h"
#include "core/error.h"
#include "core/quantize.h"

namespace fa {

namespace {

constexpr int kMaxSplits = 256;

[[noreturn, gnu::format(printf, 3, 4)]] void fail(ErrorCode code, const char* argument,
                                                  const char* format, ...) {
  char message[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(message, sizeof message, format, args);
  va_end(args);
  throw Error(code, argument, message);
}

void expect_rank(const View& view, int rank, const char* argument, const char* axes) {
  if (view.rank != rank) {
    fail(ErrorCode::kShape, argument, "Expected %s of rank %d, %s, but received shape %s", argument,
         rank, axes, shape_text(view).c_str());
  }
}

void expect_floating(const View& view, const char* argument) {
  if (!is_floating(view.dtype)) {
    fail(ErrorCode::kDType, argument,
         "Expected %s to be float32, float16 or bfloat16 but received %s", argument,
         dtype_name(view.dtype));
  }
}

void expect_same_dtype(const View& view, const View& q, const char* argument) {
  if (view.dtype != q.dtype) {
    fail(ErrorCode::kDType, argument, "Expected %s to have the dtype of q, %s, but received %s",
         argument, dtype_name(q.dtype), dtype_name(view.dtype));
  }
}

void expect_dtype(const View& view, DType dtype, const char* argument) {
  if (view.dtype != dtype) {
    fail(ErrorCode::kDType, argument, "Expected %s to be %s but received %s", argument,
         dtype_name(dtype), dtype_name(view.dtype));
  }
}

void expect_extent(const View& view, int axis, int64_t extent, const char* argument,
                   const char* meaning) {
  if (view.shape[axis] != extent) {
    fail(ErrorCode::kShape, argument,
         "Expected axis %d of %s to be %s, %lld, but received shape %s", axis, argument, meaning,
         static_cast<long long>(extent), shape_text(view).c_str());
  }
}

void expect_option(bool ok, const char* argument, const char* expected, double given) {
  if (!ok)
    fail(ErrorCode::kOption, argument, "Expected %s to be %s but received %g", argument, expected,
         given);
}

void validate_qkv(const AttentionProblem& p) {
  expect_rank(p.q, 4, "q", "batch, seqlen, heads, headDim");
  expect_rank(
      p.k, 4, "k",
      p.paged() ? "numPages, pageSize, kvHeads, headDim" : "batch, seqlen, kvHeads, headDim");
  expect_rank(
      p.v, 4, "v",
      p.paged() ? "numPages, pageSize, kvHeads, headDim" : "batch, seqlen, kvHeads, headDim");
  if (!p.float8()) expect_floating(p.q, "q");
  expect_same_dtype(p.k, p.q, "k");
  expect_same_dtype(p.v, p.q, "v");
  const int64_t head_dim = p.head_dim(), head_dim_v = p.head_dim_v();
  if (head_dim < 1 || head_dim > kMaxHeadDim) {
    fail(ErrorCode::kShape, "q", "Expected the head dim of q to be 1 to %lld but received shape %s",
         static_cast<long long>(kMaxHeadDim), shape_text(p.q).c_str());
  }
  if (head_dim_v < 1 || head_dim_v > kMaxHeadDim) {
    fail(ErrorCode::kShape, "v", "Expected the head dim of v to be 1 to %lld but received shape %s",
         static_cast<long long>(kMaxHeadDim), shape_text(p.v).c_str());
  }
  expect_extent(p.k, 3, head_dim, "k", "the head dim of q");
  if (p.kv_heads() < 1)
    fail(ErrorCode::kShape, "k", "Expected k to have at least one head but received shape %s",
         shape_text(p.k).c_str());
  expect_extent(p.v, 2, p.kv_heads(), "v", "the heads of k");
  if (p.heads() < 1 || p.heads() % p.kv_heads() != 0) {
    fail(ErrorCode::kShape, "q",
         "Expected the heads of q to be a multiple of the %lld heads of k but received %lld",
         static_cast<long long>(p.kv_heads()), static_cast<long long>(p.heads()));
  }
  if (!p.paged()) expect_extent(p.k, 0, p.q.shape[0], "k", "the batch of q");
  expect_extent(p.v, 0, p.k.shape[0], "v", p.paged() ? "the pages of k" : "the batch of k");
  expect_extent(p.v, 1, p.k.shape[1], "v", p.paged() ? "the page size of k" : "the seqlen of k");
  const View* views[] = {&p.q, &p.k};
  const char* names[] = {"q", "k"};
  for (int i = 0; i < 2; ++i) {
    if (views[i]->shape[1] > kMaxSeqlen || views[i]->shape[0] > kMaxSeqlen) {
      fail(ErrorCode::kShape, names[i],
           "Expected the axes of %s to be at most %lld but received shape %s", names[i],
           static_cast<long long>(kMaxSeqlen), shape_text(*views[i]).c_str());
    }
  }
  // Counters of the dropout generator, and work items, are products of these.
  if (p.batch() > std::numeric_limits<int32_t>::max() / p.heads()) {
    fail(ErrorCode::kShape, "q",
         "Expected batch * heads of q to be below 2^31 but received shape %s",
         shape_text(p.q).c_str());
  }
}

void expect_scale(const View& scale, const char* argument, const View& tensor, const char* name,
                  int rank) {
  if (!scale.present())
    fail(ErrorCode::kOption, argument, "Expected %s beside a float8_e4m3 %s but received none",
         argument, name);
  expect_rank(scale, rank, argument,
              rank == 3 ? "batch, heads, blocks of 128 tokens" : "batch, heads");
  expect_dtype(scale, DType::kFloat32, argument);
  expect_extent(scale, 0, tensor.shape[0], argument, "the batch");
  expect_extent(scale, 1, tensor.shape[2], argument, "the heads");
  if (rank == 3)
    expect_extent(scale, 2, (tensor.shape[1] + kScaleTokens - 1) / kScaleTokens, argument,
                  "ceil(seqlen / 128)");
}

void validate_scales(const AttentionProblem& p) {
  if (!p.float8()) {
    if (p.q_scale.present() || p.k_scale.present() || p.v_scale.present())
      fail(ErrorCode::kOption, "scales", "Expected no scales with %s tensors but received some",
           dtype_name(p.q.dtype));
    return;
  }
  if (p.varlen() || p.paged())
    fail(ErrorCode::kDType, "q",
         "Expected q to be float32, float16 or bfloat16 with %s but received float8_e4m3",
         p.varlen() ? "cuSeqlensQ" : "pageTable");
  expect_scale(p.q_scale, "scales.q", p.q, "q", 3);
  expect_scale(p.k_scale, "scales.k", p.k, "k", 3);
  expect_scale(p.v_scale, "scales.v", p.v, "v", 2);
}

void validate_indices(const AttentionProblem& p) {
  if (p.varlen()) {
    if (!p.cu_seqlens_k.present())
      fail(ErrorCode::kOption, "cuSeqlensK",
           "Expected cuSeqlensK beside cuSeqlensQ but received none");
    if (p.paged())
      fail(ErrorCode::kOption, "pageTable", "Expected pageTable or cuSeqlensQ but received both");
    if (p.seqlens_k.present())
      fail(ErrorCode::kOption, "seqlensK",
           "Expected cuSeqlensK to give the lengths but received seqlensK too");
    expect_rank(p.cu_seqlens_q, 1, "cuSeqlensQ", "batch + 1");
    expect_rank(p.cu_seqlens_k, 1, "cuSeqlensK", "batch + 1");
    expect_dtype(p.cu_seqlens_q, DType::kInt32, "cuSeqlensQ");
    expect_dtype(p.cu_seqlens_k, DType::kInt32, "cuSeqlensK");
    if (p.cu_seqlens_q.shape[0] < 1)
      fail(ErrorCode::kShape, "cuSeqlensQ",
           "Expected cuSeqlensQ to hold at least the 0 it starts with but received shape [0]");
    expect_extent(p.cu_seqlens_k, 0, p.cu_seqlens_q.shape[0], "cuSeqlensK", "batch + 1");
    expect_extent(p.q, 0, 1, "q", "one packed batch");
    expect_option(p.max_seqlen_q >= 0 && p.max_seqlen_q <= kMaxSeqlen, "maxSeqlenQ", "a length",
                  static_cast<double>(p.max_seqlen_q));
    expect_option(p.max_seqlen_k >= 0 && p.max_seqlen_k <= kMaxSeqlen, "maxSeqlenK", "a length",
                  static_cast<double>(p.max_seqlen_k));
  } else if (p.cu_seqlens_k.present()) {
    fail(ErrorCode::kOption, "cuSeqlensQ",
         "Expected cuSeqlensQ beside cuSeqlensK but received none");
  }
  if (p.paged()) {
    expect_rank(p.page_table, 2, "pageTable", "batch, pages per sequence");
    expect_dtype(p.page_table, DType::kInt32, "pageTable");
    expect_extent(p.page_table, 0, p.batch(), "pageTable", "the batch of q");
    if (!p.seqlens_k.present())
      fail(ErrorCode::kOption, "seqlensK", "Expected seqlensK beside pageTable but received none");
    if (p.k.shape[1] < 1)
      fail(ErrorCode::kShape, "k", "Expected a page size of at least 1 but received shape %s",
           shape_text(p.k).c_str());
    if (p.page_table.shape[1] > kMaxSeqlen / p.k.shape[1]) {
      fail(ErrorCode::kShape, "pageTable",
           "Expected pages per sequence * page size to be at most %lld but received shape %s",
           static_cast<long long>(kMaxSeqlen), shape_text(p.page_table).c_str());
    }
  }
  if (p.seqlens_k.present()) {
    expect_rank(p.seqlens_k, 1, "seqlensK", "batch");
    expect_dtype(p.seqlens_k, DType::kInt32, "seqlensK");
    expect_extent(p.seqlens_k, 0, p.batch(), "seqlensK", "the batch of q");
  }
}

void validate_modifiers(const AttentionProblem& p) {
  expect_option(std::isfinite(p.scale), "scale", "finite", p.scale);
  expect_option(std::isfinite(p.softcap) && p.softcap >= 0, "softcap", "finite and at least 0",
                p.softcap);
  expect_option(p.sink_tokens >= 0 && p.sink_tokens <= kUnbounded, "sinkTokens", "at least 0",
                static_cast<double>(p.sink_tokens));
  expect_option(p.window_left >= -kUnbounded && p.window_left <= kUnbounded, "window", "integers",
                static_cast<double>(p.window_left));
  expect_option(p.window_right >= -kUnbounded && p.window_right <= kUnbounded, "window", "integers",
                static_cast<double>(p.window_right));
  expect_option(p.dropout.p >= 0 && p.dropout.p < 1, "dropout.p", "at least 0 and below 1",
                p.dropout.p);
  expect_option(p.num_splits >= 0 && p.num_splits <= kMaxSplits, "numSplits",
                "0 (automatic) to 256", p.num_splits);
  if (p.alibi_slopes.present()) {
    expect_rank(p.alibi_slopes, 2, "alibiSlopes", "1 or batch, heads");
    expect_dtype(p.alibi_slopes, DType::kFloat32, "alibiSlopes");
    if (p.alibi_slopes.shape[0] != 1)
      expect_extent(p.alibi_slopes, 0, p.batch(), "alibiSlopes", "1 or the batch");
    expect_extent(p.alibi_slopes, 1, p.heads(), "alibiSlopes", "the heads of q");
  }
  if (p.sinks.present()) {
    expect_rank(p.sinks, 1, "sinks", "heads");
    expect_floating(p.sinks, "sinks");
    expect_extent(p.sinks, 0, p.heads(), "sinks", "the heads of q");
  }
}

void validate_masks(const AttentionProblem& p) {
  if (p.mask.present()) {
    if (p.varlen())
      fail(ErrorCode::kOption, "mask",
           "Expected no mask with cuSeqlensQ (its sequences have no common rows) but received one");
    expect_rank(p.mask, 4, "mask", "batch, heads, seqlenQ, seqlenK");
    if (p.mask.dtype != DType::kBool) expect_floating(p.mask, "mask");
    expect_extent(p.mask, 0, p.batch(), "mask", "the batch of q");
    expect_extent(p.mask, 1, p.heads(), "mask", "the heads of q");
    expect_extent(p.mask, 2, p.q.shape[1], "mask", "the seqlen of q");
    expect_extent(p.mask, 3, p.max_seqlen_k, "mask", "the seqlen of k");
  }
  if (!p.block_mask.present()) return;
  const BlockMaskView& b = p.block_mask;
  if (p.varlen())
    fail(ErrorCode::kOption, "blockMask", "Expected no blockMask with cuSeqlensQ but received one");
  expect_rank(b.table, 4, "blockMask", "1 or batch, 1 or heads, block rows, block columns");
  expect_dtype(b.table, DType::kInt32, "blockMask");
  expect_option(b.block_q >= 1 && b.block_q <= kMaxSeqlen, "blockMask.blockSize", "at least 1",
                static_cast<double>(b.block_q));
  expect_option(b.block_k >= 1 && b.block_k <= kMaxSeqlen, "blockMask.blockSize", "at least 1",
                static_cast<double>(b.block_k));
  if (b.table.shape[0] != 1) expect_extent(b.table, 0, p.batch(), "blockMask", "1 or the batch");
  if (b.table.shape[1] != 1) expect_extent(b.table, 1, p.heads(), "blockMask", "1 or the heads");
  expect_extent(b.table, 2, (p.q.shape[1] + b.block_q - 1) / b.block_q, "blockMask",
                "ceil(seqlenQ / blockSize)");
  expect_extent(b.table, 3, (p.max_seqlen_k + b.block_k - 1) / b.block_k, "blockMask",
                "ceil(seqlenK / blockSize)");
  if (b.bits.present()) {
    expect_rank(b.bits, 3, "blockMask", "bitmaps, block rows, words");
    expect_dtype(b.bits, DType::kInt32, "blockMask");
    if (b.bits.shape[0] > 0) {
      expect_extent(b.bits, 1, b.block_q, "blockMask", "the block size");
      expect_extent(b.bits, 2, (b.block_k + 31) / 32, "blockMask", "the words of a block's row");
    }
  }
}

void validate_outputs(const AttentionProblem& p) {
  if (p.out.present()) {
    expect_rank(p.out, 4, "out", "batch, seqlen, heads, headDim of v");
    expect_dtype(p.out, p.out_dtype(), "out");
    for (int axis = 0; axis < 3; ++axis)
      expect_extent(p.out, axis, p.q.shape[axis], "out", "that of q");
    expect_extent(p.out, 3, p.head_dim_v(), "out", "the head dim of v");
  }
  if (p.lse.present()) {
    expect_rank(p.lse, 3, "lse", "batch, heads, seqlen");
    expect_dtype(p.lse, DType::kFloat32, "lse");
    expect_extent(p.lse, 0, p.q.shape[0], "lse", "the batch of q");
    expect_extent(p.lse, 1, p.heads(), "lse", "the heads of q");
    expect_extent(p.lse, 2, p.q.shape[1], "lse", "the seqlen of q");
  }
}

void validate_cu_seqlens(const View& cu, int64_t total, int64_t longest, const char* argument,
                         const char* longest_name) {
  const int32_t* data = static_cast<const int32_t*>(cu.data);
  const int64_t n = cu.shape[0], stride = cu.strides[0];
  if (data[0] != 0)
    fail(ErrorCode::kShape, argument, "Expected %s to start with 0 but received %d", argument,
         data[0]);
  for (int64_t i = 1; i < n; ++i) {
    const int64_t previous = data[(i - 1) * stride], current = data[i * stride];
    if (current < previous) {
      fail(ErrorCode::kShape, argument,
           "Expected %s to be ascending but received %lld after %lld at index %lld", argument,
           static_cast<long long>(current), static_cast<long long>(previous),
           static_cast<long long>(i));
    }
    if (current - previous > longest) {
      fail(ErrorCode::kOption, longest_name,
           "Expected %s to be at least the longest sequence, %lld, but received %lld", longest_name,
           static_cast<long long>(current - previous), static_cast<long long>(longest));
    }
  }
  const int64_t last = data[(n - 1) * stride];
  if (last > total) {
    fail(ErrorCode::kShape, argument,
         "Expected %s to end at most at the %lld packed tokens but received %lld", argument,
         static_cast<long long>(total), static_cast<long long>(last));
  }
}

}  // namespace

void validate(const AttentionProblem& problem) {
  validate_qkv(problem);
  validate_scales(problem);
  validate_indices(problem);
  validate_modifiers(problem);
  validate_masks(problem);
  validate_outputs(problem);
}

void refuse_float8(const std::string& where) {
  fail(ErrorCode::kDType, "q",
       "Expected q to be float32, float16 or bfloat16 %s but received float8_e4m3: dequantize() q, "
       "k "
       "and v first",
       where.c_str());
}

void validate_backward(const AttentionProblem& p, const AttentionGradients& g) {
  validate(p);
  expect_floating(p.q, "q");
  if (p.paged()) {
    fail(ErrorCode::kOption, "pageTable",
         "Expected no pageTable in a backward pass but received one");
  }
  if (!p.out.present() || !p.lse.present()) {
    fail(ErrorCode::kOption, "lse", "Expected out and lse of the forward pass but received none");
  }
  expect_rank(g.dout, 4, "dOut", "batch, seqlen, heads, headDim of v");
  expect_same_dtype(g.dout, p.q, "dOut");
  for (int axis = 0; axis < 4; ++axis)
    expect_extent(g.dout, axis, p.out.shape[axis], "dOut", "that of out");
}

void validate_quantized(const View& plain, const Quantized& quantized) {
  expect_rank(plain, 4, "tensor", "batch, seqlen, heads, headDim");
  expect_floating(plain, "tensor");
  const View& values = quantized.values;
  expect_rank(values, 4, "values", "batch, seqlen, heads, headDim");
  expect_dtype(values, DType::kFloat8E4M3, "values");
  for (int axis = 0; axis < 4; ++axis)
    expect_extent(values, axis, plain.shape[axis], "values", "that of tensor");
  expect_scale(quantized.block_scales(), "scales", values, "tensor", 3);
  const int64_t dim = quantized.dim();
  if (dim < 1 || dim > kMaxHeadDim)
    fail(ErrorCode::kShape, "tensor", "Expected a head dim of 1 to %lld but received shape %s",
         static_cast<long long>(kMaxHeadDim), shape_text(plain).c_str());
  if (quantized.rotated && (dim & (dim - 1)) != 0)
    fail(ErrorCode::kShape, "hadamard",
         "Expected the head dim to be a power of two for a Hadamard rotation but received %lld",
         static_cast<long long>(dim));
}

void validate_contents(const AttentionProblem& p) {
  if (p.varlen()) {
    validate_cu_seqlens(p.cu_seqlens_q, p.q.shape[1], p.max_seqlen_q, "cuSeqlensQ", "maxSeqlenQ");
    validate_cu_seqlens(p.cu_seqlens_k, p.k.shape[1], p.max_seqlen_k, "cuSeqlensK", "maxSeqlenK");
  }
  if (p.seqlens_k.present()) {
    const int32_t* data = static_cast<const int32_t*>(p.seqlens_k.data);
    for (int64_t b = 0; b < p.batch(); ++b) {
      const int64_t length = data[b * p.seqlens_k.strides[0]];
      if (length < 0 || length > p.max_seqlen_k) {
        fail(ErrorCode::kShape, "seqlensK",
             "Expected seqlensK[%lld] to be 0 to %lld but received %lld", static_cast<long long>(b),
             static_cast<long long>(p.max_seqlen_k), static_cast<long long>(length));
      }
    }
  }
  if (p.paged()) {
    const int32_t* table = static_cast<const int32_t*>(p.page_table.data);
    const int64_t page_size = p.k.shape[1], pages = p.k.shape[0];
    for (int64_t b = 0; b < p.batch(); ++b) {
      const int64_t used = (sequence(p, b).seqlen_k + page_size - 1) /
                           page_size;  // entries past these are never looked at
      for (int64_t i = 0; i < used; ++i) {
        const int64_t page = table[b * p.page_table.strides[0] + i * p.page_table.strides[1]];
        if (page < 0 || page >= pages) {
          fail(ErrorCode::kShape, "pageTable",
               "Expected pageTable[%lld][%lld] to be a page, 0 to %lld, but received %lld",
               static_cast<long long>(b), static_cast<long long>(i),
               static_cast<long long>(pages - 1), static_cast<long long>(page));
        }
      }
    }
  }
  if (p.block_mask.present()) {
    const View& t = p.block_mask.table;
    const int64_t bitmaps = p.block_mask.bits.present() ? p.block_mask.bits.shape[0] : 0;
    const int32_t* cells = static_cast<const int32_t*>(t.data);
    for (int64_t b = 0; b < t.shape[0]; ++b)
      for (int64_t h = 0; h < t.shape[1]; ++h)
        for (int64_t r = 0; r < t.shape[2]; ++r)
          for (int64_t c = 0; c < t.shape[3]; ++c) {
            const int64_t cell =
                cells[b * t.strides[0] + h * t.strides[1] + r * t.strides[2] + c * t.strides[3]];
            if (cell < 0 || cell > 1 + bitmaps) {
              fail(ErrorCode::kShape, "blockMask",
                   "Expected cells of the block table to be 0 to %lld but received %lld",
                   static_cast<long long>(1 + bitmaps), static_cast<long long>(cell));
            }
          }
  }
}

}  // namespace fa
