// Tensors to float8 with scales, and back.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

Napi::Value quantize(const Napi::CallbackInfo& info);
Napi::Value dequantize(const Napi::CallbackInfo& info);

}  // namespace fa::binding
