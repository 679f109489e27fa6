// C++ exceptions as JavaScript errors with `code` and `argument`.
#pragma once

#include "binding/napi.h"
#include "core/error.h"

namespace fa::binding {

/** An Error with the message, `code` and (when there is one) `argument` of `error`. */
Napi::Error to_javascript(Napi::Env env, const fa::Error& error);

/**
 * The exception being handled, for JavaScript. What JavaScript itself has thrown stays as it is.
 */
Napi::Error current_exception_to_javascript(Napi::Env env);

/** `function` as JavaScript calls it: whatever it throws arrives there as an error with a code. */
template <Napi::Value (*function)(const Napi::CallbackInfo&)>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return function(info);
  } catch (...) {
    throw current_exception_to_javascript(info.Env());
  }
}

}  // namespace fa::binding
