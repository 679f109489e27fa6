// The process-wide threads that all CPU streams share. A stream's own thread takes part in the
// loops it starts, so `size() - 1` threads are kept here.
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

class ThreadPool {
 public:
  /**
   * Made at first use, never destroyed: threads must outlive static destructors at process exit.
   */
  static ThreadPool& shared();

  int size() const;

  /**
   * Runs body(item) for every item in [0, count), handed out in ascending order, on this thread and
   * the pool's. Returns when all have finished. When `cancel` is requested no further item starts,
   * and its failure is thrown after the running ones have ended. An exception of a body stops the
   * loop likewise and is rethrown here. Several streams may call it at once.
   */
  void parallel_for(int64_t count, const std::function<void(int64_t item)>& body,
                    const Cancel& cancel = {});
};

}  // namespace fa::cpu
