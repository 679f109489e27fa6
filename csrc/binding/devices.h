// What this build and this machine offer.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

/** Why there is no CUDA device here. */
constexpr const char* kNoCudaReason = "This build has no CUDA backend.";

Napi::Value info(const Napi::CallbackInfo& call);
Napi::Value devices(const Napi::CallbackInfo& call);

}  // namespace fa::binding
