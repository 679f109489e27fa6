// C++ objects behind JavaScript ones. A random number marks each kind of ours: a wrong object is an
// error and never a wrong pointer.
#pragma once

#include <memory>

#include "binding/arguments.h"
#include "binding/napi.h"

namespace fa::binding {

/** An object that owns `value` until it is collected. */
template <typename T>
Napi::Object wrapped(Napi::Env env, std::unique_ptr<T> value, const napi_type_tag& tag) {
  const Napi::Object object = Napi::Object::New(env);
  const auto free = [](napi_env, void* data, void*) { delete static_cast<T*>(data); };
  if (napi_type_tag_object(env, object, &tag) != napi_ok ||
      napi_wrap(env, object, value.get(), free, nullptr, nullptr) != napi_ok) {
    throw Napi::Error::New(env);
  }
  static_cast<void>(value.release());  // JavaScript has it now
  return object;
}

/** What is behind an object; throws Error{kType} when it is none with that mark. */
template <typename T>
T& unwrapped(const Napi::Value& value, const napi_type_tag& tag, const char* argument,
             const char* expected) {
  const Napi::Env env = value.Env();
  bool ours = false;
  if (value.IsObject() && napi_check_object_type_tag(env, value, &tag, &ours) != napi_ok) {
    throw Napi::Error::New(env);
  }
  void* data = nullptr;
  if (!ours || napi_unwrap(env, value, &data) != napi_ok || data == nullptr) {
    refuse(ErrorCode::kType, argument, expected, shown(value));
  }
  return *static_cast<T*>(data);
}

}  // namespace fa::binding
