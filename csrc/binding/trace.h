// What the CPU's threads do, work item by work item.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

/** (capacity): loops that begin from now on are traced, with so many events of each thread. */
Napi::Value start_trace(const Napi::CallbackInfo& call);
/** Ends the trace of this environment and gives it; see NativeTrace in lib/native/addon.ts. */
Napi::Value stop_trace(const Napi::CallbackInfo& call);

}  // namespace fa::binding
