// Why work may stop before it has finished. Asked before each work item.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "core/error.h"
#include "core/storage.h"

namespace fa {

/** Set by whoever aborts a call; shared by all tasks that may be aborted together. */
using AbortFlag = std::shared_ptr<std::atomic<bool>>;

/** Refers to a task, which outlives it. Copied freely; one made of nothing is never requested. */
class Cancel {
 public:
  Cancel() = default;
  Cancel(std::nullptr_t) {}  // NOLINT(google-explicit-constructor): "never", as an argument
  explicit Cancel(const std::atomic<bool>* closed) : closed_(closed) {}
  Cancel(const std::atomic<bool>* closed, const std::atomic<bool>* aborted,
         const TaskStorages* storages)
      : closed_(closed), aborted_(aborted), storages_(storages) {}

  bool requested() const { return set(closed_) || set(aborted_) || unwanted(); }

  /** What a task that stops now fails with; null unless it should stop. */
  Failure failure() const {
    if (set(aborted_)) return aborted();
    return requested() ? cancelled() : nullptr;
  }

  /** Throws that failure, if there is one. */
  void check() const {
    if (const Failure why = failure()) throw Error(*why);
  }

 private:
  static bool set(const std::atomic<bool>* flag) {
    return flag != nullptr && flag->load(std::memory_order_relaxed);
  }

  /** Whether nobody but the task itself holds its results: nobody can come to hold them either. */
  bool unwanted() const {
    if (storages_ == nullptr || storages_->writes.empty() || !storages_->updates.empty())
      return false;
    for (const auto& storage : storages_->writes) {
      if (storage.use_count() > 1) return false;
    }
    return true;
  }

  const std::atomic<bool>* closed_ = nullptr;   // of the stream
  const std::atomic<bool>* aborted_ = nullptr;  // of the call
  const TaskStorages* storages_ = nullptr;
};

}  // namespace fa
