// Read bandwidth of caches and memory.
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>

#include "limits.h"
#include "threads.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fa::bench {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;
/** Bytes of one step of the loops below. */
constexpr size_t kStep = 512;

volatile uint64_t sink;

using Loop = void (*)(const char* from, const char* to);

#if defined(__x86_64__)

__attribute__((target("avx512f"))) void read_avx512(const char* from, const char* to) {
  __m512i acc[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) acc[i] = _mm512_setzero_si512();
  for (; from < to; from += kStep) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) acc[i] = _mm512_or_si512(acc[i], _mm512_load_si512(from + 64 * i));
  }
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) acc[0] = _mm512_or_si512(acc[0], acc[i]);
  sink = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm512_castsi512_si128(acc[0])));
}

__attribute__((target("avx2"))) void read_avx2(const char* from, const char* to) {
  __m256i acc[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) acc[i] = _mm256_setzero_si256();
  for (; from < to; from += kStep) {
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      const __m256i x = _mm256_load_si256(reinterpret_cast<const __m256i*>(from + 32 * i));
      acc[i % 8] = _mm256_or_si256(acc[i % 8], x);
    }
  }
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) acc[0] = _mm256_or_si256(acc[0], acc[i]);
  sink = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm256_castsi256_si128(acc[0])));
}

#endif

/** The compiler's own vectors: 16 bytes on every 64-bit target. */
void read_portable(const char* from, const char* to) {
  typedef uint64_t Pair __attribute__((vector_size(16)));
  Pair acc[8] = {};
  for (; from < to; from += kStep) {
#pragma GCC unroll 32
    for (int i = 0; i < 32; ++i) {
      Pair x;
      std::memcpy(&x, from + 16 * i, sizeof x);
      acc[i % 8] |= x;
    }
  }
  for (int i = 1; i < 8; ++i) acc[0] |= acc[i];
  sink = acc[0][0] | acc[0][1];
}

Loop read_loop() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) return read_avx512;
  if (__builtin_cpu_supports("avx2")) return read_avx2;
#endif
  return read_portable;
}

/**
 * Pages of its own, 2 MiB aligned: a buffer among others would measure the page size of its
 * neighbours.
 */
class Buffer {
 public:
  char* reserve(size_t bytes) {
    if (bytes <= bytes_) return data_;
    release();
    mapped_ = bytes + kHugePage;
    map_ = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map_ == MAP_FAILED) {
      map_ = nullptr;
      throw std::bad_alloc();
    }
    const uintptr_t address = reinterpret_cast<uintptr_t>(map_);
    data_ = reinterpret_cast<char*>((address + kHugePage - 1) / kHugePage * kHugePage);
    bytes_ = bytes;
#if defined(MADV_HUGEPAGE)
    madvise(data_, bytes, MADV_HUGEPAGE);  // a hint
#endif
    std::memset(data_, 1, bytes);
    return data_;
  }

  void release() {
    if (map_ != nullptr) munmap(map_, mapped_);
    map_ = nullptr;
    data_ = nullptr;
    bytes_ = 0;
  }

 private:
  void* map_ = nullptr;
  size_t mapped_ = 0, bytes_ = 0;
  char* data_ = nullptr;
};

Buffer buffer;

}  // namespace

double read_bandwidth(size_t bytes, int threads, int repeats) {
  const size_t count = static_cast<size_t>(threads);
  const size_t part = std::max(bytes / count / kStep, size_t{1}) * kStep;
  const char* const data = buffer.reserve(part * count);
  const Loop loop = read_loop();
  // Small parts are read several times per measurement, lest the clock be all there is to see.
  const size_t passes = std::max(size_t{1}, (size_t{4} << 20) / part);
  double best = 0;
  for (int repeat = 0; repeat <= repeats; ++repeat) {
    const double seconds = run_together(threads, [&](int thread) {
      const char* const from = data + part * static_cast<size_t>(thread);
      for (size_t pass = 0; pass < passes; ++pass) loop(from, from + part);
    });
    if (repeat == 0) continue;
    best = std::max(best, static_cast<double>(part * count * passes) / seconds);
  }
  return best;
}

void release_read_buffer() { buffer.release(); }

}  // namespace fa::bench
