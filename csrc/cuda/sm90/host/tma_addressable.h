// What TMA can copy.
#pragma once

#include "core/view.h"

namespace fa::cuda::sm90 {

/**
 * Whether TMA can address `view`: it is not empty, its rows are 16-byte multiples at 16-byte
 * multiples, and strides that matter are neither 0 nor negative nor beyond 2^40 bytes.
 */
bool tma_addressable(const View& view);

}  // namespace fa::cuda::sm90
