// Arithmetic peaks. Written with intrinsics: with vector extensions the compiler spills
// accumulators or moves work out of the loop, and the "peak" comes out at half of what kernels
// reach.
#include <algorithm>

#include "limits.h"
#include "threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace fa::bench {

namespace {

/** Independent chains: latency (4 to 5 cycles) times two units, and then some. */
constexpr int kChains = 12;

/** Runs `iterations` rounds of one operation per chain, and keeps the result alive. */
using Loop = void (*)(long iterations);

struct Kernel {
  Loop loop;
  double operations;  // per iteration
  const char* instructions;
};

/** Results go here, so that no loop can be dropped. */
volatile float sink;

#if defined(__x86_64__)

__attribute__((target("avx512f"))) void fma_avx512(long iterations) {
  __m512 acc[kChains], x = _mm512_set1_ps(0.999f + sink * 0), y = _mm512_set1_ps(0.001f);
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) acc[c] = _mm512_set1_ps(static_cast<float>(c));
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = _mm512_fmadd_ps(acc[c], x, y);
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) acc[0] = _mm512_add_ps(acc[0], acc[c]);
  sink = _mm512_cvtss_f32(acc[0]);
}

__attribute__((target("avx2,fma"))) void fma_avx2(long iterations) {
  __m256 acc[kChains], x = _mm256_set1_ps(0.999f + sink * 0), y = _mm256_set1_ps(0.001f);
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) acc[c] = _mm256_set1_ps(static_cast<float>(c));
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = _mm256_fmadd_ps(acc[c], x, y);
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) acc[0] = _mm256_add_ps(acc[0], acc[c]);
  sink = _mm256_cvtss_f32(acc[0]);
}

/** A multiplication and an addition: what a CPU without FMA has. */
void multiply_add_sse(long iterations) {
  __m128 acc[kChains], x = _mm_set1_ps(0.999f + sink * 0), y = _mm_set1_ps(0.001f);
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) acc[c] = _mm_set1_ps(static_cast<float>(c));
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = _mm_add_ps(_mm_mul_ps(acc[c], x), y);
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) acc[0] = _mm_add_ps(acc[0], acc[c]);
  sink = _mm_cvtss_f32(acc[0]);
}

__attribute__((target("avx512f,avx512bf16"))) void dot_avx512(long iterations) {
  __m512 acc[kChains];
  // 0x3f80 is 1 and 0x3c24 about 0.01 in bfloat16.
  const __m512bh x = (__m512bh)_mm512_set1_epi16(static_cast<short>(0x3f80 + (sink > 2e30f)));
  const __m512bh y = (__m512bh)_mm512_set1_epi16(0x3c24);
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) acc[c] = _mm512_set1_ps(static_cast<float>(c));
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = _mm512_dpbf16_ps(acc[c], x, y);
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) acc[0] = _mm512_add_ps(acc[0], acc[c]);
  sink = _mm512_cvtss_f32(acc[0]);
}

Kernel fma_kernel() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return {fma_avx512, 2.0 * 16 * kChains, "AVX-512 FMA"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {fma_avx2, 2.0 * 8 * kChains, "AVX2 FMA"};
  }
  return {multiply_add_sse, 2.0 * 4 * kChains, "SSE multiply, add"};
}

Kernel dot_kernel() {
  __builtin_cpu_init();
  // 16 lanes of two products each.
  if (__builtin_cpu_supports("avx512bf16")) return {dot_avx512, 4.0 * 16 * kChains, "AVX-512 BF16"};
  return {nullptr, 0, nullptr};
}

#elif defined(__aarch64__)

void fma_neon(long iterations) {
  float32x4_t acc[kChains], x = vdupq_n_f32(0.999f + sink * 0), y = vdupq_n_f32(0.001f);
#pragma GCC unroll 12
  for (int c = 0; c < kChains; ++c) acc[c] = vdupq_n_f32(static_cast<float>(c));
  for (long i = 0; i < iterations; ++i) {
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) acc[c] = vfmaq_f32(y, acc[c], x);
  }
#pragma GCC unroll 12
  for (int c = 1; c < kChains; ++c) acc[0] = vaddq_f32(acc[0], acc[c]);
  sink = vgetq_lane_f32(acc[0], 0);
}

Kernel fma_kernel() { return {fma_neon, 2.0 * 4 * kChains, "NEON FMA"}; }

Kernel dot_kernel() { return {nullptr, 0, nullptr}; }

#endif

Peak peak(const Kernel& kernel, int threads, int repeats) {
  if (kernel.loop == nullptr) return {0, nullptr};
  // About a millisecond each: short enough that some repeat is not interrupted.
  long iterations = 20000;
  const double trial = run_together(1, [&](int) { kernel.loop(iterations); });
  iterations =
      static_cast<long>(static_cast<double>(iterations) * 1e-3 / std::max(trial, 1e-6)) + 1;
  double best = 0;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const double seconds = run_together(threads, [&](int) { kernel.loop(iterations); });
    best = std::max(best, kernel.operations * static_cast<double>(iterations) * threads / seconds);
  }
  return {best, kernel.instructions};
}

}  // namespace

Peak fma_peak(int threads, int repeats) { return peak(fma_kernel(), threads, repeats); }

Peak bf16_dot_peak(int threads, int repeats) { return peak(dot_kernel(), threads, repeats); }

}  // namespace fa::bench
