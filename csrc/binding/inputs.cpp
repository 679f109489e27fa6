#include "binding/inputs.h"

#include "binding/arguments.h"
#include "binding/tensor_handle.h"

namespace fa::binding {

View Inputs::tensor(const Napi::Value& value, const char* argument) {
  const TensorRef tensor = tensor_of(value, argument);
  check_device(tensor, stream, argument);
  reads.push_back(tensor.storage);
  return tensor.view;
}

View Inputs::index(const Napi::Value& value, const char* argument) {
  const View view = tensor(value, argument);
  indices.push_back(reads.back());
  return view;
}

Rotary Inputs::tables(const Napi::Value& value) {
  if (!value.IsObject()) refuse(ErrorCode::kType, "rotary", "an object", shown(value));
  const Napi::Object given = value.As<Napi::Object>();
  Rotary rotary;
  rotary.cos = tensor(given.Get("cos"), "cos");
  rotary.sin = tensor(given.Get("sin"), "sin");
  rotary.interleaved = to_boolean(given.Get("interleaved"), "interleaved");
  rotary.offset = to_integer(given.Get("rotaryOffset"), "rotaryOffset", 0, kMaxSafeInteger);
  return rotary;
}

Rotary Inputs::rotary(const Napi::Value& value) {
  if (value.IsUndefined()) return {};
  Rotary rotary = tables(value);
  rotary.positions = index(value.As<Napi::Object>().Get("positions"), "positions");
  return rotary;
}

}  // namespace fa::binding
