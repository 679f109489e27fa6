// Promises that a stream settles: the bridge from its threads back to the event loop.
#pragma once

#include <memory>
#include <unordered_map>

#include "binding/napi.h"
#include "core/stream.h"

namespace fa::binding {

/**
 * The pending promises of one environment. They share one thread-safe function, which keeps the
 * process alive only while any of them is pending. All members are for the JavaScript thread.
 */
class Promises {
 public:
  explicit Promises(Napi::Env env);
  ~Promises();
  Promises(const Promises&) = delete;
  Promises& operator=(const Promises&) = delete;

  /**
   * A promise that is settled once everything enqueued on `stream` so far has run: rejected with the
   * failure of `target`, if any, else resolved with `value`. Both may be empty.
   */
  Napi::Value after(Stream& stream, const Napi::Object& value, std::shared_ptr<Storage> target);

  /** At the end of the environment, after its streams have shut down: drops what is still pending. */
  void close();

 private:
  struct Pending;

  static void settle(napi_env env, napi_value, void* context, void* data);
  void settle(Pending* pending);

  Napi::Env env_;
  napi_threadsafe_function wake_ = nullptr;
  std::unordered_map<Pending*, std::unique_ptr<Pending>> pending_;
};

}  // namespace fa::binding
