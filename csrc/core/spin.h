// Waiting without sleeping, for as long as waking a thread would take anyway.
#pragma once

#include <chrono>
#include <thread>

namespace fa {

/** How long a thread looks for work before it sleeps. */
constexpr std::chrono::microseconds kSpin{30};

/** Polls `condition` for `kSpin`; returns whether it has come true. */
template <typename Condition>
bool spin_until(Condition condition) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int i = 0; i < 16; ++i) {
      if (condition()) return true;
#if defined(__x86_64__)
      __builtin_ia32_pause();
#elif defined(__aarch64__)
      __asm__ volatile("yield");
#endif
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return condition();
}

/** Polls `condition` for `limit`, for as long as no other thread wants the core. */
template <typename Condition>
bool yield_until(Condition condition, std::chrono::microseconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    if (condition()) return true;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < deadline);
  return condition();
}

}  // namespace fa
