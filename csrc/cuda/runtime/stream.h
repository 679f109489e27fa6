// A CUDA device as one environment sees it. Three threads share the work: the environment's own
// queues tasks and allocates; the dispatcher takes them in order and enqueues their kernels and
// copies on one CUDA stream; the waiter sleeps until those have run and tells whoever asked. The
// environment's thread never waits for the device.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/stream.h"
#include "cuda/runtime/lane.h"
#include "cuda/runtime/staging.h"
#include "cuda/runtime/work_queue.h"

namespace fa::cuda {

/** Everything but `completed` and `wait` is for one thread, the environment's own. */
class CudaStream final : public Stream {
 public:
  /** Throws Error{kDeviceUnavailable} or Error{kCuda}. */
  explicit CudaStream(Device& device);
  ~CudaStream() override { shutdown(); }

  const std::string& device() const override { return device_.name(); }
  std::shared_ptr<Storage> allocate(size_t bytes) override;
  void upload(const void* host, DType host_dtype, const TensorRef& target) override;

  void attention(const AttentionProblem& problem, TaskStorages storages,
                 bool check_contents) override;
  void attention_backward(const AttentionProblem& problem, const AttentionGradients& gradients,
                          TaskStorages storages, bool check_contents) override;
  void merge_states(const std::vector<View>& outs, const std::vector<View>& lses, const View& out,
                    const View& lse, TaskStorages storages) override;
  void convert(const View& source, const View& target, TaskStorages storages) override;
  void quantize(const View& plain, const Quantized& quantized, TaskStorages storages) override;
  void dequantize(const Quantized& quantized, const View& plain, TaskStorages storages) override;
  void fill_zero(const View& target, TaskStorages storages) override;
  void fill_normal(const View& target, uint64_t seed, TaskStorages storages) override;
  void download(const View& source, DType dtype, void* host, TaskStorages storages) override;
  void receive(const void* host, DType dtype, const View& target, TaskStorages storages) override;

  void check_supported(const AttentionProblem& problem) const override;
  void lap(double* milliseconds, TaskStorages storages) override;

  AttentionPlan plan(const AttentionProblem& problem) override;

  uint64_t last_enqueued() const override { return enqueued_; }
  bool completed(uint64_t sequence) const override {
    return completed_.load(std::memory_order_acquire) >= sequence;
  }
  void wait(uint64_t sequence) override;
  void notify(std::function<void()> done) override;
  void shutdown() override;

 private:
  /** Enqueues on the CUDA stream; what it copies to the host it completes with `then`. */
  using Work = std::function<void()>;

  struct Task {
    Work work;
    TaskStorages storages;
    std::vector<std::pair<Stream*, uint64_t>> awaited;  // tasks of other streams that it needs
    std::function<void()> done;                         // a notification has this and nothing else
    bool reports =
        false;  // its end is noticed though nobody may ask: other streams may wait for it
  };

  /** Called by the waiter with what has gone wrong before it, if anything has. */
  using Then = std::function<void(const Failure&)>;

  struct Completion {
    cudaEvent_t event = nullptr;  // null when none could be recorded: `failure` says why
    Failure failure;
    uint64_t dispatched = 0;  // tasks that have run by then
    Then then;
  };

  void enqueue(Work work, TaskStorages storages, bool reports = false);
  void use_device();
  void dispatch();
  void execute(Task& task);
  void once_run(Then then);
  void await_completions();
  void complete(uint64_t sequence);
  Failure await(cudaEvent_t event);
  void copy_to_host(const char* source, char* host, size_t bytes,
                    const std::shared_ptr<Storage>& target);
  void copy_to_device(const char* host, char* target, size_t bytes);
  Failure examined_failure();

  Device& device_;
  const std::shared_ptr<Lane> lane_;
  const Queue& queue_;
  StagingRing staging_;  // the dispatcher's

  uint64_t enqueued_ = 0;
  uint64_t dispatched_ = 0;  // the dispatcher's
  std::atomic<uint64_t> completed_{0};
  std::atomic<bool> cancel_{false};

  std::mutex mutex_;             // of ran_
  std::condition_variable ran_;  // completed_ has grown

  using Event = std::shared_ptr<std::remove_pointer_t<cudaEvent_t>>;
  Event lap_;  // the waiter's

  WorkQueue<Task> tasks_;
  WorkQueue<Completion> completions_;
  std::thread dispatcher_, waiter_;
};

}  // namespace fa::cuda
