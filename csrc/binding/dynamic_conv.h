// Lightweight and dynamic convolutions.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

/** (x, weights, state | undefined, layout, returnState) -> [out, state | null]. */
Napi::Value dynamic_conv(const Napi::CallbackInfo& call);

}  // namespace fa::binding
