// Shared memory has 32 banks of 4 bytes; a warp's access takes one pass per distinct word in its
// busiest bank. Accesses of 8 and 16 bytes are served for 16 and 8 lanes at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "simt/location.h"

namespace simt {

enum class Access { kLoad, kStore, kAsyncCopy };

/** Passes beyond the necessary for the lanes in `mask`. `bytes` is 1, 2, 4, 8 or 16. */
int extra_passes(const uint32_t (&addresses)[32], uint32_t mask, int bytes);

/**
 * Puts the accesses that a warp's lanes make one after another together again: the n-th execution
 * of a source line by one lane belongs to the n-th by the others, counted since the warp last
 * converged.
 */
class SharedAccesses {
 public:
  void add(Access kind, uint32_t address, int bytes, int lane, const Location& at);
  /** All lanes have come to the same point: counts the conflicts of what they did before. */
  void flush() {
    if (!touched_.empty()) count();
  }

 private:
  struct Group {
    uint32_t mask = 0;
    uint32_t addresses[32];
  };
  struct Site {
    Location at;
    Access kind;
    int bytes;
    uint32_t executed[32] = {};
    std::vector<Group> groups;
    size_t used = 0;
  };

  void count();
  Site& site(Access kind, int bytes, const Location& at);

  std::vector<Site> sites_;
  std::vector<size_t> touched_;
  size_t last_ = 0;
};

}  // namespace simt
