#include <utility>

#include "binding/arguments.h"
#include "binding/attention.h"
#include "binding/problem.h"
#include "binding/shapes.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

namespace {

/** The axes that JavaScript sees, of a view with the problem's. */
View public_axes(const View& logical, bool varlen, bool bhsd) {
  if (!varlen) return bhsd ? permuted(logical, {0, 2, 1, 3}) : logical;
  View view = logical;
  for (int axis = 1; axis < logical.rank; ++axis) {
    view.shape[axis - 1] = logical.shape[axis];
    view.strides[axis - 1] = logical.strides[axis];
  }
  --view.rank;
  return view;
}

}  // namespace

Napi::Value attention_backward(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  BackwardCall call = backward_call(info[0]);
  AttentionCall& forward = call.forward;
  AttentionGradients& gradients = call.gradients;
  validate_backward(forward.problem, gradients);
  forward.stream->check_supported(forward.problem);
  const bool ready = forward.indices_ready();
  if (ready) check_indices(forward);

  Stream& stream = *forward.stream;
  const bool varlen = forward.problem.varlen();
  TaskStorages storages{forward.inputs, {}};
  const auto allocate = [&](const View& like, View& gradient) {
    const View axes = public_axes(like, varlen, forward.bhsd);
    Sizes shape{axes.rank, {}};
    for (int axis = 0; axis < axes.rank; ++axis) shape.values[axis] = axes.shape[axis];
    TensorRef tensor{stream.allocate(byte_size(like.dtype, shape, "q", ErrorCode::kOutOfMemory)),
                     {}};
    tensor.view = row_major(tensor.storage->data(), like.dtype, shape);
    gradient = tensor.view;
    if (varlen)
      gradient = contiguous_view(tensor.storage->data(), like.dtype,
                                 {1, like.shape[1], like.shape[2], like.shape[3]});
    else if (forward.bhsd)
      gradient = permuted(tensor.view, {0, 2, 1, 3});
    storages.writes.push_back(tensor.storage);
    return tensor;
  };
  TensorRef dq = allocate(forward.problem.q, gradients.dq);
  TensorRef dk = allocate(forward.problem.k, gradients.dk);
  TensorRef dv = allocate(forward.problem.v, gradients.dv);
  TensorRef dsinks;
  const bool sinks = forward.problem.sinks.present();
  if (sinks) {
    const int64_t heads = forward.problem.heads();
    dsinks.storage = stream.allocate(static_cast<size_t>(heads) * sizeof(float));
    dsinks.view = contiguous_view(dsinks.storage->data(), DType::kFloat32, {heads});
    gradients.dsinks = dsinks.view;
    storages.writes.push_back(dsinks.storage);
  }
  stream.attention_backward(forward.problem, gradients, std::move(storages), !ready);

  Napi::Array result = Napi::Array::New(env, 4);
  result.Set(uint32_t{0}, new_handle(env, std::move(dq)));
  result.Set(uint32_t{1}, new_handle(env, std::move(dk)));
  result.Set(uint32_t{2}, new_handle(env, std::move(dv)));
  result.Set(uint32_t{3}, sinks ? Napi::Value(new_handle(env, std::move(dsinks))) : env.Null());
  return result;
}

}  // namespace fa::binding
