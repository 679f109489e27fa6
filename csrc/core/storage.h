// Device memory, reference-counted. Handles in JavaScript and tasks in a stream share it; whoever
// is last frees it, so a tensor may be disposed while work that reads it is still queued.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/view.h"

namespace fa {

class Stream;

class Storage {
 public:
  Storage(Stream* stream, size_t bytes) : stream_(stream), bytes_(bytes) {}
  virtual ~Storage() = default;
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  virtual void* data() const = 0;
  /**
   * The same bytes where the host can read them, once the task `host_written_by` has run; null when
   * only the device has them.
   */
  virtual const void* host_data() const = 0;
  size_t bytes() const { return bytes_; }
  /** The memory that this is a later state of; null: it is memory itself. */
  virtual std::shared_ptr<Storage> memory() const { return nullptr; }
  /** The stream whose tasks write it; never dereferenced after that stream is gone. */
  Stream* stream() const { return stream_; }

  /**
   * Sequence number of the task that writes it last; 0 when it was filled before any task. JS
   * thread only.
   */
  uint64_t written_by = 0;
  /** The same of host_data(). Less where that is a copy which was there before the task. */
  uint64_t host_written_by = 0;
  /** The last tasks of other streams that read it: what writes to it in place waits for them. */
  std::vector<std::pair<Stream*, uint64_t>> read_by;

  /** Why the task that should have written it failed; null when nothing went wrong. */
  Failure failure() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return failure_;
  }
  void fail(Failure error) {
    std::lock_guard<std::mutex> lock(mutex_);
    failure_ = std::move(error);
  }

 private:
  Stream* stream_;
  size_t bytes_;
  mutable std::mutex mutex_;
  Failure failure_;
};

/**
 * A tensor as a stream sees it: a view and the storage it must keep alive until the work has run.
 */
struct TensorRef {
  std::shared_ptr<Storage> storage;
  View view;
};

/**
 * Memory as it is after a task has written to a part of it in place. What needs that reads this: it
 * has failed when the task has, and the memory itself is as good as before.
 */
class UpdatedStorage final : public Storage {
 public:
  explicit UpdatedStorage(std::shared_ptr<Storage> memory)
      : Storage(memory->stream(), memory->bytes()), memory_(std::move(memory)) {}
  void* data() const override { return memory_->data(); }
  const void* host_data() const override { return memory_->host_data(); }
  std::shared_ptr<Storage> memory() const override { return memory_; }

 private:
  std::shared_ptr<Storage> memory_;
};

/** What `storage` is a state of: itself, or what was updated in place. */
inline std::shared_ptr<Storage> memory_of(const std::shared_ptr<Storage>& storage) {
  std::shared_ptr<Storage> memory = storage->memory();
  return memory ? memory : storage;
}

/**
 * The storages of a task: `reads` hold its inputs, `writes` its outputs. A failed read fails every
 * write. `updates` is memory that it writes to in place, of its own stream: nothing of that fails
 * with the task, and the task is done whether anybody holds its outputs or not.
 */
struct TaskStorages {
  std::vector<std::shared_ptr<Storage>> reads;
  std::vector<std::shared_ptr<Storage>> writes;
  std::vector<std::shared_ptr<Storage>> updates = {};
};

/** Host memory of its own, freed with it. Throws Error{kOutOfMemory}. */
class HostStorage final : public Storage {
 public:
  HostStorage(Stream* stream, size_t bytes);
  ~HostStorage() override;
  void* data() const override { return data_; }
  const void* host_data() const override { return data_; }

 private:
  void* data_;
};

}  // namespace fa
