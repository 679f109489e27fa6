#include "cuda/runtime/supported.h"

#include <algorithm>
#include <string>

#include "core/expect.h"
#include "core/validate.h"
#include "cuda/base/params.h"
#include "cuda/runtime/device.h"
#include "cuda/sm80/mla_tiles.h"
#include "cuda/sm90/host/tma_addressable.h"

namespace fa::cuda {

namespace {

[[noreturn]] void refuse_with_float8(ErrorCode code, const char* argument,
                                     const std::string& expected, const std::string& received) {
  refuse(code, argument, expected + " with float8_e4m3",
         received + ": dequantize() `q`, `k` and `v` first");
}

/** An option that no float8 kernel has. */
void expect_absent(bool absent, const char* option, const std::string& received) {
  if (!absent) refuse_with_float8(ErrorCode::kOption, option, "left out", received);
}

void expect_readable(const View& view, const char* argument) {
  if (view.size() == 0 || sm90::tma_addressable(view)) return;
  View strides = view;
  std::copy_n(view.strides, view.rank, strides.shape);
  refuse_with_float8(ErrorCode::kShape, argument,
                     "of a head dim that is a multiple of 16, in rows at multiples of 16 bytes,",
                     "shape " + shape_text(view) + ", strides " + shape_text(strides));
}

void check_float8(const AttentionProblem& p, const cudaDeviceProp& properties) {
  if (!runs_sm90a(properties)) refuse_float8("on GPUs of another compute capability than 9.0");
  const char* const kSome = "one";
  expect_absent(p.softcap == 0, "softcap", number_text(p.softcap));
  expect_absent(!p.alibi_slopes.present(), "alibiSlopes", kSome);
  expect_absent(!p.mask.present(), "mask", kSome);
  expect_absent(!p.block_mask.present(), "blockMask", kSome);
  expect_absent(!p.tree_mask.present(), "treeMask", kSome);
  expect_absent(!p.sinks.present(), "sinks", kSome);
  expect_absent(p.sink_tokens == 0, "sinkTokens", number_text(static_cast<double>(p.sink_tokens)));
  expect_absent(p.dropout.p == 0, "dropout", "p = " + number_text(p.dropout.p));
  if (p.scale <= 0)
    refuse_with_float8(ErrorCode::kOption, "scale", "positive", number_text(p.scale));
  expect_readable(p.q, "q");
  expect_readable(p.k, "k");
  expect_readable(p.v, "v");
  if (p.paged() && !sm90::tma_copies_pages(p.k.shape[1]))
    refuse_with_float8(ErrorCode::kShape, "k",
                       "pages of a multiple of " + std::to_string(sm90::kSwizzleRows) + " keys",
                       "pages of " + std::to_string(p.k.shape[1]));
}

std::string above_widest() {
  return " where a head dim is above " + std::to_string(kWidestHead) + " on CUDA devices";
}

/** `where`: what the limit is one of, besides CUDA devices. */
void check_head_dims(const AttentionProblem& p, int64_t most, int64_t most_v,
                     const std::string& where) {
  const auto check = [&](int64_t head_dim, const char* argument, int64_t limit) {
    if (head_dim > limit)
      refuse(ErrorCode::kShape, argument,
             "a tensor with a head dim of at most " + std::to_string(limit) + where +
                 " on CUDA devices",
             std::to_string(head_dim));
  };
  check(p.head_dim(), "q", most);
  check(p.head_dim_v(), "v", most_v);
}

void expect_aligned(const View& view, const char* argument) {
  if (view.size() == 0 || aligned_rows(view)) return;
  View strides = view;
  std::copy_n(view.strides, view.rank, strides.shape);
  refuse(ErrorCode::kShape, argument,
         "of rows of multiples of 16 bytes at multiples of 16 bytes" + above_widest() + ",",
         "shape " + shape_text(view) + ", strides " + shape_text(strides));
}

/** What the one kernel of wide heads leaves out. */
void check_wide_heads(const AttentionProblem& p) {
  if (p.float8()) check_head_dims(p, kWidestHead, kWidestHead, " with float8_e4m3");
  if (p.q.dtype == DType::kFloat32) check_head_dims(p, kWidestHead, kWidestHead, " with float32");
  if (p.k.dtype != p.q.dtype)
    check_head_dims(p, kWidestHead, kWidestHead,
                    std::string(" with ") + dtype_name(p.k.dtype) + " pages");
  check_head_dims(p, sm80::kMlaWidth, sm80::kMlaWidthV, "");
  const auto expect_none = [](bool present, const char* option) {
    if (present) refuse(ErrorCode::kOption, option, "left out" + above_widest(), "one");
  };
  expect_none(p.mask.present(), "mask");
  expect_none(p.block_mask.present(), "blockMask");
  expect_none(p.tree_mask.present(), "treeMask");
  expect_none(p.dropout.p > 0, "dropout");
  expect_aligned(p.q, "q");
  expect_aligned(p.k, "k");
  expect_aligned(p.v, "v");
}

}  // namespace

bool has_wide_heads(const AttentionProblem& p) {
  return std::max(p.head_dim(), p.head_dim_v()) > kWidestHead;
}

void check_supported(const AttentionProblem& p, const cudaDeviceProp& properties) {
  if (has_wide_heads(p)) check_wide_heads(p);
  if (p.float8()) check_float8(p, properties);
}

void check_gradients_supported(const AttentionProblem& p, const cudaDeviceProp& properties) {
  check_head_dims(p, kWidestHead, kWidestHead, " in the backward pass");
  check_supported(p, properties);
}

void refuse_convolution(const std::string& device) {
  refuse(ErrorCode::kDevice, "x", "a tensor on cpu, the one device that dynamicConv runs on,",
         "one on " + device);
}

}  // namespace fa::cuda
