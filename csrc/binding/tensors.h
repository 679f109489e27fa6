// Functions that make, describe and copy tensors.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

Napi::Value empty(const Napi::CallbackInfo& call);
Napi::Value zeros(const Napi::CallbackInfo& call);
Napi::Value randn(const Napi::CallbackInfo& call);
Napi::Value from_data(const Napi::CallbackInfo& call);
Napi::Value view(const Napi::CallbackInfo& call);
Napi::Value convert(const Napi::CallbackInfo& call);
Napi::Value concat(const Napi::CallbackInfo& call);
Napi::Value describe(const Napi::CallbackInfo& call);
Napi::Value dispose(const Napi::CallbackInfo& call);
Napi::Value memory(const Napi::CallbackInfo& call);

}  // namespace fa::binding
