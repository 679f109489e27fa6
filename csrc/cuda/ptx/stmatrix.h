// stmatrix (sm_90), the inverse of ldmatrix: lanes 8m .. 8m + 7 give the addresses of the rows (16
// bytes each) of matrix m, whose elements stand in register m.
#pragma once

#include "cuda/ptx/types.h"

#if !PTX_DEVICE
#include "simt/matrix.h"
#endif

namespace ptx {

#if PTX_DEVICE

PTX_FN void stmatrix_x4(uint32_t row_address, const uint32_t (&r)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row_address),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}
PTX_FN void stmatrix_x4_trans(uint32_t row_address, const uint32_t (&r)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(row_address),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}

#else

inline void stmatrix_x4(uint32_t row_address, const uint32_t (&r)[4], PTX_AT) {
  simt::store_matrices(row_address, r, 4, false, at);
}
inline void stmatrix_x4_trans(uint32_t row_address, const uint32_t (&r)[4], PTX_AT) {
  simt::store_matrices(row_address, r, 4, true, at);
}

#endif

}  // namespace ptx
