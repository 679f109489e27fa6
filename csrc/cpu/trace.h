// Begin and end of every work item, by thread, while somebody asks for it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace fa::cpu {

/** Nanoseconds count from the moment the trace began. */
struct TraceEvent {
  int64_t loop;  // index in Trace::loops()
  int64_t item;
  int64_t begin;
  int64_t end;
};

struct TracedLoop {
  const char* kind;  // what its items do: a literal
  int64_t items;
};

/** What one thread did, in order. Its thread alone adds to it. */
class TraceLane {
 public:
  TraceLane(int pool_thread, size_t capacity);

  /** False when there is no room. */
  bool add(const TraceEvent& event);

  /** 1 and up: that thread of the pool. 0: a thread that started loops of its own. */
  int pool_thread() const { return pool_thread_; }
  size_t size() const { return size_.load(std::memory_order_acquire); }
  const TraceEvent& operator[](size_t i) const { return events_[i]; }

 private:
  const int pool_thread_;
  const size_t capacity_;
  const std::unique_ptr<TraceEvent[]> events_;
  std::atomic<size_t> size_{0};
};

class Trace {
 public:
  /**
   * Loops that begin from now on, on whichever thread of the process, belong to the trace that this
   * gives, until `stop`. It holds `capacity` events of each thread, and as many loops. Throws
   * Error{kState} while there is another.
   */
  static std::shared_ptr<Trace> start(size_t capacity);
  /** Loops that begin from now on are not of `trace`. Those that run still are. Idempotent. */
  static void stop(const std::shared_ptr<Trace>& trace);

  explicit Trace(size_t capacity);

  /** Nanoseconds since it began. */
  int64_t now() const;
  /** The index of a new loop; -1, and its items count as dropped, when there is no room. */
  int64_t begin_loop(const char* kind, int64_t items);
  /** An item has ended just now, on this thread. */
  void end_item(int64_t loop, int64_t item, int64_t begin, int pool_thread) noexcept;

  // So far: all there will be once it was stopped and its loops have ended.
  std::vector<TracedLoop> loops() const;
  std::vector<const TraceLane*> lanes() const;
  /** Events that there was no room for. */
  int64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  TraceLane& lane(int pool_thread);

  const size_t capacity_;
  const uint64_t serial_;  // no two traces have the same
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  mutable std::mutex mutex_;  // of the next two
  std::vector<TracedLoop> loops_;
  std::vector<std::unique_ptr<TraceLane>> lanes_;
  std::atomic<int64_t> dropped_{0};
};

/** One loop's part of the trace, if there is one. Without, it costs one load and a comparison. */
class LoopTrace {
 public:
  LoopTrace(const char* kind, int64_t items);

  int64_t begin_item() const { return trace_ ? trace_->now() : 0; }
  void end_item(int64_t item, int64_t begin, int pool_thread) const noexcept {
    if (trace_) trace_->end_item(loop_, item, begin, pool_thread);
  }

 private:
  std::shared_ptr<Trace> trace_;
  int64_t loop_ = -1;
};

}  // namespace fa::cpu
