#include "binding/tensor_handle.h"

#include <utility>

#include "binding/arguments.h"

namespace fa::binding {

namespace {

// A random number that marks our objects: a wrong one is an error and never a wrong pointer.
constexpr napi_type_tag kTensorTag = {0x8b1f0c5d7a3e4962, 0xb4d5e2a917c80f36};

class Handle {
 public:
  Handle(Napi::Env env, TensorRef tensor)
      : env_(env), ledger_(Environment::of(env).ledger()), tensor_(std::move(tensor)) {
    ledger_->add(env_, *tensor_.storage);
  }
  ~Handle() { release(); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  bool disposed() const { return tensor_.storage == nullptr; }
  const TensorRef& tensor() const { return tensor_; }

  void release() {
    if (disposed()) return;
    ledger_->remove(env_, *tensor_.storage);
    tensor_.storage.reset();
  }

 private:
  Napi::Env env_;
  std::shared_ptr<Ledger> ledger_;  // handles may be finalized after the environment's own data
  TensorRef tensor_;                // without storage once disposed
};

void finalize(napi_env, void* data, void*) { delete static_cast<Handle*>(data); }

Handle& handle_of(const Napi::Value& value, const char* argument) {
  const Napi::Env env = value.Env();
  bool ours = false;
  if (value.IsObject() && napi_check_object_type_tag(env, value, &kTensorTag, &ours) != napi_ok) {
    throw Napi::Error::New(env);
  }
  void* data = nullptr;
  if (!ours || napi_unwrap(env, value, &data) != napi_ok || data == nullptr) {
    reject(ErrorCode::kType, argument, "a tensor", shown(value));
  }
  return *static_cast<Handle*>(data);
}

}  // namespace

Napi::Object new_handle(Napi::Env env, TensorRef tensor) {
  auto handle = std::make_unique<Handle>(env, std::move(tensor));
  const Napi::Object object = Napi::Object::New(env);
  if (napi_type_tag_object(env, object, &kTensorTag) != napi_ok ||
      napi_wrap(env, object, handle.get(), finalize, nullptr, nullptr) != napi_ok) {
    throw Napi::Error::New(env);
  }
  handle.release();
  return object;
}

TensorRef tensor_of(const Napi::Value& value, const char* argument) {
  const Handle& handle = handle_of(value, argument);
  if (handle.disposed()) {
    reject(ErrorCode::kDisposed, argument, "a tensor", "a disposed one");
  }
  return handle.tensor();
}

void dispose_handle(const Napi::Value& value, const char* argument) {
  handle_of(value, argument).release();
}

}  // namespace fa::binding
