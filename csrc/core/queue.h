// A queue between two threads, the reading one of which sleeps while it is empty.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "core/spin.h"

namespace fa {

template <typename Item>
class WorkQueue {
 public:
  /** Any thread; false, and `item` as it was, once the queue is closed. */
  bool push(Item&& item) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (closed_) return false;
      items_.push_back(std::move(item));
      pushes_.fetch_add(1, std::memory_order_relaxed);
    }
    pushed_.notify_one();
    return true;
  }

  /** One thread: the next item, waited for; false once the queue is closed and empty. */
  bool pop(Item& item) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (items_.empty() && !closed_) {
      // Calls often come in quick succession: looking for the next one saves its caller from having
      // to wake this thread.
      const uint64_t seen = pushes_.load(std::memory_order_relaxed);
      lock.unlock();
      spin_until([&] { return pushes_.load(std::memory_order_relaxed) != seen; });
      lock.lock();
      pushed_.wait(lock, [this] { return closed_ || !items_.empty(); });
    }
    if (items_.empty()) return false;
    item = std::move(items_.front());
    items_.pop_front();
    return true;
  }

  void close() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      closed_ = true;
    }
    pushed_.notify_one();
  }

 private:
  std::mutex mutex_;  // guards what follows
  std::deque<Item> items_;
  bool closed_ = false;
  std::condition_variable pushed_;
  std::atomic<uint64_t> pushes_{0};
};

}  // namespace fa
