// What JavaScript aborts calls with: a flag that tasks look at.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

Napi::Value new_abort_flag(const Napi::CallbackInfo& call);
/** Sets a flag, for good. */
Napi::Value abort(const Napi::CallbackInfo& call);
/** Tasks enqueued from now on stop when the flag is set; undefined: none does. */
Napi::Value stop_on(const Napi::CallbackInfo& call);

}  // namespace fa::binding
