// Promises that a stream settles: the bridge from its threads back to the event loop.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

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

  /** A promise that is resolved once everything enqueued on `streams` so far has run. */
  Napi::Value synchronized(const std::vector<Stream*>& streams);

  /**
   * Calls `enqueue`, which gives `stream` a task that writes to `target`, the memory of `buffer`.
   * The promise is resolved with `buffer`, or rejected with the failure of the task. Nothing else
   * refers to `buffer` until then, and it is kept alive for as long as the task may write to it.
   */
  Napi::Value filled(Stream& stream, const Napi::ArrayBuffer& buffer,
                     std::shared_ptr<Storage> target, const std::function<void()>& enqueue);

  /**
   * A promise that is resolved with an ArrayBuffer over `storage` once everything enqueued on
   * `stream` so far has run, or rejected with the failure of what should have filled it. Only those
   * tasks hold `storage` besides.
   */
  Napi::Value handed_over(Stream& stream, std::shared_ptr<Storage> storage);

  /** A promise that is rejected already. */
  Napi::Value rejected(const fa::Error& error);

  /**
   * At the end of the environment, after its streams have shut down: drops what is still pending.
   */
  void close();

 private:
  /** What settles a promise. */
  struct Outcome {
    std::shared_ptr<Storage> target{};  // whose failure rejects it
    Napi::Value buffer{};               // what else resolves it; or
    bool hands_over = false;            // the memory of `target` itself
  };
  /**
   * What the executor of `new Promise` gets. (What napi_create_promise gives leaks unless it is
   * settled, and in an environment that is being terminated nothing can be.)
   */
  // References of node-addon-api throw as they are moved. NOLINTNEXTLINE(bugprone-exception-escape)
  struct Functions {
    Napi::FunctionReference resolve, reject;
  };
  struct Pending;

  Napi::Value new_promise(Functions& functions);
  /** A promise of what `enqueue` enqueues. */
  Napi::Value pend(const std::vector<Stream*>& streams, Outcome outcome,
                   const std::function<void()>& enqueue);
  /** One of work that has run: most of what a short call costs would be to make it wait. */
  Napi::Value settled(const Outcome& outcome);
  /** One of work that has not. */
  Napi::Value waiting(const std::vector<Stream*>& streams, Outcome outcome);
  static void settle(napi_env env, napi_value, void* context, void* data);
  /** Settles the promise; what it waited for has run. */
  void settle(Pending* key);
  /** What a promise is resolved with; or the failure that it is rejected with. */
  Failure result_of(const Outcome& outcome, Napi::Value& result);

  Napi::Env env_;
  Napi::FunctionReference constructor_;
  Napi::FunctionReference executor_;
  Functions executed_;  // what the executor was called with
  napi_threadsafe_function wake_ = nullptr;
  std::unordered_map<Pending*, std::unique_ptr<Pending>> pending_;
};

}  // namespace fa::binding
