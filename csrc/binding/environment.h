// Everything that belongs to one JavaScript environment (the main thread, or a worker). There is
// one instance of this class per environment and nothing of it is static.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "binding/ledger.h"
#include "binding/napi.h"
#include "binding/promises.h"
#include "core/stream.h"
#include "cpu/trace.h"

namespace fa::binding {

class Environment {
 public:
  /** Makes the instance of `env`, to be found by `of`. Node destroys it. */
  static void open(Napi::Env env);
  static Environment& of(Napi::Env env);

  explicit Environment(Napi::Env env);

  Napi::Env env() const { return env_; }
  const std::shared_ptr<Ledger>& ledger() const { return ledger_; }
  Promises& promises() { return promises_; }

  /** The key under which the handles of results hold [dtype, ...shape]. */
  Napi::Symbol description() const { return description_.Value(); }

  /**
   * The stream that calls for a device go to: that of the priority in force, opened when first
   * asked for. Throws Error{kDevice} for no device, Error{kDeviceUnavailable} for one not here,
   * Error{kCuda} for one that fails.
   */
  Stream& stream(const std::string& device);
  /** The stream that a call on `input` goes to. */
  Stream& stream(const Storage& input);
  /** All streams of a device; opens one when there is none. */
  std::vector<Stream*> streams(const std::string& device);

  /** Calls from now on have this priority. */
  void prioritize(Priority priority) { priority_ = priority; }
  Priority priority() const { return priority_; }

  /** See Stream::stop_on; for all streams. */
  void stop_on(const AbortFlag& flag);

  /** See cpu::Trace. Throws Error{kState} while there is a trace. */
  void start_trace(size_t capacity) { trace_ = cpu::Trace::start(capacity); }
  /** The trace that this environment started; throws Error{kState} when there is none. */
  std::shared_ptr<const cpu::Trace> stop_trace();

  /** `new ArrayBuffer(bytes)`; throws Error{kOutOfMemory}. */
  Napi::ArrayBuffer array_buffer(size_t bytes);

  /** What the oldest Node supported makes an ArrayBuffer of without a copy. */
  static constexpr size_t kMostForeignBytes = (size_t{1} << 32) - 1;

  /**
   * An ArrayBuffer over the memory of `storage`, which it holds from now on; a copy where the
   * runtime allows no foreign memory, as Electron does. Throws Error{kOutOfMemory}.
   */
  Napi::ArrayBuffer array_buffer_over(const std::shared_ptr<Storage>& storage);

 private:
  static void close(void* environment);

  Napi::Env env_;
  Napi::FunctionReference array_buffer_;
  Napi::Reference<Napi::Symbol> description_;
  std::shared_ptr<Ledger> ledger_ = std::make_shared<Ledger>();
  Promises promises_;
  AbortFlag stop_on_;                  // for streams opened meanwhile
  std::shared_ptr<cpu::Trace> trace_;  // that runs
  Priority priority_ = Priority::kNormal;
  std::map<std::pair<std::string, Priority>, std::unique_ptr<Stream>> streams_;  // by both
};

}  // namespace fa::binding
