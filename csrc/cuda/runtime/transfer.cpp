// Operations between host and device, and laps, which are about the CUDA stream itself.
#include "core/ops.h"
#include "cuda/base/execution.h"
#include "cuda/base/scratch.h"
#include "cuda/elementwise/convert.h"
#include "cuda/runtime/cuda_backend.h"

namespace fa {

namespace {

size_t bytes_of(const View& view, DType dtype) {
  return static_cast<size_t>(view.size()) * dtype_size(dtype);
}

}  // namespace

void ops::Download::run(cuda::Execution& execution) const {
  const size_t bytes = bytes_of(source, dtype);
  cuda::Scratch scratch(execution.queue);
  const void* contents = source.data;
  if (source.dtype != dtype || !source.contiguous()) {
    const View converted = contiguous_like(source, dtype, scratch.take(bytes));
    cuda::convert(source, converted, execution.queue);
    contents = converted.data;
  }
  execution.backend.copy_to_host(static_cast<const char*>(contents), static_cast<char*>(host),
                                 bytes, execution.storages.writes.at(0), execution.cancel);
}

void ops::Receive::run(cuda::Execution& execution) const {
  const size_t bytes = bytes_of(target, dtype);
  const auto* const from = static_cast<const char*>(host);
  if (dtype == target.dtype) {
    return execution.backend.copy_to_device(from, static_cast<char*>(target.data), bytes,
                                            execution.cancel);
  }
  cuda::Scratch scratch(execution.queue);
  const View received = contiguous_like(target, dtype, scratch.take(bytes));
  execution.backend.copy_to_device(from, static_cast<char*>(received.data), bytes,
                                   execution.cancel);
  cuda::convert(received, target, execution.queue);
}

void ops::Lap::run(cuda::Execution& execution) const {
  execution.backend.lap(milliseconds, execution.storages.writes.at(0));
}

}  // namespace fa
