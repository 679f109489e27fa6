// An ordered queue of work on a device, as one environment sees it: one of two, by priority. Calls
// enqueue and return; a thread of the stream takes the tasks in the order of the calls and gives
// their operations to the device's backend.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/priority.h"
#include "core/queue.h"

namespace fa {

/** Everything but `completed`, `wait` and `await` is for one thread, the environment's own. */
class Stream final {
 public:
  explicit Stream(std::unique_ptr<Backend> backend, Priority priority = Priority::kNormal)
      : backend_(std::move(backend)), priority_(priority) {}
  ~Stream() { shutdown(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  const std::string& device() const { return backend_->device(); }
  Priority priority() const { return priority_; }

  /** See Backend. */
  size_t capacity() const { return backend_->capacity(); }
  std::shared_ptr<Storage> allocate(size_t bytes) { return backend_->allocate(this, bytes); }

  // Before any task has touched `target`: `host` is JavaScript's memory and is not looked at after
  // the call. Both sides are contiguous. Tasks enqueued later find `target` filled.
  void upload(const void* host, DType host_dtype, const TensorRef& target) {
    backend_->upload(*this, host, host_dtype, target);
  }

  template <typename Problem>
  void check_supported(const Problem& problem) const {
    backend_->check_supported(problem);
  }
  void check_gradients_supported(const AttentionProblem& problem) const {
    backend_->check_gradients_supported(problem);
  }
  bool shares_prefixes() const { return backend_->shares_prefixes(); }
  size_t decode_list_bytes(const AttentionProblem& problem) const {
    return backend_->decode_list_bytes(problem);
  }
  AttentionPlan plan(const AttentionProblem& problem) const { return backend_->plan(problem); }

  /**
   * Enqueues a task. It waits for tasks of other streams that write what it reads, or read what it
   * writes to in place. It does nothing but fail its results when something it reads has failed,
   * when the flag of `stop_on` is set before it has finished, or when nobody else holds them any
   * more. A brief one has run when this returns, if all before it have.
   */
  void enqueue(std::unique_ptr<const Operation> operation, TaskStorages storages);
  void enqueue(Operation operation, TaskStorages storages) {
    enqueue(std::make_unique<const Operation>(std::move(operation)), std::move(storages));
  }

  /**
   * Enqueues a task and returns once it has run; throws what its results have failed with. On the
   * CPU it runs on the calling thread, once the queue is empty, and wakes no other. It has results
   * that the caller holds too.
   */
  void run(std::unique_ptr<const Operation> operation, TaskStorages storages);
  void run(Operation operation, TaskStorages storages) {
    run(std::make_unique<const Operation>(std::move(operation)), std::move(storages));
  }

  /** Whether what is enqueued runs on a device of its own, with its own memory. */
  bool asynchronous() const { return backend_->asynchronous(); }

  /** Tasks enqueued from now on stop when it is set. Null: none does. */
  void stop_on(AbortFlag aborted) { aborted_ = std::move(aborted); }

  /** Sequence number of the task enqueued last (0: none yet). */
  uint64_t last_enqueued() const { return enqueued_; }
  /** True when the task with that number has run and that is known. */
  bool completed(uint64_t sequence) const {
    return completed_.load(std::memory_order_acquire) >= sequence;
  }
  /** Whether all tasks so far are known to have run. If not, that will be noticed. */
  bool idle() {
    announce(enqueued_);
    return completed(enqueued_);
  }
  /** Blocks until all tasks up to that number have run. For the environment's thread. */
  void wait(uint64_t sequence);
  /**
   * Calls `done` from a thread of the stream once all tasks enqueued so far have run; also at
   * shutdown.
   */
  void notify(std::function<void()> done);

  /** Drops what has not started and interrupts what runs, without waiting for it. */
  void close();
  /** Closes, and returns when no thread touches any storage. Idempotent. */
  void shutdown();

 private:
  struct Task {
    std::unique_ptr<const Operation> operation;  // null: a notification, which has `done` alone
    TaskStorages storages;
    AbortFlag aborted;
    std::vector<std::pair<Stream*, uint64_t>> awaited;  // tasks of other streams that it needs
    bool reads_elsewhere = false;                       // what it reads is memory of other streams
    bool reports = false;  // has its end noticed, for other streams may wait for it
    std::function<void()> done;
    uint64_t sequence = 0;  // its number; of a notification that of the task before it
  };

  Task new_task(std::unique_ptr<const Operation> operation, TaskStorages storages);
  static void await_other(Task& task, Stream* other, uint64_t sequence);
  void remember_read(Storage& storage, uint64_t sequence);
  void push(Task task);
  bool can_run_here(const Task& task) const;
  void run_here(Task task);
  void announce(uint64_t sequence);
  void await(uint64_t sequence);
  void dispatch();
  void execute(const Task& task);
  void end(Task task);
  void complete(uint64_t sequence);

  const std::unique_ptr<Backend> backend_;
  const Priority priority_;
  uint64_t enqueued_ = 0;
  AbortFlag aborted_;     // of tasks to come
  bool reports_ = false;  // tasks do, from now on
  uint64_t silent_ = 0;   // the last one that does not
  std::atomic<uint64_t> completed_{0};
  std::atomic<bool> closed_{false};
  std::mutex mutex_;             // of ran_
  std::condition_variable ran_;  // completed_ has grown
  WorkQueue<Task> tasks_;
  std::thread thread_;  // started by the first task
};

}  // namespace fa
