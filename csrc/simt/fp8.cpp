#include "simt/fp8.h"

#include <algorithm>
#include <cmath>

#include "core/dtype.h"

namespace simt {

namespace {

constexpr int kBias = 7, kMantissaBits = 3;
constexpr float kLargest = 448;
constexpr uint8_t kNan = 0x7f;

struct Values {
  float of[256];
  Values() {
    for (int bits = 0; bits < 256; ++bits) {
      const int exponent = bits >> kMantissaBits & 15, mantissa = bits & 7;
      const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                            : std::ldexp(static_cast<float>(8 + mantissa),
                                                         exponent - kBias - kMantissaBits);
      of[bits] = (bits & 0x7f) == kNan ? NAN : bits & 0x80 ? -magnitude : magnitude;
    }
  }
};

const Values values;

}  // namespace

float e4m3_to_float(uint8_t bits) { return values.of[bits]; }

uint8_t float_to_e4m3(float value) {
  if (std::isnan(value)) return kNan;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::min(std::fabs(value), kLargest);
  int exponent;
  std::frexp(magnitude, &exponent);  // magnitude < 2^exponent
  // The unit of the last place; subnormals share that of the smallest normal numbers, 2^-9.
  const int unit = std::max(exponent - 1, 1 - kBias) - kMantissaBits;
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -unit)));
  // 8 to 16 units of a normal number: 16 carry over into the exponent.
  const int bits =
      units < 8 ? units : ((unit + kMantissaBits + kBias) << kMantissaBits) + units - 8;
  return static_cast<uint8_t>(sign | bits);
}

uint32_t e4m3x2_to_float16x2(uint16_t packed) {
  const auto half = [](uint8_t bits) { return fa::float_to_float16(e4m3_to_float(bits)); };
  return half(packed & 0xff) | uint32_t{half(static_cast<uint8_t>(packed >> 8))} << 16;
}

}  // namespace simt
