// Lightweight and dynamic convolutions (core/convolution.h): tokens of one head, channels as vector
// lanes. The K weights of a token become its softmax; then its K rows are summed under them, a few
// vectors of channels at a time, which stay in registers over all taps.
#pragma once

#include "cpu/kernels/args.h"
#include "cpu/kernels/math.h"
#include "cpu/kernels/rows.h"

namespace fa::cpu::FA_ISA {
namespace {

/** The part of a work item's scratch that each of its arrays has. */
struct ConvolveScratch {
  const float** rows;             // of the taps that take part
  float* weights;                 // theirs
  float *logits, *probabilities;  // of all taps
  float* converted;               // rows begin - (K - 1) to end - 1
  float* sum;                     // a row of the result

  static int64_t padded(int n) { return round_up(n, 16); }
  static int64_t cached_rows(const ConvolveArgs& a) { return a.kernel_size - 1 + a.end - a.begin; }

  static size_t bytes(const ConvolveArgs& a) {
    const int64_t taps = padded(a.kernel_size), dim = padded(a.dim);
    const int64_t floats = 3 * taps + dim + cached_rows(a) * dim;
    return static_cast<size_t>(floats) * sizeof(float) +
           static_cast<size_t>(taps) * sizeof(const float*);
  }

  ConvolveScratch(const ConvolveArgs& a, char* memory) {
    const int64_t taps = padded(a.kernel_size);
    float* at = reinterpret_cast<float*>(memory);
    sum = at;
    converted = at += padded(a.dim);
    logits = at += cached_rows(a) * padded(a.dim);
    probabilities = at += taps;
    weights = at += taps;
    rows = reinterpret_cast<const float**>(at + taps);
  }
};

/**
 * probabilities = softmax(logits), of `taps` padded with -infinity; all are 0 where all logits are
 * -infinity. The order of the sum depends on `taps` alone.
 */
void softmax_of_taps(const float* logits, int taps, float* probabilities) {
  Vec most = splat(-std::numeric_limits<float>::infinity());
  for (int t = 0; t < taps; t += kLanes) most = max_or_second(load<Vec>(logits + t), most);
  float top = -std::numeric_limits<float>::infinity();
  for (int lane = 0; lane < kLanes; ++lane) top = most[lane] > top ? most[lane] : top;
  // NaN passes through exp2 into the sum, whichever the maximum is. So does an infinite top.
  const Vec reference = splat(top == -std::numeric_limits<float>::infinity() ? 0.f : top);
  Vec sums = {};
  for (int t = 0; t < taps; t += kLanes) {
    const Vec p = exp2_or_zero((load<Vec>(logits + t) - reference) * splat(kLog2E));
    store(probabilities + t, p);
    sums += p;
  }
  float sum = 0;
  for (int lane = 0; lane < kLanes; ++lane) sum += sums[lane];
  if (sum == 0) return;
  for (int t = 0; t < taps; t += kLanes)
    store(probabilities + t, load<Vec>(probabilities + t) / splat(sum));
}

/** sum_t weights[t] * rows[t], of `Vectors` vectors of channels from `at` on. */
template <int Vectors>
FA_ALWAYS_INLINE void weigh_channels(const ConvolveScratch& scratch, int count, int at) {
  Vec sums[Vectors] = {};
  for (int t = 0; t < count; ++t) {
    const Vec weight = splat(scratch.weights[t]);
    const float* const row = scratch.rows[t] + at;
    FA_UNROLL
    for (int v = 0; v < Vectors; ++v) sums[v] += weight * load<Vec>(row + v * kLanes);
  }
  FA_UNROLL
  for (int v = 0; v < Vectors; ++v) store(scratch.sum + at + v * kLanes, sums[v]);
}

void weigh_rows(const ConvolveScratch& scratch, int count, int dim) {
  int at = 0;
  for (; at + 8 * kLanes <= dim; at += 8 * kLanes) weigh_channels<8>(scratch, count, at);
  for (; at + 4 * kLanes <= dim; at += 4 * kLanes) weigh_channels<4>(scratch, count, at);
  for (; at < dim; at += kLanes) weigh_channels<1>(scratch, count, at);
}

/** Rows that can be summed as they lie: whole vectors of float32. */
bool in_place(const Rows& rows, int dim) {
  return rows.dtype == kFloat32 && rows.dim_stride == 1 && dim % kLanes == 0;
}

/** Where the inputs of one sequence and head are, those before token 0 included, as floats. */
class ConvolveInputs {
 public:
  ConvolveInputs(const ConvolveArgs& a, float* converted)
      : a_(a),
        first_(a.begin - (a.kernel_size - 1)),
        padded_(ConvolveScratch::padded(a.dim)),
        converted_(converted) {
    for (int64_t i = earliest(); i < a.end; ++i)
      if (!in_place(source(i), a.dim))
        load_row(place(i), source(i).dtype, source(i).dim_stride, a.dim, row_of(i));
  }

  /** Of the inputs of token `begin`; before that one there is nothing. */
  int64_t earliest() const { return a_.state.base == nullptr && first_ < 0 ? 0 : first_; }

  const float* row(int64_t i) const {
    return in_place(source(i), a_.dim) ? reinterpret_cast<const float*>(place(i)) : row_of(i);
  }

 private:
  const Rows& source(int64_t i) const { return i < 0 ? a_.state : a_.x; }
  const char* place(int64_t i) const {
    const Rows& rows = source(i);
    const int64_t row = i < 0 ? i + a_.kernel_size - 1 : i;
    return rows.base + row * rows.row_stride * element_size(rows.dtype);
  }
  float* row_of(int64_t i) const { return converted_ + (i - first_) * padded_; }

  const ConvolveArgs& a_;
  const int64_t first_;
  const int64_t padded_;
  float* const converted_;
};

void load_softmax(const ConvolveArgs& a, int64_t i, const ConvolveScratch& scratch) {
  const Rows& weights = a.weights;
  load_row(weights.base + i * weights.row_stride * element_size(weights.dtype), weights.dtype,
           weights.dim_stride, a.kernel_size, scratch.logits);
  for (int t = a.kernel_size; t < round_up(a.kernel_size, kLanes); ++t)
    scratch.logits[t] = -std::numeric_limits<float>::infinity();
  softmax_of_taps(scratch.logits, round_up(a.kernel_size, kLanes), scratch.probabilities);
}

size_t convolve_scratch(const ConvolveArgs& a) { return ConvolveScratch::bytes(a); }

void convolve(const ConvolveArgs& a, char* memory) {
  const ConvolveScratch scratch(a, memory);
  const ConvolveInputs inputs(a, scratch.converted);
  const bool shared = a.weights.row_stride == 0;
  if (shared) load_softmax(a, 0, scratch);
  for (int64_t i = a.begin; i < a.end; ++i) {
    if (!shared) load_softmax(a, i, scratch);
    // A tap whose logit is -infinity does not exist, nor does one before the first input: neither
    // is multiplied by 0.
    int count = 0;
    for (int t = 0; t < a.kernel_size; ++t) {
      const int64_t from = i - (a.kernel_size - 1) + t;
      if (from < inputs.earliest() || scratch.logits[t] == -std::numeric_limits<float>::infinity())
        continue;
      scratch.rows[count] = inputs.row(from);
      scratch.weights[count++] = scratch.probabilities[t];
    }
    weigh_rows(scratch, count, a.dim);
    store_row(a.out.base + i * a.out.row_stride * element_size(a.out.dtype), a.out.dtype,
              a.out.dim_stride, a.dim, scratch.sum);
  }
}

}  // namespace
}  // namespace fa::cpu::FA_ISA
