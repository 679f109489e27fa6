// What holds for the calls that come next: what aborts them, and which queue they go to.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

/** A flag that tasks look at. */
Napi::Value new_abort_flag(const Napi::CallbackInfo& call);
/** Sets a flag, for good. */
Napi::Value abort(const Napi::CallbackInfo& call);
/** Tasks enqueued from now on stop when the flag is set; undefined: none does. */
Napi::Value stop_on(const Napi::CallbackInfo& call);
/** Calls from now on go to the queues of this priority: 0 normal, 1 high. */
Napi::Value prioritize(const Napi::CallbackInfo& call);

}  // namespace fa::binding
