// The ways to wait for a stream.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

Napi::Value read(const Napi::CallbackInfo& call);
Napi::Value synchronize(const Napi::CallbackInfo& call);

}  // namespace fa::binding
