#include "cpu/thread_pool.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "core/setting.h"
#include "core/spin.h"
#include "core/system.h"
#include "core/thread.h"
#include "cpu/trace.h"

namespace fa::cpu {

namespace {

constexpr int kMaxThreads = 1024;

/** Within which an expected loop is there, unless the one who brings it waits for others. */
constexpr std::chrono::microseconds kExpectedSoon{200};

int configured_threads() {
  const auto threads = integer_setting("FLASH_ATTENTION_NUM_THREADS", 1, kMaxThreads);
  return threads ? static_cast<int>(*threads) : std::min(usable_cores(), kMaxThreads);
}

/** 1 and up for the pool's threads, 0 for those that start loops. */
thread_local int pool_thread = 0;

/** Whether the loops that this thread starts are preferred. */
thread_local bool prefers = false;

/** Preferred loops that have begun and not ended: others pause between two items. */
std::atomic<int> preferred_loops{0};

/** One loop. Lives on the stack of the thread that started it, until its last helper has left. */
class Loop {
 public:
  Loop(int64_t count, const std::function<void(int64_t)>& body, const Cancel& cancel,
       const char* kind)
      : count_(count), body_(body), cancel_(cancel), trace_(kind, count) {}

  int64_t count() const { return count_; }
  bool preferred() const { return preferred_; }

  /** True while a helper could still find an item. */
  bool has_work() const {
    return next_.load(std::memory_order_relaxed) < count_ &&
           !stopped_.load(std::memory_order_relaxed);
  }

  /**
   * Takes items until none is left, the loop is cancelled, or a body has thrown. After an item also
   * returns when a preferred loop has begun.
   */
  void run() noexcept {
    while (!stopped_.load(std::memory_order_relaxed)) {
      if (cancel_.requested()) {
        stopped_.store(true, std::memory_order_relaxed);
        return;
      }
      const int64_t item = next_.fetch_add(1, std::memory_order_relaxed);
      if (item >= count_) return;
      const int64_t begin = trace_.begin_item();
      try {
        body_(item);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
        stopped_.store(true, std::memory_order_relaxed);
      }
      trace_.end_item(item, begin, pool_thread);
      if (!preferred_ && preferred_loops.load(std::memory_order_relaxed) > 0) return;
    }
  }

  /** After the last helper has left: reports what stopped the loop early, if anything did. */
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
    if (next_.load(std::memory_order_relaxed) < count_) {
      const Failure why = cancel_.failure();
      throw Error(why ? *why : *cancelled());
    }
  }

  // Changed under the pool's mutex. Its last reader may be the owner, spinning without it.
  std::atomic<int> helpers{0};
  bool owner_sleeps = false;

 private:
  const bool preferred_ = prefers;
  const int64_t count_;
  const std::function<void(int64_t)>& body_;
  const Cancel cancel_;
  const LoopTrace trace_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  std::exception_ptr error_;
};

class Pool {
 public:
  explicit Pool(int threads) : spins_(threads <= usable_cores()) {
    for (int i = 1; i < threads; ++i) {
      try {
        // Detached: they run until the process ends, through all of its static destructors.
        start_thread("fa-pool", [this, i] { help(i); }).detach();
      } catch (const Error&) {
        break;  // fewer threads than asked for still work
      }
      ++helpers_;
    }
  }

  void run(Loop& loop) {
    publish(loop);
    run_alone(loop);
    withdraw(loop);
  }

  void expect(int helpers) {
    int wanted = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (spins_) wanted = std::min(helpers - spinning_, sleeping_);
      if (wanted <= expected_) return;
      expected_ = wanted;
    }
    wake(wanted);
  }

  void run_alone(Loop& loop) {
    loop.run();
    while (loop.has_work()) {
      step_aside();
      loop.run();
    }
  }

