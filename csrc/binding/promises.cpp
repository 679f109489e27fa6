#include "binding/promises.h"

#include <utility>

#include "binding/errors.h"

namespace fa::binding {

struct Promises::Pending {
  Napi::Promise::Deferred deferred;
  Napi::ObjectReference value;
  std::shared_ptr<Storage> target;
};

Promises::Promises(Napi::Env env) : env_(env) {
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, Napi::String::New(env, "flash-attention"), 0, 1, nullptr, nullptr,
      this, &Promises::settle, &wake_);
  if (status != napi_ok) throw Napi::Error::New(env);
  napi_unref_threadsafe_function(env, wake_);
}

// Here, where Pending is complete.
Promises::~Promises() = default;

Napi::Value Promises::after(Stream& stream, const Napi::Object& value,
                            std::shared_ptr<Storage> target) {
  auto owned = std::make_unique<Pending>(
      Pending{Napi::Promise::Deferred::New(env_), Napi::ObjectReference(), std::move(target)});
  if (!value.IsEmpty()) owned->value = Napi::Persistent(value);
  Pending* const pending = owned.get();
  const Napi::Value promise = pending->deferred.Promise();
  pending_.emplace(pending, std::move(owned));
  try {
    stream.notify([wake = wake_, pending] {
      // Fails only while the environment closes; then close() drops the promise.
      napi_call_threadsafe_function(wake, pending, napi_tsfn_nonblocking);
    });
  } catch (...) {
    stream.wait(stream.last_enqueued());  // or a task would write into memory nobody holds
    pending_.erase(pending);
    throw;
  }
  if (pending_.size() == 1) napi_ref_threadsafe_function(env_, wake_);
  return promise;
}

void Promises::close() {
  napi_release_threadsafe_function(wake_, napi_tsfn_abort);
  pending_.clear();
}

void Promises::settle(napi_env env, napi_value, void* context, void* data) {
  if (env == nullptr) return;  // left in the queue of an environment that has closed
  static_cast<Promises*>(context)->settle(static_cast<Pending*>(data));
}

void Promises::settle(Pending* key) {
  const auto found = pending_.find(key);
  if (found == pending_.end()) return;
  const std::unique_ptr<Pending> pending = std::move(found->second);
  pending_.erase(found);
  if (pending_.empty()) napi_unref_threadsafe_function(env_, wake_);
  try {
    const auto failure = pending->target ? pending->target->failure() : nullptr;
    if (failure) {
      pending->deferred.Reject(to_javascript(env_, *failure).Value());
    } else if (pending->value.IsEmpty()) {
      pending->deferred.Resolve(env_.Undefined());
    } else {
      pending->deferred.Resolve(pending->value.Value());
    }
  } catch (const Napi::Error&) {
    // The environment is being terminated and takes no values any more.
  }
}

}  // namespace fa::binding
