#include "core/stream.h"

#include <algorithm>

#include "core/error.h"
#include "core/thread.h"

namespace fa {

void Stream::enqueue(std::unique_ptr<const Operation> operation, TaskStorages storages) {
  Task task = new_task(std::move(operation), std::move(storages));
  if (can_run_here(task) && backend_->is_brief(*task.operation))
    run_here(std::move(task));
  else
    push(std::move(task));
}

/** Whether the task could run on this thread now, without waiting for any other. */
bool Stream::can_run_here(const Task& task) const {
  if (asynchronous() || !completed(task.sequence - 1)) return false;
  return std::all_of(task.awaited.begin(), task.awaited.end(),
                     [](const auto& other) { return other.first->completed(other.second); });
}

/** All tasks before this one have run: two tasks of a stream never run at once. */
void Stream::run_here(Task task) {
  const uint64_t sequence = task.sequence;
  execute(task);
  task = {};
  complete(sequence);
}

void Stream::run(std::unique_ptr<const Operation> operation, TaskStorages storages) {
  const std::vector<std::shared_ptr<Storage>> results = storages.writes;
  Task task = new_task(std::move(operation), std::move(storages));
  const uint64_t sequence = task.sequence;
  if (asynchronous()) {
    push(std::move(task));
    wait(sequence);
  } else {
    await(sequence - 1);
    run_here(std::move(task));
  }
  for (const auto& result : results) {
    if (const Failure failure = result->failure()) throw Error(*failure);
  }
}

/** A task that is the next to run. */
Stream::Task Stream::new_task(std::unique_ptr<const Operation> operation, TaskStorages storages) {
  if (closed_.load(std::memory_order_relaxed)) throw Error(*cancelled());
  const uint64_t sequence = enqueued_ + 1;
  for (const auto& storage : storages.writes) {
    storage->written_by = storage->host_written_by = sequence;
  }
  for (const auto& storage : storages.updates) storage->written_by = sequence;
  Task task{.operation = std::move(operation),
            .storages = std::move(storages),
            .aborted = aborted_,
            .awaited = {},
            .reads_elsewhere = false,
            .reports = reports_,
            .done = nullptr,
            .sequence = sequence};
  for (const auto& storage : task.storages.reads) {
    Stream* const other = storage->stream();
    if (other == this) continue;
    task.reads_elsewhere = true;
    task.reports = true;
    // Of the memory: a later task may be writing to it in place.
    const std::shared_ptr<Storage> memory = memory_of(storage);
    remember_read(*memory, sequence);
    if (memory->written_by != 0) await_other(task, other, memory->written_by);
  }
  for (const auto& storage : task.storages.updates) {
    for (const auto& [other, read] : storage->read_by) await_other(task, other, read);
    storage->read_by.clear();
  }
  if (!task.reports) silent_ = sequence;
  enqueued_ = sequence;
  return task;
}

/** The task waits for one of another stream. */
void Stream::await_other(Task& task, Stream* other, uint64_t sequence) {
  other->announce(sequence);
  other->reports_ = true;  // or the next announcement would mean waiting for all queued by then
  task.awaited.emplace_back(other, sequence);
  task.reports = true;
}

/** A task of this stream reads what another one may write to in place. */
void Stream::remember_read(Storage& storage, uint64_t sequence) {
  for (auto& [stream, last] : storage.read_by) {
    if (stream != this) continue;
    last = sequence;
    return;
  }
  storage.read_by.emplace_back(this, sequence);
}

void Stream::push(Task task) {
  if (!thread_.joinable() && !closed_.load(std::memory_order_relaxed)) {
    thread_ = start_thread("fa-stream", [this] { dispatch(); });
  }
  // Its thread sleeps, or will soon; once pushed the operation may be gone.
  const bool idle = task.operation && completed(task.sequence - 1);
  const int helpers = idle ? backend_->helpers_of(*task.operation) : 0;
  // A closed queue leaves the task as it was. NOLINTNEXTLINE(bugprone-use-after-move)
  if (!tasks_.push(std::move(task)) && task.done) task.done();
  if (helpers > 0) backend_->expect(helpers);
}

void Stream::notify(std::function<void()> done) {
  Task task;
  task.done = std::move(done);
  task.sequence = enqueued_;
  push(std::move(task));
}

void Stream::wait(uint64_t sequence) {
  announce(sequence);
  await(sequence);
}

/**
 * Another thread is going to wait for that task: has its end noticed. By a notification behind all
 * that is queued now, at most; so the waiting task, which is enqueued later, cannot be waited for
 * in turn.
 */
void Stream::announce(uint64_t sequence) {
  if (!backend_->asynchronous() || completed(sequence)) return;
  if (sequence <= silent_) notify([] {});
}

void Stream::await(uint64_t sequence) {
  if (completed(sequence)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  ran_.wait(lock, [&] { return completed(sequence); });
}

void Stream::close() {
  closed_.store(true, std::memory_order_relaxed);
  tasks_.close();
}

void Stream::shutdown() {
  close();
  if (thread_.joinable()) thread_.join();
  backend_->shutdown();
  complete(enqueued_);
}

// ── What the stream's thread does, or run() in its place ─────────────────────────────────────────

void Stream::dispatch() {
  backend_->begin();
  Task task;
  while (tasks_.pop(task)) {
    if (task.operation) execute(task);
    end(std::move(task));
    task = {};
  }
  backend_->finish();
}

void Stream::execute(const Task& task) {
  const Cancel cancel(&closed_, task.aborted.get(), &task.storages);
  Failure failure = cancel.failure();
  if (!failure) {
    for (const auto& [stream, sequence] : task.awaited) stream->await(sequence);
    for (const auto& storage : task.storages.reads) {
      if (!failure) failure = storage->failure();
    }
  }
  if (!failure) failure = cancel.failure();
  if (!failure) {
    try {
      backend_->run(*task.operation, task.storages, cancel);
    } catch (...) {
      failure = current_failure();
    }
  }
  if (!failure) return;
  for (const auto& storage : task.storages.writes) storage->fail(failure);
}

/** Tells whoever waits that all tasks up to this one have run, once they have. */
void Stream::end(Task task) {
  const uint64_t sequence = task.sequence;
  // Memory of another stream is freed in that one's order: it is held until this work has run.
  TaskStorages foreign;
  if (task.reads_elsewhere) foreign = std::move(task.storages);
  const bool noticed = task.reports || task.done != nullptr || !backend_->asynchronous();
  std::function<void()> done = std::move(task.done);
  // Before anyone learns that it has run: memory nobody else holds is free by then. On a device it
  // goes back in the order of this stream, behind what was just enqueued.
  task = {};
  if (!noticed) return;
  if (!backend_->asynchronous() && !done) {
    foreign = {};
    return complete(sequence);
  }
  backend_->once_run([this, sequence, done = std::move(done),
                      foreign = std::move(foreign)](const Failure&) mutable {
    foreign = {};
    complete(sequence);
    if (done) done();
  });
}

void Stream::complete(uint64_t sequence) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    // A notification may be looked at late, when a task behind it has run elsewhere.
    if (!completed(sequence)) completed_.store(sequence, std::memory_order_release);
  }
  ran_.notify_all();
}

}  // namespace fa