 private:
  void publish(Loop& loop) {
    int wanted = static_cast<int>(std::min<int64_t>(loop.count() - 1, helpers_));
    int sleeping = 0;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loops_.push_back(&loop);
      if (loop.preferred()) preferred_loops.fetch_add(1, std::memory_order_relaxed);
      published_.fetch_add(1, std::memory_order_relaxed);
      wanted -= spinning_;  // those see it without being woken
      sleeping = sleeping_;
    }
    if (wanted < sleeping)
      wake(wanted);
    else if (sleeping > 0)
      work_.notify_all();
  }

  void wake(int helpers) {
    for (int i = 0; i < helpers; ++i) work_.notify_one();
  }

  void withdraw(Loop& loop) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      loops_.erase(std::find(loops_.begin(), loops_.end(), &loop));
      if (loop.preferred() && preferred_loops.fetch_sub(1, std::memory_order_relaxed) == 1) {
        resumed_.notify_all();
      }
    }
    const auto left = [&loop] { return loop.helpers.load(std::memory_order_acquire) == 0; };
    if (left() || (spins_ && spin_until(left))) return;
    std::unique_lock<std::mutex> lock(mutex_);
    loop.owner_sleeps = true;
    left_.wait(lock, left);
  }

  /** Leaves the core to preferred loops: the helpers and their owners are all threads there are. */
  void step_aside() {
    std::unique_lock<std::mutex> lock(mutex_);
    resumed_.wait(lock, [] { return preferred_loops.load(std::memory_order_relaxed) == 0; });
  }

  /**
   * Under the mutex: the loop with work that waits longest for another helper, a preferred one if
   * there is any; or the end.
   */
  std::vector<Loop*>::iterator next_loop() {
    const auto preferred = std::find_if(loops_.begin(), loops_.end(), [](const Loop* loop) {
      return loop->preferred() && loop->has_work();
    });
    if (preferred != loops_.end()) return preferred;
    return std::find_if(loops_.begin(), loops_.end(),
                        [](const Loop* loop) { return loop->has_work(); });
  }

  void help(int number) {
    pool_thread = number;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      if (const auto next = next_loop(); next != loops_.end()) {
        Loop* const loop = *next;
        std::rotate(next, next + 1, loops_.end());  // the next helper takes another loop, if any
        loop->helpers.fetch_add(1, std::memory_order_relaxed);
        lock.unlock();
        prefers = loop->preferred();  // as do loops that its items start
        loop->run();
        lock.lock();
        // Read before the decrement: with it the owner may return, and the loop is gone.
        const bool owner_sleeps = loop->owner_sleeps;
        if (loop->helpers.fetch_sub(1, std::memory_order_release) == 1 && owner_sleeps) {
          left_.notify_all();
        }
      } else if (!spins_ || !spin_for_work(lock)) {
        sleep_until_work(lock);
      }
    }
  }

  bool spin_for_work(std::unique_lock<std::mutex>& lock) {
    return look_out(lock, [](const auto& published) { return spin_until(published); });
  }

  /** Returns sooner without work when none comes that was expected. */
  void sleep_until_work(std::unique_lock<std::mutex>& lock) {
    ++sleeping_;
    work_.wait(lock, [this] { return expected_ > 0 || next_loop() != loops_.end(); });
    --sleeping_;
    if (expected_ == 0) return;
    --expected_;
    if (next_loop() != loops_.end()) return;
    // The thread that brings the loop may be waiting for this very core.
    look_out(lock, [](const auto& published) { return yield_until(published, kExpectedSoon); });
  }

  /** Polls without the mutex whether a loop has been published since; returns what `poll` does. */
  template <typename Poll>
  bool look_out(std::unique_lock<std::mutex>& lock, Poll poll) {
    const uint64_t seen = published_.load(std::memory_order_relaxed);
    ++spinning_;
    lock.unlock();
    const bool found = poll([&] { return published_.load(std::memory_order_relaxed) != seen; });
    lock.lock();
    --spinning_;
    return found;
  }

  const bool spins_;  // not when threads outnumber cores: others need the core to get ahead
  int helpers_ = 0;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable left_;
  std::condition_variable resumed_;
  std::vector<Loop*> loops_;
  int spinning_ = 0;
  int sleeping_ = 0;
  int expected_ = 0;  // of those: they look out for a loop that is not there yet
  std::atomic<uint64_t> published_{0};
};

/** Made at first use, never destroyed: threads must outlive static destructors at process exit. */
Pool& pool() {
  static Pool* const instance = new Pool(num_threads());
  return *instance;
}

}  // namespace

int num_threads() {
  static const int threads = configured_threads();
  return threads;
}

void expect_loop(int helpers) { pool().expect(helpers); }

LoopPreference::LoopPreference(bool preferred) : before_(prefers) { prefers = preferred; }

LoopPreference::~LoopPreference() { prefers = before_; }

void parallel_for(int64_t count, const std::function<void(int64_t item)>& body,
                  const Cancel& cancel, const char* kind, int threads) {
  if (count <= 0) return;
  Loop loop(count, body, cancel, kind);
  if (count == 1)
    loop.run();
  else if (threads == 1)
    pool().run_alone(loop);
  else
    pool().run(loop);
  loop.rethrow();
}

}  // namespace fa::cpu
