// Runs a measured piece of work on several threads that start together.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace fa::bench {

using Clock = std::chrono::steady_clock;

/**
 * body(thread) on `threads` threads, this one among them, from a common start. Returns the seconds
 * from the first start to the last end: making the threads is not counted.
 */
template <class Body>
double run_together(int threads, const Body& body) {
  std::atomic<int> ready{0};
  std::vector<Clock::time_point> begin(static_cast<size_t>(threads)), end = begin;
  const auto work = [&](int thread) {
    ready.fetch_add(1);
    while (ready.load() < threads) {
    }
    begin[static_cast<size_t>(thread)] = Clock::now();
    body(thread);
    end[static_cast<size_t>(thread)] = Clock::now();
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
  work(0);
  for (std::thread& other : others) other.join();
  const auto first = *std::min_element(begin.begin(), begin.end());
  const auto last = *std::max_element(end.begin(), end.end());
  return std::chrono::duration<double>(last - first).count();
}

}  // namespace fa::bench
