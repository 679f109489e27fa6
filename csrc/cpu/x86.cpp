#if defined(__x86_64__)
#include "cpu/x86.h"

#include <cpuid.h>

#include <cstdint>
#include <initializer_list>

namespace fa::cpu::x86 {

namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/** All zero where the processor has no such leaf. */
Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool has(uint64_t bits, std::initializer_list<int> wanted) {
  for (int bit : wanted) {
    if ((bits >> bit & 1) == 0) return false;
  }
  return true;
}

constexpr int kOsXsave = 27;

/** The registers that the system saves when it switches threads (XCR0). */
uint64_t saved_registers() {
  if (!has(cpuid(1).ecx, {kOsXsave})) return 0;
  unsigned low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low | uint64_t{high} << 32;
}

}  // namespace

int level() {
  const Registers basic = cpuid(1), extended = cpuid(0x80000001), newer = cpuid(7);
  const uint64_t saved = saved_registers();
  // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF
  if (!has(basic.ecx, {0, 9, 13, 19, 20, 23}) || !has(extended.ecx, {0})) return 1;
  // FMA, MOVBE, AVX, F16C; LZCNT; BMI1, AVX2, BMI2; xmm, ymm
  if (!has(basic.ecx, {12, 22, 28, 29}) || !has(extended.ecx, {5}) || !has(newer.ebx, {3, 5, 8}) ||
      !has(saved, {1, 2})) {
    return 2;
  }
  // AVX-512 F, DQ, CD, BW, VL; opmask, upper halves of zmm0 to zmm15, zmm16 to zmm31
  return has(newer.ebx, {16, 17, 28, 30, 31}) && has(saved, {5, 6, 7}) ? 4 : 3;
}

bool has_avx512_bf16() { return has(cpuid(7, 1).eax, {5}); }

}  // namespace fa::cpu::x86
#endif
