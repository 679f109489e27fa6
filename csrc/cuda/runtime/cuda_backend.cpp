#include "cuda/runtime/cuda_backend.h"

#include <algorithm>
#include <cstring>
#include <variant>

#include "core/error.h"
#include "core/spin.h"
#include "core/stream.h"
#include "core/thread.h"
#include "cuda/base/error.h"
#include "cuda/runtime/plan.h"
#include "cuda/runtime/supported.h"

namespace fa::cuda {

CudaBackend::CudaBackend(Device& device, Priority priority)
    : device_(device),
      lane_((device.open(), std::make_shared<Lane>(device, priority))),
      queue_(lane_->queue()) {
  waiter_ = start_thread("fa-cuda-wait", [this] { await_completions(); });
}

CudaBackend::~CudaBackend() {
  shutdown();
  const CurrentDevice current(device_);
  lap_ = nullptr;
  events_.clear();
  staging_.unpin();
}

std::shared_ptr<Storage> CudaBackend::allocate(Stream* stream, size_t bytes) {
  if (const auto failure = device_.failure()) throw Error(*failure);
  try {
    return std::make_shared<DeviceStorage>(stream, lane_, bytes);
  } catch (const Error& error) {
    device_.examine(error, queue_.stream);
    throw;
  }
}

void CudaBackend::upload(Stream& stream, const void* host, DType host_dtype,
                         const TensorRef& target) {
  const size_t bytes = static_cast<size_t>(target.view.size()) * dtype_size(host_dtype);
  const auto copy = std::make_shared<HostStorage>(&stream, bytes);
  std::memcpy(copy->data(), host, bytes);
  if (host_dtype == DType::kInt32 && target.view.dtype == DType::kInt32) {
    // Index tensors: their contents decide what is legal, so that every call looks at them.
    static_cast<DeviceStorage&>(*target.storage).keep(copy);
  }
  stream.enqueue(ops::Receive{.host = copy->data(), .dtype = host_dtype, .target = target.view},
                 {{copy}, {target.storage}});
  target.storage->host_written_by = 0;
}

void CudaBackend::check_supported(const AttentionProblem& problem) const {
  cuda::check_supported(problem, device_.properties());
}

void CudaBackend::check_gradients_supported(const AttentionProblem& problem) const {
  cuda::check_gradients_supported(problem, device_.properties());
}

void CudaBackend::check_supported(const Convolution&) const { refuse_convolution(device()); }

AttentionPlan CudaBackend::plan(const AttentionProblem& problem) const {
  return plan_attention(problem, device_.properties());
}

size_t CudaBackend::decode_list_bytes(const AttentionProblem& problem) const {
  return cuda::decode_list_bytes(problem, device_.properties());
}

void CudaBackend::shutdown() {
  completions_.close();
  if (waiter_.joinable()) waiter_.join();
}

// ── The dispatcher ───────────────────────────────────────────────────────────────────────────────

void CudaBackend::begin() {
  try {
    device_.make_current();
  } catch (const Error& error) {
    device_.examine(error, queue_.stream);
  }
}

void CudaBackend::run(const Operation& operation, const TaskStorages& storages, Cancel cancel) {
  if (const auto failure = device_.failure()) throw Error(*failure);
  Execution execution{.queue = queue_, .backend = *this, .storages = storages, .cancel = cancel};
  try {
    std::visit([&execution](const auto& op) { op.run(execution); }, operation);
  } catch (...) {
    throw Error(*examined_failure());
  }
}

void CudaBackend::finish() {
  // Whatever still runs uses memory that is freed behind it; but no thread of ours may be
  // surprised.
  cudaStreamSynchronize(queue_.stream);
  cudaGetLastError();
}

/** The exception being handled, or what it has made of the device. */
Failure CudaBackend::examined_failure() {
  const Failure failure = current_failure();
  if (failure->code() != ErrorCode::kCuda) return failure;
  device_.examine(*failure, queue_.stream);
  const Failure ended = device_.failure();
  return ended ? ended : failure;
}

void CudaBackend::once_run(Then then) {
  Completion completion;
  completion.then = std::move(then);
  try {
    completion.event = events_.take();
    FA_CUDA(cudaEventRecord, completion.event, queue_.stream);
  } catch (...) {
    completion.failure = examined_failure();
    if (completion.event != nullptr) events_.give_back(completion.event);
    completion.event = nullptr;
    cudaStreamSynchronize(queue_.stream);  // for the sake of the memory that is in use until then
    cudaGetLastError();
  }
  completions_.push(std::move(completion));
}

void CudaBackend::copy_to_host(const char* source, char* host, size_t bytes,
                               const std::shared_ptr<Storage>& target, const Cancel& cancel) {
  for (size_t at = 0; at < bytes; at += StagingRing::kPieceBytes) {
    cancel.check();
    const size_t n = std::min(bytes - at, StagingRing::kPieceBytes);
    std::shared_ptr<char> piece = staging_.take(n);
    FA_CUDA(cudaMemcpyAsync, piece.get(), source + at, n, cudaMemcpyDeviceToHost, queue_.stream);
    once_run([piece = std::move(piece), to = host + at, n, target](const Failure& failure) {
      if (failure)
        target->fail(failure);
      else
        std::memcpy(to, piece.get(), n);
    });
  }
}

void CudaBackend::copy_to_device(const char* host, char* target, size_t bytes,
                                 const Cancel& cancel) {
  for (size_t at = 0; at < bytes; at += StagingRing::kPieceBytes) {
    cancel.check();
    const size_t n = std::min(bytes - at, StagingRing::kPieceBytes);
    std::shared_ptr<char> piece = staging_.take(n);
    std::memcpy(piece.get(), host + at, n);
    FA_CUDA(cudaMemcpyAsync, target + at, piece.get(), n, cudaMemcpyHostToDevice, queue_.stream);
    once_run([piece = std::move(piece)](const Failure&) {});
  }
}

void CudaBackend::copy_to_device(const std::vector<HostPart>& parts, char* target,
                                 const Cancel& cancel) {
  if (parts.empty()) return;
  size_t begin = parts[0].at, end = 0;
  for (const HostPart& part : parts) {
    begin = std::min(begin, part.at);
    end = std::max(end, part.at + part.bytes);
  }
  if (end - begin > StagingRing::kPieceBytes) {
    for (const HostPart& part : parts)
      copy_to_device(static_cast<const char*>(part.host), target + part.at, part.bytes, cancel);
    return;
  }
  if (end == begin) return;
  cancel.check();
  std::shared_ptr<char> piece = staging_.take(end - begin);
  for (const HostPart& part : parts)
    std::memcpy(piece.get() + (part.at - begin), part.host, part.bytes);
  FA_CUDA(cudaMemcpyAsync, target + begin, piece.get(), end - begin, cudaMemcpyHostToDevice,
          queue_.stream);
  once_run([piece = std::move(piece)](const Failure&) {});
}

std::shared_ptr<const void> CudaBackend::upload(const void* host, size_t bytes,
                                                const Cancel& cancel) {
  const auto storage = std::make_shared<DeviceStorage>(nullptr, lane_, bytes);
  copy_to_device(static_cast<const char*>(host), static_cast<char*>(storage->data()), bytes,
                 cancel);
  return {storage, storage->data()};
}

void CudaBackend::lap(double* milliseconds, const std::shared_ptr<Storage>& target) {
  cudaEvent_t created = nullptr;
  FA_CUDA(cudaEventCreateWithFlags, &created, cudaEventDefault);
  const Event event(created, cudaEventDestroy);
  FA_CUDA(cudaEventRecord, event.get(), queue_.stream);
  once_run([this, event, milliseconds, target](const Failure& failure) {
    if (failure) return target->fail(failure);
    float elapsed = 0;
    const cudaError_t status =
        lap_ ? cudaEventElapsedTime(&elapsed, lap_.get(), event.get()) : cudaSuccess;
    if (status != cudaSuccess) cudaGetLastError();
    *milliseconds = elapsed;
    lap_ = status == cudaSuccess ? event : nullptr;
  });
}

// ── The waiter ───────────────────────────────────────────────────────────────────────────────────

void CudaBackend::await_completions() {
  begin();  // or the first call would make a context on another device
  Completion completion;
  while (completions_.pop(completion)) {
    if (completion.event != nullptr) {
      completion.failure = await(completion.event);
      events_.give_back(completion.event);
    }
    completion.then(completion.failure);
    completion = {};
  }
}

Failure CudaBackend::await(cudaEvent_t event) {
  // Short waits are not worth a sleep.
  spin_until([&] { return cudaEventQuery(event) != cudaErrorNotReady; });
  try {
    FA_CUDA(cudaEventSynchronize, event);
    return nullptr;
  } catch (...) {
    return examined_failure();
  }
}

}  // namespace fa::cuda
