// How the executor orders what the hardware leaves unordered. The same configuration gives the same
// run, step by step.
#pragma once

#include <cstdint>

namespace simt {

/** Which warp runs next. */
enum class Policy {
  kInOrder,  // the first that can, lanes and blocks in order
  kRandom,   // any, most often the same again
  // one as far as it goes, so that it runs far ahead of the others (PCT, Burckhardt et al. 2010)
  kPriority,
};

/** When an asynchronous copy lands: at the wait that demands it, at once, or either. */
enum class Delivery { kLate, kEager, kRandom };

struct Config {
  uint64_t seed = 1;
  Policy policy = Policy::kRandom;
  Delivery delivery = Delivery::kRandom;
  bool check_races = true;
  int compute_capability = 90;  // of the device: 10 * major + minor
  int code_version = 90;        // that its code is written for: __CUDA_ARCH__ / 10
  int resident_blocks = 2;      // blocks that run interleaved; more join when all of these poll
  bool dependent = false;       // the grid may begin before the calling thread's last one has ended

  /** Covers every pair of policy and delivery within nine consecutive seeds. */
  static Config from_seed(uint64_t seed);

  /**
   * from_seed(FLASH_ATTENTION_SIMT_SEED + launch); FLASH_ATTENTION_SIMT_CHECK=off turns the race
   * checker off. `launch` counts the launches of the process.
   */
  static Config from_environment(uint64_t launch);
};

}  // namespace simt
