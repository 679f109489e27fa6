#include "binding/tensor_handle.h"

#include <utility>

#include "binding/arguments.h"
#include "binding/wrapped.h"

namespace fa::binding {

static constexpr napi_type_tag kTensorTag = {0x8b1f0c5d7a3e4962, 0xb4d5e2a917c80f36};

class Handle {
 public:
  Handle(Napi::Env env, TensorRef tensor)
      : env_(env), ledger_(Environment::of(env).ledger()), tensor_(std::move(tensor)) {
    ledger_->add(env_, *tensor_.storage);
    before_ = &ledger_->first_handle;
    after_ = *before_;
    if (after_ != nullptr) after_->before_ = &after_;
    *before_ = this;
  }
  ~Handle() {
    release();
    if (object_ != nullptr) napi_delete_reference(env_, object_);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  bool disposed() const { return tensor_.storage == nullptr; }
  const TensorRef& tensor() const { return tensor_; }

  void release() {
    if (disposed()) return;
    ledger_->remove(env_, *tensor_.storage);
    tensor_.storage.reset();
    *before_ = after_;
    if (after_ != nullptr) after_->before_ = before_;
  }

  /** Makes `object` the one that this stands behind, and that owns it. */
  void wrap(napi_value object) {
    if (napi_type_tag_object(env_, object, &kTensorTag) != napi_ok ||
        napi_wrap(env_, object, this, finalize, nullptr, &object_) != napi_ok)
      throw Napi::Error::New(env_);
  }

  /** Releases this handle and those after it whose objects were collected. */
  static void release_collected(Handle* handle) {
    while (handle != nullptr) {
      Handle* const after = handle->after_;
      if (handle->collected()) handle->release();
      handle = after;
    }
  }

 private:
  static void finalize(napi_env, void* data, void*) { delete static_cast<Handle*>(data); }

  bool collected() const {
    if (object_ == nullptr) return false;  // not wrapped yet
    const Napi::HandleScope scope(env_);
    napi_value object = nullptr;
    return napi_get_reference_value(env_, object_, &object) == napi_ok && object == nullptr;
  }

  Napi::Env env_;
  std::shared_ptr<Ledger> ledger_;  // handles may be finalized after the environment's own data
  TensorRef tensor_;                // without storage once disposed
  napi_ref object_ = nullptr;       // weak
  Handle** before_;                 // the ledger's list of those that are not disposed
  Handle* after_;
};

namespace {

/** [dtype, ...shape]: one array is what JavaScript can be told fastest. */
Napi::Array description(Napi::Env env, const View& view) {
  Napi::Array numbers = Napi::Array::New(env, static_cast<size_t>(view.rank) + 1);
  numbers.Set(uint32_t{0}, static_cast<int>(view.dtype));
  for (int axis = 0; axis < view.rank; ++axis) {
    numbers.Set(static_cast<uint32_t>(axis) + 1, static_cast<double>(view.shape[axis]));
  }
  return numbers;
}

Handle& handle_of(const Napi::Value& value, const char* argument) {
  return unwrapped<Handle>(value, kTensorTag, argument, "a tensor");
}

}  // namespace

Napi::Object new_handle(Napi::Env env, TensorRef tensor) {
  const Napi::Object object = Napi::Object::New(env);
  auto handle = std::make_unique<Handle>(env, std::move(tensor));
  handle->wrap(object);
  static_cast<void>(handle.release());  // JavaScript has it now
  return object;
}

Napi::Object new_result(Napi::Env env, TensorRef tensor) {
  const Napi::Array told = description(env, tensor.view);
  Napi::Object handle = new_handle(env, std::move(tensor));
  handle.Set(Environment::of(env).description(), told);
  return handle;
}

Napi::Array new_results(Napi::Env env, std::initializer_list<TensorRef> tensors) {
  Napi::Array results = Napi::Array::New(env, tensors.size());
  uint32_t i = 0;
  for (const TensorRef& tensor : tensors) {
    results.Set(i++, tensor.storage ? Napi::Value(new_result(env, tensor)) : env.Null());
  }
  return results;
}

TensorRef tensor_of(const Napi::Value& value, const char* argument) {
  const Handle& handle = handle_of(value, argument);
  if (handle.disposed()) {
    refuse(ErrorCode::kDisposed, argument, "a tensor", "a disposed one");
  }
  return handle.tensor();
}

void check_device(const TensorRef& tensor, const Stream& stream, const char* argument) {
  const Stream& own = *tensor.storage->stream();
  if (&own == &stream || own.device() == stream.device()) return;
  refuse(ErrorCode::kDevice, argument, "a tensor on " + stream.device(), "one on " + own.device());
}

void dispose_handle(const Napi::Value& value, const char* argument) {
  handle_of(value, argument).release();
}

void release_collected(Napi::Env env) {
  Handle::release_collected(Environment::of(env).ledger()->first_handle);
}

}  // namespace fa::binding
