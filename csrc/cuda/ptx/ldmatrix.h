// ldmatrix: 8x8 matrices of 16-bit elements from shared memory into mma fragments. Lanes 8m .. 8m +
// 7 give the addresses of the rows (16 bytes each) of matrix m, whose elements arrive in register
// m: lane l gets elements (l / 4, 2 (l % 4)) and (l / 4, 2 (l % 4) + 1); with _trans, the
// transposed ones.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/matrix.h"
#endif

namespace ptx {

#if PTX_DEVICE

PTX_FN void ldmatrix_x4(uint32_t (&r)[4], uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row_address)
               : "memory");
}
PTX_FN void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row_address)
               : "memory");
}
/** The addresses of lanes 16 .. 31 are ignored. */
PTX_FN void ldmatrix_x2(uint32_t (&r)[2], uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(row_address)
               : "memory");
}
PTX_FN void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t row_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(row_address)
               : "memory");
}

#else

inline void ldmatrix_x4(uint32_t (&r)[4], uint32_t row_address, PTX_AT) {
  simt::load_matrices(r, 4, false, row_address, at);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t row_address, PTX_AT) {
  simt::load_matrices(r, 4, true, row_address, at);
}
inline void ldmatrix_x2(uint32_t (&r)[2], uint32_t row_address, PTX_AT) {
  simt::load_matrices(r, 2, false, row_address, at);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t row_address, PTX_AT) {
  simt::load_matrices(r, 2, true, row_address, at);
}

#endif

}  // namespace ptx
