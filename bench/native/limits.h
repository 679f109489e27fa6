// What this machine can do at most: the yardsticks of every figure the benchmark prints.
#pragma once

#include <cstddef>

namespace fa::bench {

/** A rate per second and the instructions it was reached with. */
struct Peak {
  double per_second;
  const char* instructions;  // null: this CPU has none of the kind
};

/**
 * float32 multiply-adds, two operations each: the best of `repeats` runs of about a millisecond.
 */
Peak fma_peak(int threads, int repeats);

/** bfloat16 dot products accumulated in float32, two operations per product, likewise. */
Peak bf16_dot_peak(int threads, int repeats);

/**
 * Bytes per second when `threads` threads read a buffer of `bytes`, each its own part, in order:
 * the best of `repeats` passes after an untimed one. The buffer lies in huge pages where the system
 * has them, stays for the next call, and only grows.
 */
double read_bandwidth(size_t bytes, int threads, int repeats);

/** Gives the buffer of read_bandwidth back. */
void release_read_buffer();

}  // namespace fa::bench
