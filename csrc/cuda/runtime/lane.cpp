#include "cuda/runtime/lane.h"

#include "cuda/base/error.h"

namespace fa::cuda {

namespace {

cudaStream_t create_stream(const Device& device, Priority priority) {
  const CurrentDevice current(device);
  int least = 0, greatest = 0;
  FA_CUDA(cudaDeviceGetStreamPriorityRange, &least, &greatest);
  cudaStream_t stream;
  FA_CUDA(cudaStreamCreateWithPriority, &stream, cudaStreamNonBlocking,
          priority == Priority::kHigh ? greatest : least);
  return stream;
}

}  // namespace

Lane::Lane(Device& device, cudaStream_t stream)
    : device_(device), queue_{device.properties(), stream} {}

Lane::Lane(Device& device, Priority priority) : Lane(device, create_stream(device, priority)) {
  if (!runs_sm90a(device.properties())) return;
  const CurrentDevice current(device);
  queue_.drawn = static_cast<int*>(allocate(sizeof(int), queue_));
  FA_CUDA(cudaMemsetAsync, queue_.drawn, 0, sizeof(int), queue_.stream);
}

Lane::~Lane() {
  const CurrentDevice current(device_);
  release(queue_.drawn, queue_);
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
