// What an x86-64 processor and its system can run. Compilers have a check of their own, but not all
// know the levels.
#pragma once

namespace fa::cpu::x86 {

/** 1 to 4: the highest level of x86-64's ABI. */
int level();

/** Whether there are dot products of bfloat16; only level 4 makes use of them. */
bool has_avx512_bf16();

}  // namespace fa::cpu::x86
