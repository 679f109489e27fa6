// The check of the processor against the compiler's own.
#include "cpu/x86.h"

#include "check.h"

int main() {
#if defined(__x86_64__) && !defined(__clang__)
  namespace x86 = fa::cpu::x86;
  CHECK(x86::level() >= 1 && x86::level() <= 4);
  CHECK((x86::level() >= 2) == (__builtin_cpu_supports("x86-64-v2") != 0));
  CHECK((x86::level() >= 3) == (__builtin_cpu_supports("x86-64-v3") != 0));
  CHECK((x86::level() >= 4) == (__builtin_cpu_supports("x86-64-v4") != 0));
  const bool bf16 = x86::level() >= 4 && x86::has_avx512_bf16();
  CHECK(bf16 == (__builtin_cpu_supports("avx512bf16") != 0));
#endif
  std::puts("x86: ok");
  return 0;
}
