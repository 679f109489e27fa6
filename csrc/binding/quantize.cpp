#include "binding/quantize.h"

#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/shapes.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

namespace {

/** A tensor of four axes and the same with the axes [batch, seqlen, heads, dim]. */
struct Axes {
  Sizes shape;
  View logical;

  Axes(const View& view, bool bhsd, const char* argument) {
    if (view.rank != 4) {
      reject(ErrorCode::kShape, argument, "4 axes", "shape " + shape_text(view));
    }
    shape.rank = view.rank;
    for (int axis = 0; axis < view.rank; ++axis) shape.values[axis] = view.shape[axis];
    logical = bhsd ? permuted(view, {0, 2, 1, 3}) : view;
  }
};

bool is_bhsd(const Napi::Value& layout) { return to_integer(layout, "layout", 0, 1) == 1; }

/** The seed of a rotation, or undefined. */
void read_rotation(const Napi::Value& seed, Quantized& quantized) {
  quantized.rotated = !seed.IsUndefined();
  if (quantized.rotated) quantized.seed = to_uint64(seed, "hadamard.seed");
}

/** What one scale is for. The numbers are shared with lib/attention/scales.ts. */
enum class Per { kTensor = 0, kHead = 1, kBlock = 2 };

Sizes scale_shape(Per per, const Quantized& q) {
  switch (per) {
    case Per::kTensor: return {1, {1}};
    case Per::kHead: return {2, {q.batch(), q.heads()}};
    case Per::kBlock: break;
  }
  return {3, {q.batch(), q.heads(), q.blocks()}};
}

TensorRef allocate(Stream& stream, DType dtype, const Sizes& shape) {
  TensorRef tensor;
  tensor.storage = stream.allocate(byte_size(dtype, shape, "tensor", ErrorCode::kOutOfMemory));
  tensor.view = row_major(tensor.storage->data(), dtype, shape);
  return tensor;
}

}  // namespace

Napi::Value quantize(const Napi::CallbackInfo& info) {
  const bool bhsd = is_bhsd(info[1]);
  const Per per = static_cast<Per>(to_integer(info[2], "per", 0, 2));
  Quantized quantized;
  read_rotation(info[3], quantized);
  const TensorRef plain = tensor_of(info[0], "tensor");
  const Axes axes(plain.view, bhsd, "tensor");

  // Checked with shapes alone, before anything is allocated.
  const Sizes& shape = axes.shape;
  byte_size(DType::kFloat8E4M3, shape, "tensor", ErrorCode::kOutOfMemory);
  quantized.values = Axes(row_major(nullptr, DType::kFloat8E4M3, shape), bhsd, "tensor").logical;
  const Sizes scales_shape = scale_shape(per, quantized);
  quantized.scales = row_major(nullptr, DType::kFloat32, scales_shape);
  validate_quantized(axes.logical, quantized);

  Stream& stream = *plain.storage->stream();
  TensorRef values = allocate(stream, DType::kFloat8E4M3, shape);
  TensorRef scales = allocate(stream, DType::kFloat32, scales_shape);
  quantized.values.data = values.view.data;
  quantized.scales.data = scales.view.data;
  stream.quantize(axes.logical, quantized, {{plain.storage}, {values.storage, scales.storage}});

  Napi::Array result = Napi::Array::New(info.Env(), 2);
  result.Set(uint32_t{0}, new_handle(info.Env(), std::move(values)));
  result.Set(uint32_t{1}, new_handle(info.Env(), std::move(scales)));
  return result;
}

Napi::Value dequantize(const Napi::CallbackInfo& info) {
  const bool bhsd = is_bhsd(info[2]);
  Quantized quantized;
  read_rotation(info[3], quantized);
  const DType dtype = to_dtype(info[4], "dtype");
  const TensorRef values = tensor_of(info[0], "values");
  const TensorRef scales = tensor_of(info[1], "scales");
  Stream& stream = *values.storage->stream();
  if (scales.storage->stream() != &stream) {
    reject(ErrorCode::kDevice, "scales", "a tensor on " + stream.device(),
           "one on " + scales.storage->stream()->device());
  }
  const Axes axes(values.view, bhsd, "values");
  quantized.values = axes.logical;
  quantized.scales = scales.view;
  byte_size(dtype, axes.shape, "values", ErrorCode::kOutOfMemory);
  View plain = Axes(row_major(nullptr, dtype, axes.shape), bhsd, "values").logical;
  validate_quantized(plain, quantized);

  TensorRef result = allocate(stream, dtype, axes.shape);
  plain.data = result.view.data;
  stream.dequantize(quantized, plain, {{values.storage, scales.storage}, {result.storage}});
  return new_handle(info.Env(), std::move(result));
}

}  // namespace fa::binding
