// What this build and this machine offer.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

Napi::Value info(const Napi::CallbackInfo& call);
Napi::Value devices(const Napi::CallbackInfo& call);

}  // namespace fa::binding
