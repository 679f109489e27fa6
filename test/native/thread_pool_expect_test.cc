// The thread pool with as many threads as cores, so that they spin: loops that are expected, some
// of which never come. Meant for ThreadSanitizer.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "core/system.h"
#include "cpu/thread_pool.h"

namespace {

using fa::cpu::expect_loop;
using fa::cpu::num_threads;
using fa::cpu::parallel_for;

void nap(int microseconds) { std::this_thread::sleep_for(std::chrono::microseconds(microseconds)); }

void every_item_runs_once(int64_t count) {
  std::vector<int> runs(static_cast<size_t>(count));  // not atomic: TSan watches
  parallel_for(count, [&](int64_t item) { ++runs[static_cast<size_t>(item)]; });
  for (int n : runs) CHECK(n == 1);
}

/** At once, while helpers look out for them, and after they have given up. */
void loops_come_soon_or_late() {
  for (int after : {0, 20, 100, 300, 1000}) {
    for (int64_t count : {1, 2, 3, 50}) {
      for (int helpers : {1, num_threads() - 1, num_threads(), 1000}) {
        expect_loop(helpers);
        if (after > 0) nap(after);
        every_item_runs_once(count);
      }
    }
  }
}

void several_expect_and_some_bring_nothing() {
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 4; ++caller) {
    callers.emplace_back([caller] {
      for (int round = 0; round < 100; ++round) {
        expect_loop(1 + (round + caller) % 3);
        if (round % 4 == 0) nap(50 * caller);
        if (caller > 0) every_item_runs_once(1 + (round * 7 + caller) % 40);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

}  // namespace

int main() {
  const int threads = std::clamp(fa::usable_cores(), 1, 8);
  setenv("FLASH_ATTENTION_NUM_THREADS", std::to_string(threads).c_str(), 1);
  CHECK(num_threads() == threads);
  expect_loop(0);
  loops_come_soon_or_late();
  several_expect_and_some_bring_nothing();
  std::puts("thread pool, expected loops: ok");
  return 0;
}
