#include "binding/call_settings.h"

#include <memory>
#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/wrapped.h"
#include "core/cancel.h"

namespace fa::binding {

namespace {

constexpr napi_type_tag kFlagTag = {0x5c2e9d40a1b74f83, 0x96f30d8b47e2ac15};

const AbortFlag& flag_of(const Napi::Value& value) {
  return unwrapped<AbortFlag>(value, kFlagTag, "flag", "what newAbortFlag() gave");
}

}  // namespace

Napi::Value new_abort_flag(const Napi::CallbackInfo& call) {
  auto flag = std::make_unique<AbortFlag>(std::make_shared<std::atomic<bool>>(false));
  return wrapped(call.Env(), std::move(flag), kFlagTag);
}

Napi::Value abort(const Napi::CallbackInfo& call) {
  flag_of(call[0])->store(true, std::memory_order_relaxed);
  return call.Env().Undefined();
}

Napi::Value stop_on(const Napi::CallbackInfo& call) {
  const AbortFlag flag = call[0].IsUndefined() ? nullptr : flag_of(call[0]);
  Environment::of(call.Env()).stop_on(flag);
  return call.Env().Undefined();
}

Napi::Value prioritize(const Napi::CallbackInfo& call) {
  const int64_t priority = to_integer(call[0], "priority", 0, 1);
  Environment::of(call.Env()).prioritize(static_cast<Priority>(priority));
  return call.Env().Undefined();
}

}  // namespace fa::binding
