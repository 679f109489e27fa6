// The process-wide threads that all CPU streams share. A stream's own thread takes part in the
// loops it starts, so `num_threads() - 1` threads are kept here.
#pragma once

#include <cstdint>
#include <functional>

#include "core/cancel.h"

namespace fa::cpu {

/**
 * Threads attention may use: FLASH_ATTENTION_NUM_THREADS, else the cores this process may use
 * (affinity, cgroup quota).
 */
int num_threads();

constexpr int kAllThreads = 1 << 20;

/**
 * Runs body(item) for every item in [0, count), handed out in ascending order, on this thread and
 * the pool's. Returns when all have finished. When `cancel` is requested no further item starts,
 * and its failure is thrown after the running ones have ended. An exception of a body stops the
 * loop likewise and is rethrown here. Several threads may call it at once. Traces know the items
 * by `kind`, a literal. `threads` of 1: on this thread alone, without waking any.
 */
void parallel_for(int64_t count, const std::function<void(int64_t item)>& body,
                  const Cancel& cancel = {}, const char* kind = "other", int threads = kAllThreads);

/**
 * A loop of so many threads beside the caller's is about to come, from a thread that is being woken
 * for it: wakes others meanwhile, so that they need not be woken one after the other.
 */
void expect_loop(int helpers);

/**
 * While one of `preferred` lives, the loops that its thread starts come before those of other
 * threads: no item of another loop begins while one of them runs, unless no item of theirs is left
 * to be taken.
 */
class LoopPreference {
 public:
  explicit LoopPreference(bool preferred);
  ~LoopPreference();
  LoopPreference(const LoopPreference&) = delete;
  LoopPreference& operator=(const LoopPreference&) = delete;

 private:
  const bool before_;
};

}  // namespace fa::cpu
