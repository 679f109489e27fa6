// The devices that the executor plays, and what has become of them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "simt/include/cuda_runtime.h"

namespace simt {

/**
 * The presets named in FLASH_ATTENTION_SIMT_DEVICES, a list of sm80 (A100), sm86 (A10) and sm90
 * (H100); sm80 by default. FLASH_ATTENTION_SIMT_MEMORY gives the bytes that each has instead of the
 * preset's.
 */
const std::vector<cudaDeviceProp>& device_presets();

/** The first error of a kernel ends its device. */
void end_device(int device, const std::string& report);
bool device_ended(int device);
/** What ended a device, for cudaGetErrorString; null if none has. */
const char* end_report();

}  // namespace simt
