#include "cuda/runtime/stream.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "core/spin.h"
#include "core/thread.h"
#include "cuda/base/error.h"
#include "cuda/base/scratch.h"
#include "cuda/elementwise/convert.h"
#include "cuda/elementwise/fill.h"
#include "cuda/elementwise/merge.h"
#include "cuda/elementwise/quantize.h"
#include "cuda/runtime/backward.h"
#include "cuda/runtime/forward.h"
#include "cuda/runtime/index_contents.h"
#include "cuda/runtime/plan.h"
#include "cuda/runtime/supported.h"

namespace fa::cuda {

namespace {

size_t bytes_of(const View& view, DType dtype) {
  return static_cast<size_t>(view.size()) * dtype_size(dtype);
}

}  // namespace

CudaStream::CudaStream(Device& device)
    : device_(device),
      lane_((device.open(), std::make_shared<Lane>(device))),
      queue_(lane_->queue()) {
  waiter_ = start_thread("fa-cuda-wait", [this] { await_completions(); });
  try {
    dispatcher_ = start_thread("fa-cuda-stream", [this] { dispatch(); });
  } catch (...) {
    completions_.close();
    waiter_.join();
    throw;
  }
}

std::shared_ptr<Storage> CudaStream::allocate(size_t bytes) {
  if (const auto failure = device_.failure()) throw Error(*failure);
  device_.make_current();
  const auto attempt = [&] { return std::make_shared<DeviceStorage>(this, lane_, bytes); };
  try {
    return attempt();
  } catch (const Error& error) {
    device_.examine(error, queue_.stream);
    const bool possible = bytes <= device_.properties().totalGlobalMem;
    if (error.code() != ErrorCode::kOutOfMemory || !possible) throw;
  }
  wait(enqueued_);  // tasks that have not run may hold memory that nobody else does any more
  return attempt();
}

void CudaStream::upload(const void* host, DType host_dtype, const TensorRef& target) {
  const size_t bytes = bytes_of(target.view, host_dtype);
  const auto copy = std::make_shared<HostStorage>(this, bytes);
  std::memcpy(copy->data(), host, bytes);
  if (host_dtype == DType::kInt32 && target.view.dtype == DType::kInt32) {
    // Index tensors: their contents decide what is legal, so that every call looks at them.
    static_cast<DeviceStorage&>(*target.storage).keep(copy);
  }
  receive(copy->data(), host_dtype, target.view, {{copy}, {target.storage}});
  target.storage->written_by = 0;
}

void CudaStream::attention(const AttentionProblem& problem, TaskStorages storages,
                           bool check_contents) {
  enqueue(
      [this, problem, check_contents] {
        if (check_contents) validate_contents_on_device(problem, queue_);
        attention_forward(problem, queue_);
      },
      std::move(storages));
}

void CudaStream::attention_backward(const AttentionProblem& problem,
                                    const AttentionGradients& gradients, TaskStorages storages,
                                    bool check_contents) {
  enqueue(
      [this, problem, gradients, check_contents] {
        if (check_contents) validate_contents_on_device(problem, queue_);
        cuda::attention_backward(problem, gradients, queue_);
      },
      std::move(storages));
}

void CudaStream::merge_states(const std::vector<View>& outs, const std::vector<View>& lses,
                              const View& out, const View& lse, TaskStorages storages) {
  enqueue([this, outs, lses, out, lse] { cuda::merge_states(outs, lses, out, lse, queue_); },
          std::move(storages));
}

void CudaStream::convert(const View& source, const View& target, TaskStorages storages) {
  enqueue([this, source, target] { cuda::convert(source, target, queue_); }, std::move(storages));
}

void CudaStream::quantize(const View& plain, const Quantized& quantized, TaskStorages storages) {
  enqueue([this, plain, quantized] { cuda::quantize(plain, quantized, queue_); },
          std::move(storages));
}

void CudaStream::dequantize(const Quantized& quantized, const View& plain, TaskStorages storages) {
  enqueue([this, plain, quantized] { cuda::dequantize(quantized, plain, queue_); },
          std::move(storages));
}

void CudaStream::fill_zero(const View& target, TaskStorages storages) {
  enqueue([this, target] { cuda::fill_zero(target, queue_); }, std::move(storages));
}

void CudaStream::fill_normal(const View& target, uint64_t seed, TaskStorages storages) {
  enqueue([this, target, seed] { cuda::fill_normal(target, seed, queue_); }, std::move(storages));
}

void CudaStream::download(const View& source, DType dtype, void* host, TaskStorages storages) {
  const auto target = storages.writes.at(0);
  enqueue(
      [this, source, dtype, host = static_cast<char*>(host), target] {
        const size_t bytes = bytes_of(source, dtype);
        Scratch scratch(queue_);
        const void* contents = source.data;
        if (source.dtype != dtype || !source.contiguous()) {
          const View converted = contiguous_like(source, dtype, scratch.take(bytes));
          cuda::convert(source, converted, queue_);
          contents = converted.data;
        }
        copy_to_host(static_cast<const char*>(contents), host, bytes, target);
      },
      std::move(storages), true);
}

void CudaStream::receive(const void* host, DType dtype, const View& target, TaskStorages storages) {
  enqueue(
      [this, host = static_cast<const char*>(host), dtype, target] {
        const size_t bytes = bytes_of(target, dtype);
        if (dtype == target.dtype) {
          return copy_to_device(host, static_cast<char*>(target.data), bytes);
        }
        Scratch scratch(queue_);
        const View received = contiguous_like(target, dtype, scratch.take(bytes));
        copy_to_device(host, static_cast<char*>(received.data), bytes);
        cuda::convert(received, target, queue_);
      },
      std::move(storages));
}

void CudaStream::check_supported(const AttentionProblem& problem) const {
  cuda::check_supported(problem, device_.properties());
}

void CudaStream::lap(double* milliseconds, TaskStorages storages) {
  const auto target = storages.writes.at(0);
  enqueue(
      [this, milliseconds, target] {
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
      },
      std::move(storages), true);
}

AttentionPlan CudaStream::plan(const AttentionProblem& problem) {
  return plan_attention(problem, device_.properties());
}

void CudaStream::wait(uint64_t sequence) {
  if (completed(sequence)) return;
  // Has the end of what is queued noticed. Another stream waits only for tasks that report of their
  // own accord: the queue behind such a task may wait for that other stream in turn.
  notify([] {});
  std::unique_lock<std::mutex> lock(mutex_);
  ran_.wait(lock, [&] { return completed(sequence); });
}

void CudaStream::notify(std::function<void()> done) {
  Task task;
  task.done = std::move(done);
  if (!tasks_.push(std::move(task))) task.done();
}

void CudaStream::shutdown() {
  if (!dispatcher_.joinable()) return;
  cancel_.store(true, std::memory_order_relaxed);
  tasks_.close();
  dispatcher_.join();
  completions_.close();
  waiter_.join();
  complete(enqueued_);
}

void CudaStream::enqueue(Work work, TaskStorages storages, bool reports) {
  if (cancel_.load(std::memory_order_relaxed)) throw Error(*cancelled());
  for (const auto& storage : storages.writes) storage->written_by = enqueued_ + 1;
  Task task{std::move(work), std::move(storages), {}, nullptr, reports};
  for (const auto& storage : task.storages.reads) {
    if (storage->stream() != this) task.awaited.push_back({storage->stream(), storage->written_by});
  }
  tasks_.push(std::move(task));
  ++enqueued_;
}

// ── The dispatcher ───────────────────────────────────────────────────────────────────────────────

void CudaStream::use_device() {
  try {
    device_.make_current();
  } catch (const Error& error) {
    device_.examine(error, queue_.stream);
  }
}

void CudaStream::dispatch() {
  use_device();
  Task task;
  while (tasks_.pop(task)) {
    if (task.done) {
      once_run([done = std::move(task.done)](const Failure&) { done(); });
    } else {
      execute(task);
      ++dispatched_;
      if (task.reports) once_run([](const Failure&) {});
    }
    // Device memory that nobody else holds goes back in stream order, after what was just enqueued.
    task = {};
  }
  // Whatever still runs uses memory that is freed behind it; but no thread of ours may be
  // surprised.
  cudaStreamSynchronize(queue_.stream);
  cudaGetLastError();
}

void CudaStream::execute(Task& task) {
  for (const auto& [stream, sequence] : task.awaited) stream->wait(sequence);
  Failure failure;
  for (const auto& storage : task.storages.reads) {
    if (!failure) failure = storage->failure();
  }
  if (!failure && cancel_.load(std::memory_order_relaxed)) failure = cancelled();
  if (!failure) failure = device_.failure();
  if (!failure) {
    try {
      task.work();
    } catch (...) {
      failure = examined_failure();
    }
  }
  if (!failure) return;
  for (const auto& storage : task.storages.writes) storage->fail(failure);
}

/** The exception being handled, or what it has made of the device. */
Failure CudaStream::examined_failure() {
  const Failure failure = current_failure();
  if (failure->code() != ErrorCode::kCuda) return failure;
  device_.examine(*failure, queue_.stream);
  const Failure ended = device_.failure();
  return ended ? ended : failure;
}

/** Has the waiter call `then` when everything enqueued so far has run. */
void CudaStream::once_run(Then then) {
  Completion completion;
  completion.dispatched = dispatched_;
  completion.then = std::move(then);
  try {
    FA_CUDA(cudaEventCreateWithFlags, &completion.event,
            cudaEventDisableTiming | cudaEventBlockingSync);
    FA_CUDA(cudaEventRecord, completion.event, queue_.stream);
  } catch (...) {
    completion.failure = examined_failure();
    if (completion.event != nullptr) cudaEventDestroy(completion.event);
    completion.event = nullptr;
    cudaStreamSynchronize(queue_.stream);  // for the sake of the memory that is in use until then
    cudaGetLastError();
  }
  completions_.push(std::move(completion));
}

void CudaStream::copy_to_host(const char* source, char* host, size_t bytes,
                              const std::shared_ptr<Storage>& target) {
  for (size_t at = 0; at < bytes; at += StagingRing::kPieceBytes) {
    if (cancel_.load(std::memory_order_relaxed)) throw Error(*cancelled());
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

void CudaStream::copy_to_device(const char* host, char* target, size_t bytes) {
  for (size_t at = 0; at < bytes; at += StagingRing::kPieceBytes) {
    if (cancel_.load(std::memory_order_relaxed)) throw Error(*cancelled());
    const size_t n = std::min(bytes - at, StagingRing::kPieceBytes);
    std::shared_ptr<char> piece = staging_.take(n);
    std::memcpy(piece.get(), host + at, n);
    FA_CUDA(cudaMemcpyAsync, target + at, piece.get(), n, cudaMemcpyHostToDevice, queue_.stream);
    once_run([piece = std::move(piece)](const Failure&) {});
  }
}

// ── The waiter ───────────────────────────────────────────────────────────────────────────────────

void CudaStream::await_completions() {
  use_device();  // or the first call would make a context on another one
  Completion completion;
  while (completions_.pop(completion)) {
    if (completion.event != nullptr) {
      completion.failure = await(completion.event);
      cudaEventDestroy(completion.event);
      cudaGetLastError();
    }
    complete(completion.dispatched);
    completion.then(completion.failure);
    completion = {};
  }
}

void CudaStream::complete(uint64_t sequence) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    completed_.store(sequence, std::memory_order_release);
  }
  ran_.notify_all();
}

Failure CudaStream::await(cudaEvent_t event) {
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
