#include "binding/quantize.h"

#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/inputs.h"
#include "binding/new_tensor.h"
#include "binding/tensor_handle.h"
#include "core/validate.h"

namespace fa::binding {

namespace {

/** The seed of a rotation, or undefined. */
void read_rotation(const Napi::Value& seed, Quantized& quantized) {
  quantized.rotated = !seed.IsUndefined();
  if (quantized.rotated) quantized.seed = to_uint64(seed, "hadamard.seed");
}

/**
 * Offsets of packed sequences and the length of the longest, or undefined twice. Returns the
 * tensors' layout.
 */
Layout read_sequences(const Napi::Value& cu_seqlens, const Napi::Value& max_seqlen, Layout layout,
                      Inputs& inputs, Quantized& quantized) {
  if (cu_seqlens.IsUndefined()) {
    if (!max_seqlen.IsUndefined())
      refuse(ErrorCode::kOption, "maxSeqlen", "absent without `cuSeqlens`", shown(max_seqlen));
    return layout;
  }
  if (layout != Layout::kBshd)
    refuse(ErrorCode::kOption, "layout", "'bshd' with `cuSeqlens`", "'bhsd'");
  quantized.cu_seqlens = inputs.index(cu_seqlens, "cuSeqlens");
  quantized.max_seqlen = to_integer(max_seqlen, "maxSeqlen", 0, kMaxSeqlen);
  expect_cu_seqlens(quantized.cu_seqlens, "cuSeqlens", quantized.max_seqlen, "maxSeqlen");
  return Layout::kPacked;
}

/** What one scale is for. The numbers are shared with lib/attention/quantize.ts. */
enum class Per { kTensor = 0, kHead = 1, kBlock = 2 };

Sizes scale_shape(Per per, const Quantized& q) {
  switch (per) {
    case Per::kTensor: return {1, {1}};
    case Per::kHead: return {2, {q.batch(), q.heads()}};
    case Per::kBlock: break;
  }
  return {3, {q.batch(), q.heads(), q.blocks()}};
}

}  // namespace

Napi::Value quantize(const Napi::CallbackInfo& info) {
  const Per per = static_cast<Per>(to_integer(info[2], "per", 0, 2));
  Quantized quantized;
  read_rotation(info[3], quantized);
  const TensorRef plain = tensor_of(info[0], "tensor");
  Stream& stream = Environment::of(info.Env()).stream(*plain.storage);
  Inputs inputs{stream, {plain.storage}};
  const Layout layout = read_sequences(info[4], info[5], to_layout(info[1]), inputs, quantized);
  const View plain_axes = checked_axes(plain.view, layout, "tensor");

  const NewTensor new_values("values", DType::kFloat8E4M3, shape_of(plain.view), "tensor");
  quantized.values = logical(new_values.view(), layout);
  const NewTensor new_scales("scales", DType::kFloat32, scale_shape(per, quantized), "tensor");
  quantized.scales = new_scales.view();
  validate_quantized(plain_axes, quantized, layout);
  const bool judged = inputs.judge(quantized);

  TensorRef values = new_values.allocate(info.Env(), stream),
            scales = new_scales.allocate(info.Env(), stream);
  quantized.values.data = values.view.data;
  quantized.scales.data = scales.view.data;
  stream.enqueue(
      ops::Quantize{.plain = plain_axes, .quantized = quantized, .check_contents = !judged},
      {.reads = std::move(inputs.reads), .writes = {values.storage, scales.storage}});
  return new_results(info.Env(), {std::move(values), std::move(scales)});
}

Napi::Value dequantize(const Napi::CallbackInfo& info) {
  Quantized quantized;
  read_rotation(info[3], quantized);
  const DType dtype = to_dtype(info[4], "dtype");
  const TensorRef values = tensor_of(info[0], "values");
  Stream& stream = Environment::of(info.Env()).stream(*values.storage);
  Inputs inputs{stream, {values.storage}};
  quantized.scales = inputs.tensor(info[1], "scales");
  const Layout layout = read_sequences(info[5], info[6], to_layout(info[2]), inputs, quantized);
  quantized.values = checked_axes(values.view, layout, "values");
  const NewTensor new_plain("the plain tensor", dtype, shape_of(values.view), "values");
  View plain_axes = logical(new_plain.view(), layout);
  validate_quantized(plain_axes, quantized, layout);
  const bool judged = inputs.judge(quantized);

  TensorRef plain = new_plain.allocate(info.Env(), stream);
  plain_axes.data = plain.view.data;
  stream.enqueue(
      ops::Dequantize{.quantized = quantized, .plain = plain_axes, .check_contents = !judged},
      {.reads = std::move(inputs.reads), .writes = {plain.storage}});
  return new_result(info.Env(), std::move(plain));
}

}  // namespace fa::binding
