#include "cuda/runtime/staging.h"

#include <cuda_runtime.h>

#include "cuda/base/error.h"

namespace fa::cuda {

void StagingRing::unpin() {
  if (memory_ == nullptr) return;
  cudaFreeHost(memory_);
  cudaGetLastError();
  memory_ = nullptr;
}

std::shared_ptr<char> StagingRing::take(size_t bytes) {
  if (memory_ == nullptr) {
    void* memory = nullptr;
    FA_CUDA(cudaMallocHost, &memory, kCapacity);
    memory_ = static_cast<char*>(memory);
  }
  const size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  size_t begin = 0;
  {
    std::unique_lock<std::mutex> lock(mutex_);
    freed_.wait(lock, [&] { return fits(size, begin); });
    pieces_.push_back({begin, begin + size, false});
  }
  return {memory_ + begin, [this, begin](char*) { give_back(begin); }};
}

/** Whether there is room behind the newest piece, or before the oldest one; and where. */
bool StagingRing::fits(size_t bytes, size_t& begin) const {
  begin = 0;
  if (pieces_.empty()) return true;
  const size_t oldest = pieces_.front().begin, newest = pieces_.back().end;
  if (newest <= oldest) {  // wrapped around
    begin = newest;
    return newest + bytes <= oldest;
  }
  if (newest + bytes <= kCapacity) {
    begin = newest;
    return true;
  }
  return bytes <= oldest;
}

void StagingRing::give_back(size_t begin) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (Piece& piece : pieces_) {
      if (piece.begin == begin && !piece.given_back) {
        piece.given_back = true;
        break;
      }
    }
    while (!pieces_.empty() && pieces_.front().given_back) pieces_.pop_front();
  }
  freed_.notify_one();
}

}  // namespace fa::cuda
