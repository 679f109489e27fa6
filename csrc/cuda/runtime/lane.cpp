#include "cuda/runtime/lane.h"

#include "cuda/base/error.h"

namespace fa::cuda {

Lane::Lane(Device& device, Priority priority)
    : device_(device), queue_{device.properties(), nullptr} {
  const CurrentDevice current(device);
  int least = 0, greatest = 0;
  FA_CUDA(cudaDeviceGetStreamPriorityRange, &least, &greatest);
  FA_CUDA(cudaStreamCreateWithPriority, &queue_.stream, cudaStreamNonBlocking,
          priority == Priority::kHigh ? greatest : least);
}

Lane::~Lane() {
  const CurrentDevice current(device_);
  cudaStreamDestroy(queue_.stream);  // what is enqueued still runs
  cudaGetLastError();
}

DeviceStorage::DeviceStorage(Stream* stream, std::shared_ptr<Lane> lane, size_t bytes)
    : Storage(stream, bytes), lane_(std::move(lane)) {
  const CurrentDevice current(lane_->device());
  data_ = allocate(bytes, lane_->queue());
  lane_->device().hold(static_cast<int64_t>(bytes));
}

DeviceStorage::~DeviceStorage() {
  const CurrentDevice current(lane_->device());
  release(data_, lane_->queue());
  lane_->device().hold(-static_cast<int64_t>(bytes()));
}

}  // namespace fa::cuda
