// Keys and values into pages; rotary position embedding.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

/**
 * (k, v, kPages, vPages, slots, rotary | undefined, kScales | undefined, vScales | undefined) ->
 * [kPages, vPages, kScales, vScales], updated in place.
 */
Napi::Value append(const Napi::CallbackInfo& info);
/** (x, rotary) -> x, rotated. */
Napi::Value rotate(const Napi::CallbackInfo& info);

}  // namespace fa::binding
