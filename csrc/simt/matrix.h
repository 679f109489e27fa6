// ldmatrix, stmatrix and mma.sync.
#pragma once

#include <cstdint>

#include "simt/location.h"
#include "simt/operand.h"

namespace simt {

/** `count` (2 or 4) 8x8 matrices of 16-bit elements into registers[0 .. count). */
void load_matrices(uint32_t* registers, int count, bool transpose, uint32_t row_address,
                   const Location& at);
void store_matrices(uint32_t row_address, const uint32_t* registers, int count, bool transpose,
                    const Location& at);

/** d += a b: m16n8k16 on 16-bit operands, m16n8k8 on tf32. */
void matrix_multiply(Operand operand, float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                     uint32_t b1, const Location& at);

}  // namespace simt
