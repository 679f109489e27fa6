#include "cpu/stream.h"

#include <utility>

#include "core/error.h"
#include "core/spin.h"
#include "core/thread.h"
#include "cpu/ops.h"
#include "cpu/storage.h"

namespace fa::cpu {

std::shared_ptr<Storage> CpuStream::allocate(size_t bytes) { return allocate_storage(this, bytes); }

void CpuStream::upload(const void* host, DType host_dtype, const TensorRef& target) {
  cpu::convert(contiguous_like(target.view, host_dtype, const_cast<void*>(host)), target.view,
               &cancel_);
}

void CpuStream::attention(const AttentionProblem& problem, TaskStorages storages,
                          bool check_contents) {
  enqueue(
      [problem, check_contents](Cancel cancel) {
        if (check_contents) validate_contents(problem);
        attention_forward(problem, cancel);
      },
      std::move(storages));
}

void CpuStream::attention_backward(const AttentionProblem& problem,
                                   const AttentionGradients& gradients, TaskStorages storages,
                                   bool check_contents) {
  enqueue(
      [problem, gradients, check_contents](Cancel cancel) {
        if (check_contents) validate_contents(problem);
        cpu::attention_backward(problem, gradients, cancel);
      },
      std::move(storages));
}

void CpuStream::merge_states(const std::vector<View>& outs, const std::vector<View>& lses,
                             const View& out, const View& lse, TaskStorages storages) {
  enqueue([outs, lses, out,
           lse](Cancel cancel) { cpu::merge_states(outs, lses, {}, out, lse, cancel); },
          std::move(storages));
}

void CpuStream::convert(const View& source, const View& target, TaskStorages storages) {
  enqueue([source, target](Cancel cancel) { cpu::convert(source, target, cancel); },
          std::move(storages));
}

void CpuStream::quantize(const View& plain, const Quantized& quantized, TaskStorages storages) {
  enqueue([plain, quantized](Cancel cancel) { cpu::quantize(plain, quantized, cancel); },
          std::move(storages));
}

void CpuStream::dequantize(const Quantized& quantized, const View& plain, TaskStorages storages) {
  enqueue([plain, quantized](Cancel cancel) { cpu::dequantize(quantized, plain, cancel); },
          std::move(storages));
}

void CpuStream::fill_zero(const View& target, TaskStorages storages) {
  enqueue([target](Cancel cancel) { cpu::fill_zero(target, cancel); }, std::move(storages));
}

void CpuStream::fill_normal(const View& target, uint64_t seed, TaskStorages storages) {
  enqueue([target, seed](Cancel cancel) { cpu::fill_normal(target, seed, cancel); },
          std::move(storages));
}

void CpuStream::download(const View& source, DType dtype, void* host, TaskStorages storages) {
  convert(source, contiguous_like(source, dtype, host), std::move(storages));
}

void CpuStream::receive(const void* host, DType dtype, const View& target, TaskStorages storages) {
  convert(contiguous_like(target, dtype, const_cast<void*>(host)), target, std::move(storages));
}

void CpuStream::lap(double* milliseconds, TaskStorages storages) {
  enqueue(
      [this, milliseconds](Cancel) {
        const auto now = std::chrono::steady_clock::now();
        const bool first = lap_ == std::chrono::steady_clock::time_point{};
        *milliseconds = first ? 0 : std::chrono::duration<double, std::milli>(now - lap_).count();
        lap_ = now;
      },
      std::move(storages));
}

AttentionPlan CpuStream::plan(const AttentionProblem& problem) { return plan_attention(problem); }

void CpuStream::wait(uint64_t sequence) {
  std::unique_lock<std::mutex> lock(mutex_);
  ran_.wait(lock, [&] { return completed(sequence); });
}

void CpuStream::notify(std::function<void()> done) {
  if (cancel_.load(std::memory_order_relaxed)) {
    done();
  } else {
    push({nullptr, {}, std::move(done), {}});
  }
}

void CpuStream::shutdown() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    cancel_.store(true, std::memory_order_relaxed);
  }
  pushed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void CpuStream::enqueue(Work work, TaskStorages storages) {
  if (cancel_.load(std::memory_order_relaxed)) throw Error(*cancelled());
  for (const auto& storage : storages.writes) storage->written_by = enqueued_ + 1;
  Task task{std::move(work), std::move(storages), nullptr, {}};
  for (const auto& storage : task.storages.reads) {
    if (storage->stream() != this) task.awaited.push_back({storage->stream(), storage->written_by});
  }
  push(std::move(task));
  ++enqueued_;
}

void CpuStream::push(Task task) {
  if (!thread_.joinable()) thread_ = start_thread("fa-cpu-stream", [this] { dispatch(); });
  {
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(std::move(task));
  }
  pushes_.fetch_add(1, std::memory_order_relaxed);
  pushed_.notify_one();
}

void CpuStream::dispatch() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    if (queue_.empty()) await_push(lock);
    if (queue_.empty()) return;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    const bool notification = task.done != nullptr;
    execute(task);
    // Before anyone learns that it has run: memory nobody else holds is free by then.
    task = {};
    lock.lock();
    if (notification) continue;
    completed_.fetch_add(1, std::memory_order_release);
    ran_.notify_all();
  }
}

/** Returns when something is in the queue, or nothing will come any more. */
void CpuStream::await_push(std::unique_lock<std::mutex>& lock) {
  // Calls often come in quick succession: looking for the next one saves its caller from having to
  // wake this thread, which costs several times what the rest of a call does.
  const uint64_t seen = pushes_.load(std::memory_order_relaxed);
  lock.unlock();
  spin_until([&] { return pushes_.load(std::memory_order_relaxed) != seen; });
  lock.lock();
  pushed_.wait(lock, [this] { return !queue_.empty() || cancel_.load(std::memory_order_relaxed); });
}

void CpuStream::execute(Task& task) {
  if (task.done) return task.done();
  for (const auto& [stream, sequence] : task.awaited) stream->wait(sequence);
  Failure failure;
  for (const auto& storage : task.storages.reads) {
    if (!failure) failure = storage->failure();
  }
  if (!failure && cancel_.load(std::memory_order_relaxed)) failure = cancelled();
  if (!failure) {
    try {
      task.work(&cancel_);
    } catch (...) {
      failure = current_failure();
    }
  }
  if (!failure) return;
  for (const auto& storage : task.storages.writes) storage->fail(failure);
}

}  // namespace fa::cpu
