#include <utility>

#include "binding/attention.h"
#include "binding/new_tensor.h"
#include "binding/problem.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

Napi::Value attention_backward(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  BackwardCall call = backward_call(info[0]);
  AttentionCall& forward = call.forward;
  AttentionGradients& gradients = call.gradients;
  validate_backward(forward.problem, gradients, forward.layout);
  forward.stream->check_gradients_supported(forward.problem);
  const bool ready = forward.indices_ready();
  if (ready) check_indices(forward);

  Stream& stream = *forward.stream;
  TaskStorages storages{.reads = forward.inputs, .writes = {}};
  const auto allocate = [&](const NewTensor& made) {
    TensorRef tensor = made.allocate(env, stream);
    storages.writes.push_back(tensor.storage);
    return tensor;
  };
  const auto gradient_of = [&](const View& input, Layout layout, const char* name, View& gradient) {
    const Sizes shape = shape_of(with_public_axes(input, layout));
    TensorRef tensor = allocate(NewTensor(name, input.dtype, shape, "q"));
    gradient = logical(tensor.view, layout);
    return tensor;
  };
  TensorRef dq = gradient_of(forward.problem.q, forward.layout, "dq", gradients.dq);
  TensorRef dk = gradient_of(forward.problem.k, forward.key_layout, "dk", gradients.dk);
  TensorRef dv = gradient_of(forward.problem.v, forward.key_layout, "dv", gradients.dv);
  TensorRef dsinks;
  if (forward.problem.sinks.present()) {
    const Sizes shape{1, {forward.problem.heads()}};
    dsinks = allocate(NewTensor("dSinks", DType::kFloat32, shape, "sinks"));
    gradients.dsinks = dsinks.view;
  }
  stream.enqueue(
      ops::AttentionBackward{
          .problem = forward.problem, .gradients = gradients, .check_contents = !ready},
      std::move(storages));
  return new_results(env, {std::move(dq), std::move(dk), std::move(dv), std::move(dsinks)});
}

}  // namespace fa::binding
