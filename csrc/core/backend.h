// A kind of device, as a stream drives it: its memory, and what it does with operations.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "core/cancel.h"
#include "core/ops.h"
#include "core/plan.h"
#include "core/storage.h"

namespace fa {

class Backend {
 public:
  virtual ~Backend() = default;

  // For the environment's thread.

  /** "cpu", "cuda:0", ... */
  virtual const std::string& device() const = 0;
  /** Bytes that the device could hold if it held nothing else. */
  virtual size_t capacity() const = 0;
  /** Uninitialised, 64-byte aligned memory. Throws Error{kOutOfMemory}. `bytes` may be 0. */
  virtual std::shared_ptr<Storage> allocate(Stream* stream, size_t bytes) = 0;
  /** See Stream::upload. */
  virtual void upload(Stream& stream, const void* host, DType host_dtype,
                      const TensorRef& target) = 0;
  /** Throws Error unless this device has a kernel for a valid forward call. */
  virtual void check_supported(const AttentionProblem& problem) const = 0;
  /** The same for its gradients. */
  virtual void check_gradients_supported(const AttentionProblem& problem) const = 0;
  /** The same for a valid convolution. */
  virtual void check_supported(const Convolution& convolution) const = 0;
  /** Whether it makes use of shared_prefixes. */
  virtual bool shares_prefixes() const = 0;
  /**
   * Bytes of lists that a replay of decode steps brings to the device beside their tables;
   * `problem` is a layer of a graph. Throws Error unless the device can replay such layers.
   */
  virtual size_t decode_list_bytes(const AttentionProblem& problem) const = 0;
  /** The index tensors of `problem` are host memory. */
  virtual AttentionPlan plan(const AttentionProblem& problem) const = 0;
  /** After `finish`: ends threads of its own. */
  virtual void shutdown() {}

  /**
   * Whether an operation takes no longer than to wake a thread for it. A stream runs such a one at
   * once, on the environment's thread, when nothing is queued.
   */
  virtual bool is_brief(const Operation&) const { return false; }

  /** Threads that it will want beside the stream's: for `expect`. */
  virtual int helpers_of(const Operation&) const { return 0; }
  /** The stream's thread is being woken for an operation that will want so many. */
  virtual void expect(int /*helpers*/) {}

  // For the stream's thread; `run` of a backend that is not asynchronous also for that of the
  // environment, while the queue is empty.

  /** Comes first. */
  virtual void begin() {}
  /** Whether an operation may go on after `run` has returned. */
  virtual bool asynchronous() const = 0;
  /** Runs an operation, or has it run behind all before it. Throws what is wrong with it. */
  virtual void run(const Operation& operation, const TaskStorages& storages, Cancel cancel) = 0;
  /** Called with what the device has failed with since, if anything. */
  using Then = std::function<void(const Failure&)>;
  /** Calls `then`, on any thread, once all operations so far have run. */
  virtual void once_run(Then then) = 0;
  /** Comes last: returns when no operation touches any memory. */
  virtual void finish() {}
};

}  // namespace fa
