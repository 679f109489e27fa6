// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
// counter-based generator, so a value depends on its position alone and never on tiling or threads.
//
// Dropout draws   key = (seed_lo, seed_hi ^ offset_hi),
//                 counter = (j >> 2, i, batch * heads + head, offset_lo),
// and word j & 3 decides about the pair (i, j): kept iff word >= floor(p * 2^32). randn draws
// key = (seed_lo, seed_hi), counter = (n_lo, n_hi, 0, 0) for elements 4n .. 4n + 3. Rotations draw
// key = (seed_lo, seed_hi), counter = (n, 0, 0, 1) for the signs of dims 128n .. 128n + 127.
#pragma once

#include <cstdint>

#include "core/inline.h"

namespace fa {

constexpr uint32_t kPhiloxM0 = 0xD2511F53u;
constexpr uint32_t kPhiloxM1 = 0xCD9E8D57u;
constexpr uint32_t kPhiloxW0 = 0x9E3779B9u;
constexpr uint32_t kPhiloxW1 = 0xBB67AE85u;
constexpr int kPhiloxRounds = 10;

static FA_INLINE void philox(uint32_t counter[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t p0 = uint64_t{kPhiloxM0} * counter[0];
    const uint64_t p1 = uint64_t{kPhiloxM1} * counter[2];
    const uint32_t c1 = counter[1], c3 = counter[3];
    counter[0] = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ key0;
    counter[1] = static_cast<uint32_t>(p1);
    counter[2] = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ key1;
    counter[3] = static_cast<uint32_t>(p0);
    key0 += kPhiloxW0;
    key1 += kPhiloxW1;
  }
}

/** Pairs whose word is below this are dropped. */
static FA_INLINE uint32_t dropout_threshold(double p) {
  return static_cast<uint32_t>(p * 4294967296.0);
}

}  // namespace fa
