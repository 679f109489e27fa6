#include "cuda/runtime/lane.h"

#include "cuda/base/error.h"

namespace fa::cuda {

Lane::Lane(Device& device) : device_(device), queue_{device.properties(), nullptr} {
  device.make_current();
  FA_CUDA(cudaStreamCreateWithFlags, &queue_.stream, cudaStreamNonBlocking);
}

Lane::~Lane() {
  cudaStreamDestroy(queue_.stream);  // what is enqueued still runs
  cudaGetLastError();
}

}  // namespace fa::cuda
