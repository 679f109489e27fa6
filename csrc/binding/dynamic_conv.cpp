#include "binding/dynamic_conv.h"

#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/new_tensor.h"
#include "binding/shapes.h"
#include "binding/tensor_handle.h"
#include "core/validate.h"

namespace fa::binding {

namespace {

/** With the axes of x, those of [heads, K] too. What has neither shape is left to `validate`. */
View weights_of(const View& given, const Convolution& c, Layout layout) {
  if (given.rank == 4) return logical(given, layout);
  if (given.rank != 2 || given.shape[0] != c.heads()) return given;
  View weights = given;
  weights.rank = 4;
  for (const int axis : {1, 0}) {
    weights.shape[axis + 2] = given.shape[axis];
    weights.strides[axis + 2] = given.strides[axis];
    weights.shape[axis] = c.x.shape[axis];
    weights.strides[axis] = 0;
  }
  return weights;
}

Sizes state_shape(const Convolution& c, Layout layout) {
  View state = c.x;
  state.shape[1] = c.kernel_size() - 1;
  return shape_of(with_public_axes(state, layout));
}

}  // namespace

Napi::Value dynamic_conv(const Napi::CallbackInfo& call) {
  const TensorRef x = tensor_of(call[0], "x");
  const TensorRef weights = tensor_of(call[1], "weights");
  const Layout layout = to_layout(call[3]);
  const bool return_state = to_boolean(call[4], "returnState");
  Stream& stream = Environment::of(call.Env()).stream(*x.storage);
  check_device(weights, stream, "weights");
  TaskStorages storages{.reads = {x.storage, weights.storage}, .writes = {}};

  Convolution c;
  c.x = checked_axes(x.view, layout, "x");
  c.weights = weights_of(weights.view, c, layout);
  if (!call[2].IsUndefined()) {
    const TensorRef state = tensor_of(call[2], "state");
    check_device(state, stream, "state");
    c.state = checked_axes(state.view, layout, "state");
    storages.reads.push_back(state.storage);
  }
  validate(c, layout);
  stream.check_supported(c);

  TensorRef out =
      NewTensor("out", x.view.dtype, shape_of(x.view), "x").allocate(call.Env(), stream);
  c.out = logical(out.view, layout);
  storages.writes.push_back(out.storage);
  TensorRef next;
  if (return_state) {
    next = NewTensor("the state", x.view.dtype, state_shape(c, layout), "x")
               .allocate(call.Env(), stream);
    c.next_state = logical(next.view, layout);
    storages.writes.push_back(next.storage);
  }
  stream.enqueue(ops::DynamicConv{.convolution = c}, std::move(storages));
  return new_results(call.Env(), {std::move(out), std::move(next)});
}

}  // namespace fa::binding
