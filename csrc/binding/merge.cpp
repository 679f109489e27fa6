#include <string>
#include <utility>
#include <vector>

#include "binding/arguments.h"
#include "binding/attention.h"
#include "binding/layout.h"
#include "binding/new_tensor.h"
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

}  // namespace

Napi::Value merge_states(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Layout layout = to_layout(info[2]);
  Stream* stream = nullptr;
  const std::vector<TensorRef> outs = tensors(info[0], "outs", stream);
  const std::vector<TensorRef> lses = tensors(info[1], "lses", stream);
  if (outs.empty()) reject(ErrorCode::kShape, "outs", "at least one state", "none");
  if (lses.size() != outs.size()) {
    reject(ErrorCode::kShape, "lses", std::to_string(outs.size()) + " tensors, as many as outs,",
           std::to_string(lses.size()));
  }
  TaskStorages storages;
  std::vector<View> out_views, lse_views;
  for (size_t i = 0; i < outs.size(); ++i) {
    expect_like(outs[i].view, 4, outs[0].view, "outs");
    expect_like(lses[i].view, 3, lses[0].view, "lses");
    out_views.push_back(logical(outs[i].view, layout));
    lse_views.push_back(lses[i].view);
    storages.reads.push_back(outs[i].storage);
    storages.reads.push_back(lses[i].storage);
  }
  expect_state(out_views[0], lse_views[0]);

  const View &like_out = outs[0].view, &like_lse = lses[0].view;
  TensorRef out = NewTensor("out", like_out.dtype, shape_of(like_out), "outs").allocate(*stream);
  TensorRef lse = NewTensor("lse", like_lse.dtype, shape_of(like_lse), "lses").allocate(*stream);
  storages.writes = {out.storage, lse.storage};
  stream->merge_states(out_views, lse_views, logical(out.view, layout), lse.view,
                       std::move(storages));
  return new_results(env, {std::move(out), std::move(lse)});
}

}  // namespace fa::binding
