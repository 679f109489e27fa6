// The rows of K and V that decoding reads next, and how it asks for them.
//
// Products and memory only overlap when the kernel asks for rows long before it needs them: an
// out-of-order window is far shorter than the latency of memory. So keys advance in steps, and
// while the products of one run, the rows of the next are fetched into the second-level cache, a
// few at a time and in the order of memory.
#pragma once

#include "cpu/kernels/simd.h"

namespace fa::cpu::FA_ISA {
namespace {

constexpr int kDecodeKeys = 64;  // most keys of one step

/** The keys of one step of the online softmax. */
struct KeyStep {
  int64_t key;
  int keys;
  // Rows of the item's first kv head. K repeats its last row up to whole blocks.
  const char* k[kDecodeKeys];
  const char* v[kDecodeKeys];
  // Scales of those rows, where they are in 8 bits; they repeat the last one likewise.
  const float* k_scale[kDecodeKeys];
  const float* v_scale[kDecodeKeys];
};

/**
 * The rows of the next step, for all heads and in the order of memory, as addresses to prefetch. A
 * core drops prefetches beyond the two dozen lines it can wait for, so they are spread evenly over
 * the products, and without a branch there.
 */
class Ahead {
 public:
  /** `idle` is what is fetched when nothing is left. */
  Ahead(const char* const* rows, int keys, int heads, int64_t head_bytes, int64_t row_bytes,
        const char* idle)
      : rows_(rows),
        keys_(keys),
        heads_(heads),
        head_bytes_(head_bytes),
        row_bytes_(row_bytes),
        idle_(idle) {
    if (head_bytes == row_bytes) {
      heads_ = 1;
      row_bytes_ *= heads;
    }
    next_run();
  }

  /** The next `bytes`; those beyond the end of a run of adjacent rows are fetched in vain. */
  const char* take(int64_t bytes) {
    const char* const at = at_;
    at_ += bytes;
    if (at_ >= end_) next_run();
    return at;
  }

 private:
  const char* row() const { return rows_[key_] + head_ * head_bytes_; }

  void next_run() {
    at_ = end_ = idle_;
    if (key_ == keys_) return;
    at_ = row();
    do {
      end_ = row() + row_bytes_;
      if (++head_ == heads_) {
        head_ = 0;
        ++key_;
      }
    } while (key_ < keys_ && row() == end_);
  }

  const char* const* rows_;
  int keys_, heads_;
  int64_t head_bytes_, row_bytes_;
  const char* const idle_;
  int key_ = 0, head_ = 0;  // the row after the run
  const char* at_;
  const char* end_;
};

/** The lines of `Bytes` from `at` on. */
template <int64_t Bytes>
FA_ALWAYS_INLINE void prefetch(const char* at) {
  FA_UNROLL
  for (int64_t byte = 0; byte < Bytes; byte += 64) __builtin_prefetch(at + byte, 0, 2);
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
