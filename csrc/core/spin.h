// Waiting without sleeping, for as long as waking a thread would take anyway.
#pragma once

#include <chrono>

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

}  // namespace fa
