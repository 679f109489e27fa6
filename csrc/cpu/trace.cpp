#include "cpu/trace.h"

#include <exception>
#include <utility>

#include "core/error.h"

namespace fa::cpu {

namespace {

std::atomic<bool> tracing{false};  // whether to look at `current`
std::mutex current_mutex;
std::shared_ptr<Trace>& current() {
  // Never destroyed: threads of the pool outlive static destructors.
  static auto* const trace = new std::shared_ptr<Trace>();
  return *trace;
}

uint64_t next_serial() {
  static std::atomic<uint64_t> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace

TraceLane::TraceLane(int pool_thread, size_t capacity)
    : pool_thread_(pool_thread), capacity_(capacity), events_(new TraceEvent[capacity]) {}

bool TraceLane::add(const TraceEvent& event) {
  const size_t at = size_.load(std::memory_order_relaxed);
  if (at == capacity_) return false;
  events_[at] = event;
  size_.store(at + 1, std::memory_order_release);
  return true;
}

std::shared_ptr<Trace> Trace::start(size_t capacity) {
  auto trace = std::make_shared<Trace>(capacity);
  std::lock_guard<std::mutex> lock(current_mutex);
  if (current() != nullptr) {
    throw Error(ErrorCode::kState, "", "There is a trace already: the process has one at a time");
  }
  current() = trace;
  tracing.store(true, std::memory_order_relaxed);
  return trace;
}

void Trace::stop(const std::shared_ptr<Trace>& trace) {
  std::lock_guard<std::mutex> lock(current_mutex);
  if (current() != trace) return;
  tracing.store(false, std::memory_order_relaxed);
  current() = nullptr;
}

Trace::Trace(size_t capacity) : capacity_(capacity), serial_(next_serial()) {}

int64_t Trace::now() const {
  const auto passed = std::chrono::steady_clock::now() - began_;
  return std::chrono::duration_cast<std::chrono::nanoseconds>(passed).count();
}

int64_t Trace::begin_loop(const char* kind, int64_t items) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (loops_.size() == capacity_) {
    dropped_.fetch_add(items, std::memory_order_relaxed);
    return -1;
  }
  loops_.push_back({kind, items});
  return static_cast<int64_t>(loops_.size()) - 1;
}

std::vector<TracedLoop> Trace::loops() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return loops_;
}

std::vector<const TraceLane*> Trace::lanes() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<const TraceLane*> lanes;
  for (const auto& lane : lanes_) lanes.push_back(lane.get());
  return lanes;
}

TraceLane& Trace::lane(int pool_thread) {
  static thread_local uint64_t serial = 0;
  static thread_local TraceLane* lane = nullptr;  // of that trace
  if (serial != serial_) {
    auto mine = std::make_unique<TraceLane>(pool_thread, capacity_);
    std::lock_guard<std::mutex> lock(mutex_);
    lanes_.push_back(std::move(mine));
    lane = lanes_.back().get();
    serial = serial_;
  }
  return *lane;
}

void Trace::end_item(int64_t loop, int64_t item, int64_t begin, int pool_thread) noexcept {
  const int64_t end = now();
  try {
    if (lane(pool_thread).add({loop, item, begin, end})) return;
  } catch (const std::exception&) {
    // No memory for this thread's events: they are dropped, and the work goes on.
  }
  dropped_.fetch_add(1, std::memory_order_relaxed);
}

LoopTrace::LoopTrace(const char* kind, int64_t items) {
  if (!tracing.load(std::memory_order_relaxed)) return;
  std::shared_ptr<Trace> trace;
  {
    std::lock_guard<std::mutex> lock(current_mutex);
    trace = current();
  }
  if (!trace) return;
  loop_ = trace->begin_loop(kind, items);
  if (loop_ >= 0) trace_ = std::move(trace);
}

}  // namespace fa::cpu
