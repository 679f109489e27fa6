// The ways to wait for a stream.
#pragma once

#include "binding/napi.h"

namespace fa::binding {

Napi::Value read(const Napi::CallbackInfo& call);
/**
 * The same, in the tensor's own dtype, of a tensor that is disposed by it: without a copy where its
 * memory can be given away.
 */
Napi::Value take(const Napi::CallbackInfo& call);
/** What Stream::lap measures, as the promise of an ArrayBuffer with one float64. */
Napi::Value lap(const Napi::CallbackInfo& call);
Napi::Value synchronize(const Napi::CallbackInfo& call);

}  // namespace fa::binding
