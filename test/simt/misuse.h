// Kernels with one mistake each. The executor must report every one of them, under every schedule,
// in words that say what is wrong and where; and nothing without the mistake.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "simt/launch.h"

template <class Params>
struct Mistake {
  const char* name;
  void (*kernel)(Params);
  const char* words;  // that the report must contain
};

#define MISTAKE(kernel, words) \
  {                            \
#kernel, kernel, words     \
  }

/**
 * Runs each kernel without its mistake and with it, under every schedule: 2 blocks of `threads`
 * threads with `shared_bytes` of dynamic shared memory. make(mistaken) makes its parameters,
 * release(params) frees them. `dependent`: kernels may begin before what make() has launched ends.
 * Returns the number of wrong reports.
 */
template <class Params, class Make, class Release>
int run_mistakes(const std::vector<Mistake<Params>>& mistakes, int threads, size_t shared_bytes,
                 Make make, Release release, bool dependent = false) {
  constexpr uint64_t kSeeds = 18;
  int failed = 0;
  for (const Mistake<Params>& test : mistakes) {
    for (uint64_t seed = 0; seed < kSeeds; ++seed) {
      const auto report_of = [&](bool mistaken) {
        Params params = make(mistaken);
        simt::Config config = simt::Config::from_seed(seed);
        config.dependent = dependent;
        const simt::Report report =
            simt::launch(test.name, test.kernel, 2, static_cast<unsigned>(threads), shared_bytes,
                         config, params);
        release(params);
        return report;
      };
      const simt::Report correct = report_of(false);
      if (!correct.ok()) {
        std::fprintf(stderr, "%s: seed %llu: without its mistake: %s\n", test.name,
                     static_cast<unsigned long long>(seed), correct.error.c_str());
        ++failed;
      }
      const simt::Report mistaken = report_of(true);
      const bool named = mistaken.error.find(test.name) != std::string::npos;
      if (mistaken.ok() || !named || mistaken.error.find(test.words) == std::string::npos) {
        std::fprintf(stderr, "%s: seed %llu: expected '%s', got '%s'\n", test.name,
                     static_cast<unsigned long long>(seed), test.words, mistaken.error.c_str());
        ++failed;
      }
    }
  }
  if (!failed)
    std::printf("misuse: %zu mistakes reported under %llu schedules each\n", mistakes.size(),
                static_cast<unsigned long long>(kSeeds));
  return failed;
}
