// CUDA events that say when work has run. Those that were waited for serve again.
#pragma once

#include <cuda_runtime.h>

#include <mutex>
#include <vector>

namespace fa::cuda {

class EventPool {
 public:
  EventPool() = default;
  EventPool(const EventPool&) = delete;
  EventPool& operator=(const EventPool&) = delete;
  ~EventPool() { clear(); }

  /** An event for one wait, without a time. The device is current. Throws Error{kCuda}. */
  cudaEvent_t take();
  /** Also where no exception may pass. */
  void give_back(cudaEvent_t event) noexcept;
  /** Destroys those that were given back. The device is current. */
  void clear();

 private:
  std::mutex mutex_;
  std::vector<cudaEvent_t> idle_;
};

}  // namespace fa::cuda
