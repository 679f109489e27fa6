#include "cuda/runtime/lane.h"

#include "cuda/base/error.h"

namespace fa::cuda {

Lane::Lane(Device& device, Priority priority)
    : device_(device), queue_{device.properties(), nullptr} {
  device.make_current();
  int least = 0, greatest = 0;
  FA_CUDA(cudaDeviceGetStreamPriorityRange, &least, &greatest);
  FA_CUDA(cudaStreamCreateWithPriority, &queue_.stream, cudaStreamNonBlocking,
          priority == Priority::kHigh ? greatest : least);
}

Lane::~Lane() {
  cudaStreamDestroy(queue_.stream);  // what is enqueued still runs
  cudaGetLastError();
}

}  // namespace fa::cuda
