#include "cuda/runtime/event_pool.h"

#include <new>

#include "cuda/base/error.h"

namespace fa::cuda {

cudaEvent_t EventPool::take() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!idle_.empty()) {
      cudaEvent_t const event = idle_.back();
      idle_.pop_back();
      return event;
    }
  }
  cudaEvent_t event = nullptr;
  FA_CUDA(cudaEventCreateWithFlags, &event, cudaEventDisableTiming | cudaEventBlockingSync);
  return event;
}

void EventPool::give_back(cudaEvent_t event) noexcept {
  try {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(event);
  } catch (const std::bad_alloc&) {
    cudaEventDestroy(event);
    cudaGetLastError();
  }
}

void EventPool::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (cudaEvent_t const event : idle_) cudaEventDestroy(event);
  cudaGetLastError();
  idle_.clear();
}

}  // namespace fa::cuda
