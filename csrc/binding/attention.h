// The functions this package is about.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

Napi::Value attention(const Napi::CallbackInfo& info);
Napi::Value attention_backward(const Napi::CallbackInfo& info);
Napi::Value plan(const Napi::CallbackInfo& info);
Napi::Value merge_states(const Napi::CallbackInfo& info);

}  // namespace fa::binding
