// float8 e4m3.
#pragma once

#include <cstdint>

namespace simt {

/** To nearest even; what exceeds 448 becomes 448. */
uint8_t float_to_e4m3(float value);
float e4m3_to_float(uint8_t bits);
/** Two of them as two float16, the lower one first. */
uint32_t e4m3x2_to_float16x2(uint16_t packed);

}  // namespace simt
