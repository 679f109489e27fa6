// What an operation needs of the stream that runs it.
#pragma once

#include "core/cancel.h"
#include "core/ops.h"
#include "cuda/base/queue.h"

namespace fa::cuda {

class CudaBackend;

struct Execution {
  const Queue& queue;
  CudaBackend& backend;          // for what copies to and from the host
  const TaskStorages& storages;  // of the task
  Cancel cancel;
};

}  // namespace fa::cuda
