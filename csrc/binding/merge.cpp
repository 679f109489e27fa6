#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/attention.h"
#include "binding/shapes.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

namespace {

/** The tensors of a JavaScript array; all on `stream`, which the first tensor of all decides. */
std::vector<TensorRef> tensors(const Napi::Value& value, const char* argument, Stream*& stream) {
  const Napi::Array array = to_array(value, argument);
  std::vector<TensorRef> result;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    result.push_back(tensor_of(array.Get(i), argument));
    Stream* const own = result.back().storage->stream();
    if (stream == nullptr) stream = own;
    if (own != stream) {
      reject(ErrorCode::kDevice, argument, "tensors on " + stream->device(),
             "one on " + own->device());
    }
  }
  return result;
}

void expect_like(const View& view, int rank, const View& first, const char* argument) {
  if (view.rank != rank) {
    reject(ErrorCode::kShape, argument, "tensors with " + std::to_string(rank) + " axes",
           "shape " + shape_text(view));
  }
  for (int axis = 0; axis < rank; ++axis) {
    if (view.shape[axis] != first.shape[axis]) {
      reject(ErrorCode::kShape, argument, "tensors of one shape",
             shape_text(first) + " and " + shape_text(view));
    }
  }
  if (view.dtype != first.dtype) {
    reject(ErrorCode::kDType, argument, "tensors of one dtype",
           std::string(dtype_name(first.dtype)) + " and " + dtype_name(view.dtype));
  }
}

/** Throws unless `out` [B, S, H, D] and `lse` [B, H, S] belong to one state. */
void expect_state(const View& out, const View& lse) {
  if (!is_floating(out.dtype)) {
    reject(ErrorCode::kDType, "outs", "float32, float16 or bfloat16", dtype_name(out.dtype));
  }
  if (lse.dtype != DType::kFloat32) {
    reject(ErrorCode::kDType, "lses", "float32", dtype_name(lse.dtype));
  }
  if (lse.shape[0] != out.shape[0] || lse.shape[1] != out.shape[2] ||
      lse.shape[2] != out.shape[1]) {
    reject(ErrorCode::kShape, "lses", "shape [batch, heads, seqlen] of outs",
           "shape " + shape_text(lse));
  }
}

TensorRef new_tensor(Stream& stream, DType dtype, const View& like) {
  Sizes shape;
  shape.rank = like.rank;
  for (int i = 0; i < like.rank; ++i) shape.values[i] = like.shape[i];
  TensorRef tensor;
  tensor.storage = stream.allocate(byte_size(dtype, shape, "outs", ErrorCode::kOutOfMemory));
  tensor.view = row_major(tensor.storage->data(), dtype, shape);
  return tensor;
}

}  // namespace

Napi::Value merge_states(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const bool bhsd = to_integer(info[2], "layout", 0, 1) == 1;
  Stream* stream = nullptr;
  const std::vector<TensorRef> outs = tensors(info[0], "outs", stream);
  const std::vector<TensorRef> lses = tensors(info[1], "lses", stream);
  if (outs.empty()) reject(ErrorCode::kShape, "outs", "at least one state", "none");
  if (lses.size() != outs.size()) {
    reject(ErrorCode::kShape, "lses", std::to_string(outs.size()) + " tensors, as many as outs,",
           std::to_string(lses.size()));
  }
  const auto logical = [bhsd](const View& out) { return bhsd ? permuted(out, {0, 2, 1, 3}) : out; };
  TaskStorages storages;
  std::vector<View> out_views, lse_views;
  for (size_t i = 0; i < outs.size(); ++i) {
    expect_like(outs[i].view, 4, outs[0].view, "outs");
    expect_like(lses[i].view, 3, lses[0].view, "lses");
    out_views.push_back(logical(outs[i].view));
    lse_views.push_back(lses[i].view);
    storages.reads.push_back(outs[i].storage);
    storages.reads.push_back(lses[i].storage);
  }
  expect_state(out_views[0], lse_views[0]);

  TensorRef out = new_tensor(*stream, outs[0].view.dtype, outs[0].view);
  TensorRef lse = new_tensor(*stream, DType::kFloat32, lses[0].view);
  storages.writes = {out.storage, lse.storage};
  stream->merge_states(out_views, lse_views, logical(out.view), lse.view, std::move(storages));

  Napi::Array result = Napi::Array::New(env, 2);
  result.Set(uint32_t{0}, new_handle(env, std::move(out)));
  result.Set(uint32_t{1}, new_handle(env, std::move(lse)));
  return result;
}

}  // namespace fa::binding
