#include "cuda/runtime/lane.h"

#include "cuda/base/error.h"

namespace fa::cuda {

namespace {

/** As CUDA numbers them. */
int number_of(Priority priority, const Device& device) {
  const CurrentDevice current(device);
  int least = 0, greatest = 0;
  FA_CUDA(cudaDeviceGetStreamPriorityRange, &least, &greatest);
  return priority == Priority::kHigh ? greatest : least;
}

cudaStream_t create_stream(const Device& device, int priority) {
  const CurrentDevice current(device);
  cudaStream_t stream;
  FA_CUDA(cudaStreamCreateWithPriority, &stream, cudaStreamNonBlocking, priority);
  return stream;
}

}  // namespace

Lane::Lane(Device& device, int priority)
    : device_(device), queue_{device.properties(), create_stream(device, priority)} {
  branches_ = std::make_unique<Branches>(priority);
  queue_.branches = branches_.get();
}

Lane::Lane(Device& device, Priority priority) : Lane(device, number_of(priority, device)) {
  if (!runs_sm90a(device.properties())) return;
  const CurrentDevice current(device);
  queue_.drawn = static_cast<int*>(allocate(sizeof(int), queue_));
  FA_CUDA(cudaMemsetAsync, queue_.drawn, 0, sizeof(int), queue_.stream);
}

Lane::~Lane() {
  const CurrentDevice current(device_);
  release(queue_.drawn, queue_);
  branches_ = nullptr;
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
