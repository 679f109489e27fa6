// A device as one environment sees it: its memory and an ordered queue of work. Calls enqueue and
// return; order of execution is order of calls. Every backend implements this class.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/attention.h"
#include "core/plan.h"
#include "core/quantize.h"
#include "core/storage.h"

namespace fa {

/**
 * A tensor as a stream sees it: a view and the storage it must keep alive until the work has run.
 */
struct TensorRef {
  std::shared_ptr<Storage> storage;
  View view;
};

/**
 * The storages of a call: `reads` hold its inputs, `writes` its outputs. A failed read fails every
 * write.
 */
struct TaskStorages {
  std::vector<std::shared_ptr<Storage>> reads;
  std::vector<std::shared_ptr<Storage>> writes;
};

class Stream {
 public:
  virtual ~Stream() = default;

  /** "cpu", "cuda:0", ... */
  virtual const std::string& device() const = 0;

  /** Uninitialised, 64-byte aligned memory. Throws Error{kOutOfMemory}. `bytes` may be 0. */
  virtual std::shared_ptr<Storage> allocate(size_t bytes) = 0;

  // Before any task has touched `target`: `host` is JavaScript's memory and is not looked at after
  // the call. Both sides are contiguous. Tasks enqueued later find `target` filled, and its storage
  // counts as written before any task.
  virtual void upload(const void* host, DType host_dtype, const TensorRef& target) = 0;

  /** Throws Error unless this device has a kernel for a valid forward call. */
  virtual void check_supported(const AttentionProblem& problem) const = 0;

  // Enqueued. Storages that a task reads belong to this stream, but for those of `receive`: another
  // stream's task that writes them is waited for.
  virtual void attention(const AttentionProblem& problem, TaskStorages storages,
                         bool check_contents) = 0;
  virtual void attention_backward(const AttentionProblem& problem,
                                  const AttentionGradients& gradients, TaskStorages storages,
                                  bool check_contents) = 0;
  /** outs [B, S, H, D] and lses (float32, [B, H, S]), one pair per state -> out, lse. */
  virtual void merge_states(const std::vector<View>& outs, const std::vector<View>& lses,
                            const View& out, const View& lse, TaskStorages storages) = 0;
  /** Element-wise conversion of any view into a contiguous one of the same shape. */
  virtual void convert(const View& source, const View& target, TaskStorages storages) = 0;
  /** plain [batch, seqlen, heads, dim] -> values and scales; and back. */
  virtual void quantize(const View& plain, const Quantized& quantized, TaskStorages storages) = 0;
  virtual void dequantize(const Quantized& quantized, const View& plain, TaskStorages storages) = 0;
  virtual void fill_zero(const View& target, TaskStorages storages) = 0;
  /**
   * Standard normal values: Box-Muller over Philox4x32-10 by element index; the same on every
   * device.
   */
  virtual void fill_normal(const View& target, uint64_t seed, TaskStorages storages) = 0;
  /**
   * Converts `source` to contiguous `dtype` at `host`, which nobody else touches until the
   * completion has run.
   */
  virtual void download(const View& source, DType dtype, void* host, TaskStorages storages) = 0;

  /** The reverse: `host` is contiguous, as is `target`, and belongs to one of the storages read. */
  virtual void receive(const void* host, DType dtype, const View& target,
                       TaskStorages storages) = 0;

  /**
   * Writes to `milliseconds` how long the device was at what was enqueued since the lap before; 0
   * for the first.
   */
  virtual void lap(double* milliseconds, TaskStorages storages) = 0;

  /** The index tensors of `problem` are host memory. */
  virtual AttentionPlan plan(const AttentionProblem& problem) = 0;

  /** Sequence number of the task enqueued last (0: none yet). */
  virtual uint64_t last_enqueued() const = 0;
  /** True when the task with that number has run. */
  virtual bool completed(uint64_t sequence) const = 0;
  /** Blocks until the task with that number has run. For any thread. */
  virtual void wait(uint64_t sequence) = 0;
  /**
   * Calls `done` from a thread of the stream once all tasks enqueued so far have run; also at
   * shutdown.
   */
  virtual void notify(std::function<void()> done) = 0;

  /**
   * Drops what has not started, interrupts what runs, returns when no thread touches any storage.
   * Idempotent.
   */
  virtual void shutdown() = 0;
};

}  // namespace fa
