#include <algorithm>
#include <string>
#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/new_tensor.h"
#include "binding/tensor_handle.h"
#include "binding/tensors.h"
#include "core/expect.h"
#include "core/validate.h"

namespace fa::binding {

Napi::Value concat(const Napi::CallbackInfo& call) {
  const Napi::Array array = to_array(call[0], "tensors");
  Environment& environment = Environment::of(call.Env());
  Stream* stream = nullptr;
  ops::Concat concat;
  TaskStorages storages;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const TensorRef tensor = tensor_of(array.Get(i), "tensors");
    concat.sources.push_back(tensor.view);
    storages.reads.push_back(tensor.storage);
    if (stream == nullptr) stream = &environment.stream(*tensor.storage);
    check_device(tensor, *stream, ("tensors[" + std::to_string(i) + "]").c_str());
  }
  const int64_t asked = to_integer(call[1], "axis", 0, kMaxSafeInteger);
  validate_concat(concat.sources, asked);
  const int axis = static_cast<int>(asked);

  const View& first = concat.sources[0];
  Sizes shape = shape_of(first);
  shape.values[axis] = 0;
  for (const View& source : concat.sources) {
    // Views may be longer than any memory. Where that is a sum, it need not be right.
    shape.values[axis] = std::min(shape.values[axis] + source.shape[axis], kMaxSafeInteger + 1);
  }
  TensorRef target =
      NewTensor("the result", first.dtype, shape, "tensors").allocate(call.Env(), *stream);
  View part = target.view;
  for (const View& source : concat.sources) {
    part.shape[axis] = source.shape[axis];
    concat.parts.push_back(part);
    part.data = part.at(part.shape[axis] * part.strides[axis]);
  }
  storages.writes = {target.storage};
  stream->enqueue(std::move(concat), std::move(storages));
  return new_result(call.Env(), std::move(target));
}

}  // namespace fa::binding
