#include "binding/call_settings.h"

#include <memory>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "core/cancel.h"

namespace fa::binding {

namespace {

constexpr napi_type_tag kFlagTag = {0x5c2e9d40a1b74f83, 0x96f30d8b47e2ac15};

const AbortFlag& flag_of(const Napi::Value& value) {
  const Napi::Env env = value.Env();
  bool ours = false;
  if (value.IsObject() && napi_check_object_type_tag(env, value, &kFlagTag, &ours) != napi_ok) {
    throw Napi::Error::New(env);
  }
  void* data = nullptr;
  if (!ours || napi_unwrap(env, value, &data) != napi_ok || data == nullptr) {
    refuse(ErrorCode::kType, "flag", "what newAbortFlag() gave", shown(value));
  }
  return *static_cast<AbortFlag*>(data);
}

}  // namespace

Napi::Value new_abort_flag(const Napi::CallbackInfo& call) {
  const Napi::Env env = call.Env();
  auto flag = std::make_unique<AbortFlag>(std::make_shared<std::atomic<bool>>(false));
  const Napi::Object object = Napi::Object::New(env);
  const auto free = [](napi_env, void* data, void*) { delete static_cast<AbortFlag*>(data); };
  if (napi_type_tag_object(env, object, &kFlagTag) != napi_ok ||
      napi_wrap(env, object, flag.get(), free, nullptr, nullptr) != napi_ok) {
    throw Napi::Error::New(env);
  }
  static_cast<void>(flag.release());  // JavaScript has it now
  return object;
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
