#include "binding/promises.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "binding/environment.h"
#include "binding/errors.h"

namespace fa::binding {

struct Promises::Pending {
  Functions functions;
  Outcome outcome;
  Napi::ObjectReference buffer;  // keeps that of the outcome alive
};

Promises::Promises(Napi::Env env)
    : env_(env),
      constructor_(Napi::Persistent(env.Global().Get("Promise").As<Napi::Function>())),
      executor_(Napi::Persistent(Napi::Function::New(env, [this](const Napi::CallbackInfo& call) {
        executed_.resolve = Napi::Persistent(call[0].As<Napi::Function>());
        executed_.reject = Napi::Persistent(call[1].As<Napi::Function>());
      }))) {
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, Napi::String::New(env, "flash-attention"), 0, 1, nullptr, nullptr,
      this, &Promises::settle, &wake_);
  if (status != napi_ok) throw Napi::Error::New(env);
  napi_unref_threadsafe_function(env, wake_);
}

// Here, where Pending is complete.
Promises::~Promises() = default;

Napi::Value Promises::synchronized(const std::vector<Stream*>& streams) {
  return pend(streams, {}, [] {});
}

Napi::Value Promises::filled(Stream& stream, const Napi::ArrayBuffer& buffer,
                             std::shared_ptr<Storage> target,
                             const std::function<void()>& enqueue) {
  return pend({&stream}, {.target = std::move(target), .buffer = buffer}, enqueue);
}

Napi::Value Promises::handed_over(Stream& stream, std::shared_ptr<Storage> storage) {
  return pend({&stream}, {.target = std::move(storage), .hands_over = true}, [] {});
}

Napi::Value Promises::rejected(const fa::Error& error) {
  Functions functions;
  const Napi::Value promise = new_promise(functions);
  functions.reject.Call({to_javascript(env_, error).Value()});
  return promise;
}

Napi::Value Promises::new_promise(Functions& functions) {
  const Napi::Value promise = constructor_.New({executor_.Value()});
  functions = std::exchange(executed_, {});
  return promise;
}

Napi::Value Promises::settled(const Outcome& outcome) {
  Napi::Value result = env_.Undefined();
  const Failure failure = result_of(outcome, result);
  if (failure) result = to_javascript(env_, *failure).Value();
  // Settled at once, it does not leak.
  const auto deferred = Napi::Promise::Deferred::New(env_);
  if (failure)
    deferred.Reject(result);
  else
    deferred.Resolve(result);
  return deferred.Promise();
}

Napi::Value Promises::pend(const std::vector<Stream*>& streams, Outcome outcome,
                           const std::function<void()>& enqueue) {
  try {
    enqueue();
    // A device is waited for even so: what it has freed goes back then.
    const bool all_ran = std::all_of(streams.begin(), streams.end(), [](const Stream* stream) {
      return !stream->asynchronous() && stream->completed(stream->last_enqueued());
    });
    if (all_ran) return settled(outcome);
    return waiting(streams, std::move(outcome));
  } catch (...) {
    // Or a task would write into memory nobody holds.
    for (Stream* const stream : streams) stream->wait(stream->last_enqueued());
    throw;
  }
}

Napi::Value Promises::waiting(const std::vector<Stream*>& streams, Outcome outcome) {
  auto owned = std::make_unique<Pending>();
  const Napi::Value promise = new_promise(owned->functions);
  if (!outcome.buffer.IsEmpty())
    owned->buffer = Napi::Persistent(outcome.buffer.As<Napi::Object>());
  owned->outcome = {.target = std::move(outcome.target), .hands_over = outcome.hands_over};
  Pending* const pending = owned.get();
  pending_.emplace(pending, std::move(owned));
  try {
    const auto running = std::make_shared<std::atomic<size_t>>(streams.size());
    for (Stream* const stream : streams) {
      stream->notify([wake = wake_, pending, running] {
        if (--*running > 0) return;
        // Fails only while the environment closes; then close() drops the promise.
        napi_call_threadsafe_function(wake, pending, napi_tsfn_nonblocking);
      });
    }
  } catch (...) {
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

Failure Promises::result_of(const Outcome& outcome, Napi::Value& result) {
  if (!outcome.target) return nullptr;
  if (Failure failure = outcome.target->failure()) return failure;
  try {
    result = outcome.hands_over ? Environment::of(env_).array_buffer_over(outcome.target)
                                : outcome.buffer;
    return nullptr;
  } catch (...) {
    return current_failure();
  }
}

void Promises::settle(Pending* key) {
  const auto found = pending_.find(key);
  if (found == pending_.end()) return;
  const std::unique_ptr<Pending> pending = std::move(found->second);
  pending_.erase(found);
  if (pending_.empty()) napi_unref_threadsafe_function(env_, wake_);
  try {
    Outcome& outcome = pending->outcome;
    if (!pending->buffer.IsEmpty()) outcome.buffer = pending->buffer.Value();
    Napi::Value result = env_.Undefined();
    const Failure failure = result_of(outcome, result);
    if (failure) {
      pending->functions.reject.Call({to_javascript(env_, *failure).Value()});
    } else {
      pending->functions.resolve.Call({result});
    }
  } catch (const Napi::Error&) {
    // The environment is being terminated and takes no values any more.
  }
}

}  // namespace fa::binding
