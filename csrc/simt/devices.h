// The devices that the executor plays, and what has become of them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "simt/include/cuda_runtime.h"

namespace simt {

/**
 * The presets named in FLASH_ATTENTION_SIMT_DEVICES, a list of sm80 (A100), sm86 (A10), sm90
 * (H100), sm100 (B200) and sm120 (RTX 5090); sm80 by default. FLASH_ATTENTION_SIMT_MEMORY gives the
 * bytes that each has instead of the preset's.
 */
const std::vector<cudaDeviceProp>& device_presets();

/**
 * What a device's kernels are written for, __CUDA_ARCH__ / 10, as in the package: the devices from
 * sm100 on run PTX of compute_90. `sm90/80` in the list plays another build, of PTX of compute_80.
 */
int code_version(int device);

/** The first error of a kernel ends its device. */
void end_device(int device, const std::string& report);
bool device_ended(int device);
/** What ended a device, for cudaGetErrorString; null if none has. */
const char* end_report();

}  // namespace simt
