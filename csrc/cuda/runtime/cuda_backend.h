// A CUDA device as a stream drives it. Three threads share the work: the environment's own
// allocates; the stream's, the dispatcher, enqueues kernels and copies on one CUDA stream; the
// waiter sleeps until those have run and tells whoever asked. Only the waiter waits for the device.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "core/backend.h"
#include "core/queue.h"
#include "cuda/base/execution.h"
#include "cuda/runtime/event_pool.h"
#include "cuda/runtime/lane.h"
#include "cuda/runtime/staging.h"

namespace fa::cuda {

/** Bytes of the host that go to some place of the device's memory. */
struct HostPart {
  const void* host;
  size_t bytes;
  size_t at;
};

class CudaBackend final : public Backend {
 public:
  /** Throws Error{kDeviceUnavailable} or Error{kCuda}. */
  CudaBackend(Device& device, Priority priority);
  ~CudaBackend() override;

  const std::string& device() const override { return device_.name(); }
  size_t capacity() const override { return device_.properties().totalGlobalMem; }
  std::shared_ptr<Storage> allocate(Stream* stream, size_t bytes) override;
  void upload(Stream& stream, const void* host, DType host_dtype, const TensorRef& target) override;
  void check_supported(const AttentionProblem& problem) const override;
  void check_gradients_supported(const AttentionProblem& problem) const override;
  void check_supported(const Convolution& convolution) const override;
  bool shares_prefixes() const override { return false; }
  size_t decode_list_bytes(const AttentionProblem& problem) const override;
  AttentionPlan plan(const AttentionProblem& problem) const override;
  void shutdown() override;

  void begin() override;
  bool asynchronous() const override { return true; }
  void run(const Operation& operation, const TaskStorages& storages, Cancel cancel) override;
  /** `then` is called by the waiter. */
  void once_run(Then then) override;
  void finish() override;

  // For operations.

  /** Enqueues the copy; when it has arrived it is at `host`, or `target` has failed. */
  void copy_to_host(const char* source, char* host, size_t bytes,
                    const std::shared_ptr<Storage>& target, const Cancel& cancel);
  /** Enqueues a copy to memory of the device, freed in the order of the stream. */
  std::shared_ptr<const void> upload(const void* host, size_t bytes, const Cancel& cancel);
  void copy_to_device(const char* host, char* target, size_t bytes, const Cancel& cancel);
  /** The same of parts, in one copy if they fit into a piece of pinned memory as they lie. */
  void copy_to_device(const std::vector<HostPart>& parts, char* target, const Cancel& cancel);
  /** The memory that operations take is in its order. */
  const std::shared_ptr<Lane>& lane() const { return lane_; }
  /** Has `milliseconds`, the memory of `target`, written once what is enqueued has run. */
  void lap(double* milliseconds, const std::shared_ptr<Storage>& target);

 private:
  struct Completion {
    cudaEvent_t event = nullptr;  // null when none could be recorded: `failure` says why
    Failure failure;
    Then then;
  };

  void await_completions();
  Failure await(cudaEvent_t event);
  Failure examined_failure();

  Device& device_;
  const std::shared_ptr<Lane> lane_;
  const Queue& queue_;
  StagingRing staging_;  // the dispatcher's
  EventPool events_;

  using Event = std::shared_ptr<std::remove_pointer_t<cudaEvent_t>>;
  Event lap_;  // the waiter's

  WorkQueue<Completion> completions_;
  std::thread waiter_;
};

}  // namespace fa::cuda
