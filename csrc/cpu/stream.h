// The CPU as one environment sees it: a queue of tasks and the thread that runs them in order, with
// the shared thread pool's help.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "core/stream.h"
#include "core/validate.h"

namespace fa::cpu {

/** Everything but `completed` and `wait` is for one thread, the environment's own. */
class CpuStream final : public Stream {
 public:
  CpuStream() = default;
  ~CpuStream() override { shutdown(); }

  const std::string& device() const override { return device_; }
  std::shared_ptr<Storage> allocate(size_t bytes) override;
  void upload(const void* host, DType host_dtype, const TensorRef& target) override;

  void check_supported(const AttentionProblem& problem) const override {
    if (problem.float8()) refuse_float8("on a CPU");
  }
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
  using Work = std::function<void(const std::atomic<bool>* cancel)>;

  struct Task {
    Work work;
    TaskStorages storages;
    std::function<void()> done;                         // a notification has this and nothing else
    std::vector<std::pair<Stream*, uint64_t>> awaited;  // tasks of other streams that it needs
  };

  void enqueue(Work work, TaskStorages storages);
  void push(Task task);
  void dispatch();
  void await_push(std::unique_lock<std::mutex>& lock);
  void execute(Task& task);

  const std::string device_ = "cpu";
  uint64_t enqueued_ = 0;
  std::atomic<uint64_t> completed_{0};
  std::atomic<bool> cancel_{false};

  std::chrono::steady_clock::time_point lap_;  // the stream's thread's; the epoch before the first

  std::mutex mutex_;  // guards the queue
  std::deque<Task> queue_;
  std::condition_variable pushed_;
  std::atomic<uint64_t> pushes_{0};
  std::condition_variable ran_;
  std::thread thread_;  // started by the first task
};

}  // namespace fa::cpu
