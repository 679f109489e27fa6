// What TMA can copy.
#pragma once

#include "core/view.h"

namespace fa::cuda::sm90 {

/**
 * Whether TMA can address `view`: it is not empty, its rows are 16-byte multiples at 16-byte
 * multiples, and strides that matter are neither 0 nor negative nor beyond 2^40 bytes.
 */
bool tma_addressable(const View& view);

/** After which the pattern of panels.h repeats. */
constexpr int64_t kSwizzleRows = 8;

/** Whether boxes that lie within one page can make up a tile of keys. */
constexpr bool tma_copies_pages(int64_t page_size) { return page_size % kSwizzleRows == 0; }

}  // namespace fa::cuda::sm90
