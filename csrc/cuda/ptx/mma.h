// Tensor core products d += a b of a warp, float32 accumulators. With g = lane / 4 and t = lane %
// 4:
//   d[i]: row g + 8 (i / 2), column 2t + i % 2
//   16-bit operands (k = 16): a[q]: row g + 8 (q % 2), k = 2t + {0, 1} + 8 (q / 2)
//                             b[q]: column g, k = 2t + {0, 1} + 8 q
//   tf32 operands (k = 8): a[q]: row g + 8 (q % 2), k = t + 4 (q / 2); b[q]: column g, k = t + 4 q
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/matrix.h"
#endif

namespace ptx {

#if PTX_DEVICE

/** m16n8k16 on f16 or bf16 operands. */
template <class T>
PTX_FN void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (std::is_same_v<T, f16>)
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
        "{%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/** m16n8k8 on tf32 operands (to_tf32); further mantissa bits are ignored. */
PTX_FN void mma_1688_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#else

template <class T>
inline void mma_16816(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, PTX_AT) {
  constexpr simt::Operand kOperand =
      std::is_same_v<T, f16> ? simt::Operand::kFloat16 : simt::Operand::kBFloat16;
  simt::matrix_multiply(kOperand, d, a, b0, b1, at);
}

inline void mma_1688_tf32(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, PTX_AT) {
  simt::matrix_multiply(simt::Operand::kTf32, d, a, b0, b1, at);
}

#endif

}  // namespace ptx
